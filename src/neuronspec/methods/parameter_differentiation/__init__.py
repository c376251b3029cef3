"""The method parameter_differentiation."""

from neuronspec.methods.parameter_differentiation import method as method
