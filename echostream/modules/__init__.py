"""Building blocks: weights only, no state of their own."""
