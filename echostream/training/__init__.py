"""Training: multi-task CTC on speech, made fresh or read from disk."""
