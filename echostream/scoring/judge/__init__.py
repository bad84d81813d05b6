"""Judges: recognisers that transcribe the speech of a run, so that it can be scored as text."""
