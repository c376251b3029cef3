"""The method shared_mask, a control: all tasks have the same random neurons."""

from __future__ import annotations

from neuronspec.methods.neuron_specialization import NeuronSpecialization
from neuronspec.methods.registry import METHODS
from neuronspec.neurons.controls import share_random
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.training.method import Resources


@METHODS.register("shared_mask")
class SharedMask(NeuronSpecialization):
    """Masks the same random neurons for all tasks, so many as neuron_specialization masks on average.

    A gain that this control has, too, comes from fewer neurons, not from separated tasks.
    """

    class Options(NeuronSpecialization.Options):
        """Options of shared_mask."""

    name = "shared_mask"

    def choose(self, masks: NeuronMasks, resources: Resources) -> NeuronMasks:
        """Return one random mask for all tasks, drawn with the seed of the run."""
        return share_random(masks, seed=resources.seed)
