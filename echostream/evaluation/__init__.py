"""Evaluation with SimulEval: latency-quality curves, long streams, recording levels, remote."""
