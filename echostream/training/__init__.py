"""Training: multi-task CTC on synthetic speech or on recordings from disk."""
