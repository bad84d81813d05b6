"""Evaluation: latency-quality curves through SimulEval, and benchmarks of cost."""
