"""Neuron Specialization (paper, section 4): continued training with only each task's own neurons switched on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from transformers import PreTrainedModel

from neuronspec.config import Section
from neuronspec.errors import NeuronspecError
from neuronspec.methods.registry import METHODS
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.training.method import Method, Resources


@METHODS.register("neuron_specialization")
class NeuronSpecialization(Method):
    """Masks the first FFN matrix and its bias with the neurons of each sentence's task (Eq. 4)."""

    class Options(Section):
        """Options of neuron_specialization."""

        stacks: Literal["both", "encoder", "decoder"] = "both"
        """Which stacks to specialise (`encoder`, `decoder`: the paper's Ours-Enc and Ours-Dec)."""

    name = "neuron_specialization"
    uses_masks = True
    options: Options
    masks: NeuronMasks

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        """Specialise the model with the masks that were selected."""
        if resources.masks is None:
            raise NeuronspecError(f"{self.name} needs neuron masks: run record and select first")
        self.masks = self.choose(resources.masks, resources).reorder(resources.tasks).restrict(self.options.stacks)
        specialize(model, self.masks)

    def choose(self, masks: NeuronMasks, resources: Resources) -> NeuronMasks:
        """Return the masks to train with."""
        return masks

    def save(self, directory: Path) -> None:
        """Write the masks beside the model, where translation finds them."""
        self.masks.save_pretrained(directory)
