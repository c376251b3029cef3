"""The interface that every method of training fulfils; the methods themselves are in `neuronspec.methods`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from transformers import PreTrainedModel

from neuronspec.config import Section
from neuronspec.neurons.masks import NeuronMasks


@dataclass(frozen=True)
class Resources:
    """What a method may use beside the model.

    Args:
        tasks: the tasks, in the order of the numbers that batches carry.
        masks: the specialised neurons, where some were selected.
        seed: the run's.
    """

    tasks: tuple[str, ...]
    masks: NeuronMasks | None = None
    seed: int = 0


class Method:
    """A way of training; this base trains every parameter with nothing added.

    A subclass names itself and its options, and overrides the two steps that differ. The loop, the data order, the
    budget and the evaluation are the same for all.

    Args:
        options: an instance of the class's `Options`.
    """

    class Options(Section):
        """Takes no options."""

    name: ClassVar[str] = ""
    uses_masks: ClassVar[bool] = False

    def __init__(self, options: Section | None = None) -> None:
        self.options = options or self.Options()

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        """Prepare the model, in place, before training or after loading."""

    def watch(self, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
        """Take hold of the optimiser, once it is made."""

    def save(self, directory: Path) -> None:
        """Write what the method adds to a model directory."""
