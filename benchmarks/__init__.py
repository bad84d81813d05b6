"""Benchmarks of cost: each prints a Markdown table and says which machine made it."""
