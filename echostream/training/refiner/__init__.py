"""Training of the unit refiner."""
