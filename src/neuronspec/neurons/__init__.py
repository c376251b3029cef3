"""Neurons: where they live, when they fire, which are selected, and the masks that hold the selection."""
