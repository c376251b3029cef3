"""The methods of the paper, one small file each; importing this package registers them."""

from neuronspec.methods import fine_tune, neuron_specialization, random_neurons
from neuronspec.methods.registry import METHODS, find_method, make_method, method_options

__all__ = [
    "METHODS",
    "find_method",
    "fine_tune",
    "make_method",
    "method_options",
    "neuron_specialization",
    "random_neurons",
]
