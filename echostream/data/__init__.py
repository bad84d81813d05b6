"""Data: the demo grammar, its speech, and tables of recordings on disk."""
