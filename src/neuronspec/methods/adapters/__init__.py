"""The method adapters."""

from neuronspec.methods.adapters import method as method
