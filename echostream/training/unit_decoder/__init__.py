"""Training of the unit decoder."""
