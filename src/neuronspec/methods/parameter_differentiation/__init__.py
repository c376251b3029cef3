"""Parameter differentiation: modules in which tasks conflict are split."""

from neuronspec.methods.parameter_differentiation import method as method
