"""The method lass."""

from neuronspec.methods.lass import method as method
