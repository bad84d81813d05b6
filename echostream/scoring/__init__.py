"""Scores from a run's instances.log: quality, latency, compute."""
