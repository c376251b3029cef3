"""Measuring what the neuron masks say about languages: overlaps, chance, trees, distances, ablation."""
