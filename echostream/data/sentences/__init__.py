"""Sentence pairs without recordings: their cleaning, their split, and the tables they stand in."""
