"""The interface that every method of training fulfils; the methods themselves are in `neuronspec.methods`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import Sampling, Section, Training
from neuronspec.data.batches import BatchDataset
from neuronspec.neurons.masks import NeuronMasks

Gradients = Callable[[], Iterator[int]]


@dataclass(frozen=True)
class Search:
    """What a method's search may use.

    Args:
        directory: where to keep what is found, and what is unfinished: an interrupted search goes on there.
        load: gives the pretrained model, a new one each time, and its tokenizer.
        corpora: to train and validate on, all tasks in the order of their numbers.
        tasks: their names.
        training: the budget and the optimiser of the continued training.
        sampling: how batches are drawn.
        seed: the run's.
        cpu: stay on the CPU even where there is a GPU.
    """

    directory: Path
    load: Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerBase]]
    corpora: Corpora
    tasks: tuple[str, ...]
    training: Training
    sampling: Sampling
    seed: int
    cpu: bool = False


@dataclass(frozen=True)
class Corpora:
    """The examples to train on and to validate on; both number their tasks in the same order."""

    train: BatchDataset
    valid: BatchDataset


@dataclass(frozen=True)
class Resources:
    """What a method may use beside the model.

    Args:
        tasks: the tasks, in the order of the numbers that batches carry.
        masks: the specialised neurons, where some were selected.
        seed: the run's.
        found: the directory in which the method's own search left what it found.
        sizes: how many sentence pairs each task is trained on.
        pivot: the language that most tasks have in common.
    """

    tasks: tuple[str, ...]
    masks: NeuronMasks | None = None
    seed: int = 0
    found: Path | None = None
    sizes: tuple[int, ...] = ()
    pivot: str = "en"


class Method:
    """A way of training; this base trains every parameter with nothing added.

    A subclass names itself and its options, and overrides the steps that differ. The loop, the data order, the
    budget and the evaluation are the same for all.

    Args:
        options: an instance of the class's `Options`.
    """

    class Options(Section):
        """Takes no options."""

    name: ClassVar[str] = ""
    uses_masks: ClassVar[bool] = False
    searches: ClassVar[bool] = False
    revises: ClassVar[bool] = False
    routes: ClassVar[bool] = False  # whether some parameters are of some tasks alone
    parts: nn.Module | None = None
    """What is trained beside the model's own parameters, and kept out of its state dict."""

    def __init__(self, options: Section | None = None) -> None:
        self.options = options or self.Options()

    def search(self, search: Search) -> None:
        """Find out, before the training, what it needs (`searches`); everything goes into `search.directory`."""

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        """Prepare the model, in place, before training."""

    def restore(self, model: PreTrainedModel, directory: Path) -> None:
        """Read, after `attach`, what `save` wrote into a checkpoint from which a training goes on."""

    def watch(self, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
        """Take hold of the optimiser, once it is made."""

    def revise(self, model: PreTrainedModel, gradients: Gradients) -> bool:
        """Change, at the beginning of a validation, which parameters there are (`revises`).

        Args:
            model: the model that is trained.
            gradients: gives for every task in turn its number, while each parameter holds, as its gradient, that of
                the mean loss of the task's validation text.

        Returns:
            Whether anything changed: the optimiser then begins anew.
        """
        return False

    def save(self, directory: Path) -> None:
        """Write what the method adds to a model directory."""
