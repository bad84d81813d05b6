"""Metrics of a run: latency, quality, word error rate."""
