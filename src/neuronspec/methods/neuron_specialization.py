"""The method neuron_specialization (paper, section 4): continued training with only each task's own neurons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedModel

from neuronspec.config.sections import Section
from neuronspec.errors import NeuronspecError
from neuronspec.methods.registry import METHODS
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import attach_masks, specialize
from neuronspec.specialization.momentum import hold_absent_neurons
from neuronspec.training.method import Method, Resources


@METHODS.register("neuron_specialization")
class NeuronSpecialization(Method):
    """Masks the first FFN matrix and its bias with the neurons of each sentence's task (Eq. 4)."""

    class Options(Section):
        """Options of neuron_specialization."""

        stacks: Literal["both", "encoder", "decoder"] = "both"
        """Stacks to specialize (`encoder` and `decoder` are Ours-Enc and Ours-Dec in the paper)."""
        released: bool = False
        """Whether to mask like the released code: the bias of a masked neuron still produces output."""
        hold_absent: bool = False
        """Whether to prevent Adam's momentum from changing neurons that no sentence of an update uses."""
        packed: Literal["auto", "always", "never"] = "auto"
        """When batches of one direction (`sampling.homogeneous`) are computed with smaller matrices that hold that
        direction's neurons only: `auto` if that was measured to be faster."""

    name = "neuron_specialization"
    uses_masks = True
    artifact = MASKS_FILE
    options: Options
    masks: NeuronMasks

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        """Specialize the model with the selected masks."""
        if resources.masks is None:
            raise NeuronspecError(f"{self.name} needs neuron masks: run record and select first")

        # The order of the masks' tasks must be that of the task numbers in batches.
        masks = self.choose(resources.masks.reorder(resources.tasks), resources).restrict(self.options.stacks)

        # The treatment of the bias is saved with the masks, so that translation follows it.
        self.masks = masks.keep_bias() if self.options.released else masks
        specialize(model, self.masks, packed=self.options.packed)

    def watch(self, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
        """Hold absent neurons, if the option is set."""
        if self.options.hold_absent:
            hold_absent_neurons(model, optimizer)

    def choose(self, masks: NeuronMasks, resources: Resources) -> NeuronMasks:
        """Return the masks to train with."""
        return masks

    def save(self, directory: Path) -> None:
        """Write the masks next to the model."""
        self.masks.save_pretrained(directory)

    @classmethod
    def attach_saved(cls, model: PreTrainedModel, directory: Path, unseen: Sequence[str], pivot: str) -> None:
        """Specialize a trained model with its masks."""
        attach_masks(model, NeuronMasks.from_pretrained(directory), unseen, pivot)
