"""The method random_neurons, a control: specialization to random neurons, as many as were selected or a fixed share."""

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
        """Share of each layer's neurons to mask (paper: 0.3); by default as many as neuron_specialization masks."""

    name = "random_neurons"
    options: Options

    def choose(self, masks: NeuronMasks, resources: Resources) -> NeuronMasks:
        """Return random masks, drawn with the seed of the run."""
        # As many neurons as were selected, unless a share is set
        if self.options.masked is not None:
            masks = _keep_share(masks, 1 - self.options.masked)
        return NeuronMasks.random(masks, seed=resources.seed)


def _keep_share(masks: NeuronMasks, share: float) -> NeuronMasks:
    """Return masks that keep the first neurons of each layer, so many as are a share of its width."""
    values = {}
    for layer, width in masks.widths.items():
        kept = round(share * width)
        # Which neurons these are does not matter: the random masks take over only their number.
        values[layer] = torch.arange(width).lt(kept).repeat(len(masks.tasks), 1)  # (tasks, d_ff)
    return NeuronMasks(masks.tasks, values, masks.signature | {"rule": f"share {share:g}"})
