"""The methods of the paper, one small file each; importing this package registers them."""

from neuronspec.methods import (
    adapters,
    fine_tune,
    lass,
    lora,
    neuron_allocation,
    neuron_specialization,
    parameter_differentiation,
    random_neurons,
)
from neuronspec.methods.registry import METHODS, find_method, make_method, method_options

__all__ = [
    "METHODS",
    "adapters",
    "find_method",
    "fine_tune",
    "lass",
    "lora",
    "make_method",
    "method_options",
    "neuron_allocation",
    "neuron_specialization",
    "parameter_differentiation",
    "random_neurons",
]
