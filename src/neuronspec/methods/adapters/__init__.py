"""Adapters for each task or language family, in a frozen model."""

from neuronspec.methods.adapters import method as method
