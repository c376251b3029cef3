"""Neuron Specialization (paper, section 4): continued training with only each task's own neurons switched on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedModel

from neuronspec.config.sections import Section
from neuronspec.errors import NeuronspecError
from neuronspec.methods.registry import METHODS
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.momentum import hold_absent_neurons
from neuronspec.training.method import Method, Resources


@METHODS.register("neuron_specialization")
class NeuronSpecialization(Method):
    """Masks the first FFN matrix and its bias with the neurons of each sentence's task (Eq. 4)."""

    class Options(Section):
        """Options of neuron_specialization."""

        stacks: Literal["both", "encoder", "decoder"] = "both"
        """Which stacks to specialise (`encoder`, `decoder`: the paper's Ours-Enc and Ours-Dec)."""
        released: bool = False
        """Mask as the released code does: a masked neuron still puts out what its bias gives."""
        hold_absent: bool = False
        """Keep an update from moving, by Adam's momentum, neurons that no sentence of it uses."""
        packed: Literal["auto", "always", "never"] = "auto"
        """Whether batches of one direction (`sampling.homogeneous`) are computed with that direction's neurons only:
        `auto` where it was measured to be faster."""

    name = "neuron_specialization"
    uses_masks = True
    options: Options
    masks: NeuronMasks

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        """Specialise the model with the masks that were selected."""
        if resources.masks is None:
            raise NeuronspecError(f"{self.name} needs neuron masks: run record and select first")
        masks = self.choose(resources.masks, resources).reorder(resources.tasks).restrict(self.options.stacks)
        self.masks = masks.keep_bias() if self.options.released else masks
        specialize(model, self.masks, packed=self.options.packed)

    def watch(self, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
        """Hold absent neurons, where that was asked for."""
        if self.options.hold_absent:
            hold_absent_neurons(model, optimizer)

    def choose(self, masks: NeuronMasks, resources: Resources) -> NeuronMasks:
        """Return the masks to train with."""
        return masks

    def save(self, directory: Path) -> None:
        """Write the masks beside the model, where translation finds them."""
        self.masks.save_pretrained(directory)
