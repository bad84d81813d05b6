"""Data: tables of recordings on disk, and synthetic speech of a grammar."""
