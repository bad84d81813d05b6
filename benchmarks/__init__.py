"""Benchmarks of speed and memory: Markdown tables of figures, with the machine of the run."""
