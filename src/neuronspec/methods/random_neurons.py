"""The control: neuron specialization with random neurons, as many for each task and layer as were selected."""

from __future__ import annotations

from neuronspec.methods.neuron_specialization import NeuronSpecialization
from neuronspec.methods.registry import METHODS
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.training.method import Resources


@METHODS.register("random_neurons")
class RandomNeurons(NeuronSpecialization):
    """Masks random neurons of each task instead of its least active ones."""

    name = "random_neurons"

    def choose(self, masks: NeuronMasks, resources: Resources) -> NeuronMasks:
        """Draw random masks of the same sizes, from the run's seed."""
        return NeuronMasks.random(masks, seed=resources.seed)
