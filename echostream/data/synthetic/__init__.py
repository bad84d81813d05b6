"""Synthetic speech: sentences of a grammar, spoken by espeak-ng."""
