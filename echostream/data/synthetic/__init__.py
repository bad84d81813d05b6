"""Synthetic speech: sentences of a grammar, synthesised by espeak-ng."""
