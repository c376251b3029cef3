"""The control: neuron specialization with random neurons, as many as were selected, or a share of each layer."""

from __future__ import annotations

import torch
from pydantic import Field

from neuronspec.methods.neuron_specialization import NeuronSpecialization
from neuronspec.methods.registry import METHODS
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.training.method import Resources


@METHODS.register("random_neurons")
class RandomNeurons(NeuronSpecialization):
    """Masks random neurons of each task instead of its least active ones."""

    class Options(NeuronSpecialization.Options):
        """Options of random_neurons."""

        masked: float | None = Field(default=None, ge=0, le=1)
        """Share of each layer's neurons to mask (the paper: 0.3); as many as neuron_specialization does where not
        given."""

    name = "random_neurons"
    options: Options

    def choose(self, masks: NeuronMasks, resources: Resources) -> NeuronMasks:
        """Draw random masks, from the run's seed."""
        if self.options.masked is not None:
            kept = {layer: round((1 - self.options.masked) * width) for layer, width in masks.widths.items()}
            sizes = {
                layer: torch.arange(masks.widths[layer]).lt(count).repeat(len(masks.tasks), 1)
                for layer, count in kept.items()
            }
            masks = NeuronMasks(masks.tasks, sizes, masks.signature | {"rule": f"share {1 - self.options.masked:g}"})
        return NeuronMasks.random(masks, seed=resources.seed)
