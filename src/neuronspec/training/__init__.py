"""Training: one loop for every method, its schedule, its checkpoints."""
