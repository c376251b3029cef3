"""LaSS: each task computes with its own part of the weights."""

from neuronspec.methods.lass import method as method
