"""Training of the unit vocoder."""
