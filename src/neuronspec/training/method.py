"""The interface of a training method; the methods themselves are in `neuronspec.methods`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import Sampling, Section, Training
from neuronspec.data.batches import BatchDataset
from neuronspec.neurons.masks import NeuronMasks

# Yields the numbers of tasks; meanwhile the parameters hold the gradient of that task
Gradients = Callable[[], Iterator[int]]


@dataclass(frozen=True)
class Corpora:
    """The examples to train on and to validate on; both number their tasks in the same order."""

    train: BatchDataset
    valid: BatchDataset


@dataclass(frozen=True, kw_only=True)
class SearchResources:
    """The data, models and settings that a method's search can use.

    Args:
        directory: Directory for the results and for unfinished work; an interrupted search resumes from it.
        load: Function that returns the pretrained model, a new one each time, and its tokenizer.
        corpora: Training and validation examples of all tasks, in the order of `tasks`.
        tasks: Names of the tasks.
        training: Budget and optimizer settings of the continued training.
        sampling: Settings for drawing batches.
        seed: Seed of the run.
        cpu: Whether to stay on the CPU even if there is a GPU.
    """

    directory: Path
    load: Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerBase]]
    corpora: Corpora
    tasks: tuple[str, ...]
    training: Training
    sampling: Sampling
    seed: int
    cpu: bool = False


@dataclass(frozen=True, kw_only=True)
class Before:
    """A model before languages were added to it, and text that shows what it does.

    Attributes:
        model: Directory of the model, or its name on the hub.
        revision: Revision on the hub.
        masks: Masks of its directions.
        sentences: Source sentences of each of its directions.
    """

    model: str
    revision: str | None = None
    masks: NeuronMasks
    sentences: Mapping[str, Sequence[str]]

    @property
    def name(self) -> str:
        """Name of the model, without the folders that it is in."""
        path = Path(self.model)
        if not path.exists():
            return self.model
        return f"{path.resolve().parent.name}/{path.name}" if path.name == "model" else path.resolve().name


@dataclass(frozen=True)
class Resources:
    """Tasks, masks and settings that a method can use in addition to the model.

    Args:
        tasks: Names of the tasks, in the order of the task numbers in batches.
        masks: Masks of the specialized neurons, if some were selected.
        seed: Seed of the run.
        search_directory: Directory in which the method's own search left its results.
        sizes: Number of training sentence pairs of each task.
        pivot: Language that most tasks have in common.
        base: Directory of the model that the training continues from.
        before: State of that model before languages were added to it, if some were.
    """

    tasks: tuple[str, ...]
    _: KW_ONLY
    masks: NeuronMasks | None = None
    seed: int = 0
    search_directory: Path | None = None
    sizes: tuple[int, ...] = ()
    pivot: str = "en"
    base: Path | None = None
    before: Before | None = None


class Method:
    """A way of training; this base class trains all parameters of the model and adds nothing.

    A subclass gives itself a name and options, and overrides the steps that differ. The loop, the order of the data,
    the budget and the evaluation are the same for all methods. The training loop calls a method in this order:

        search           before the training, if `searches`
        attach           once the model has its weights
        restore          when the training resumes from a checkpoint
        watch            whenever an optimizer was made
        revise           at the beginning of each validation but the last, if `revises`
        save             with each checkpoint
        finish           once at the end, before the trained model is published

    Its class attributes describe everything else about a method, so that no other code knows a method by name.

    Args:
        options: Instance of the class's `Options`; the default options if not given.
    """

    class Options(Section):
        """No options."""

    name: ClassVar[str] = ""
    """Name under which the method is registered."""
    uses_masks: ClassVar[bool] = False
    """Whether the method needs the masks of the selected neurons."""
    searches: ClassVar[bool] = False
    """Whether the method has a search that runs before the training."""
    revises: ClassVar[bool] = False
    """Whether the method may change the trained parameters at validations."""
    routes: ClassVar[bool] = False
    """Whether some trained parameters belong to some tasks only, so that a batch may give them no gradient."""
    extends: ClassVar[bool] = False
    """Whether the method needs a model with room for new languages (`model.extend`)."""
    requires: ClassVar[Mapping[str, str]] = {}
    """Libraries that the training needs, each with the extra of this package that installs it."""
    engines: ClassVar[tuple[str, ...]] = ()
    """Translation engines that can run the trained models; empty if all of them can."""
    artifact: ClassVar[str] = ""
    """Name of the file that `save` writes next to the model; empty if the trained model is complete without one."""
    plain_export: ClassVar[str] = ""
    """Python code for the card of a model with an `artifact` other than neuron masks, which `neuronspec export` takes.
    It makes of the model's directory, `.`, what PEFT can use for one direction, `{task}` (a string of Python); empty if
    there is no way."""
    added_modules: nn.Module | None = None
    """Modules that are trained in addition to the model's own parameters, and kept out of its state dict."""

    def __init__(self, options: Section | None = None) -> None:
        self.options = options or self.Options()

    def search(self, search: SearchResources) -> None:
        """Find what the training needs and write it to `search.directory`."""

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        """Prepare the model, in place, before training."""

    def restore(self, model: PreTrainedModel, directory: Path) -> None:
        """Read what `save` wrote into the checkpoint from which a training resumes."""

    def watch(self, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
        """Register hooks on a new optimizer."""

    def revise(self, model: PreTrainedModel, gradients: Gradients) -> bool:
        """Change which parameters are trained.

        Args:
            model: Model that is trained.
            gradients: Function that yields the number of each task in turn. Meanwhile each parameter holds, as its
                gradient, that of the mean loss on the task's validation text.

        Returns:
            Whether anything changed; if so, the optimizer starts again.
        """
        return False

    def save(self, directory: Path) -> None:
        """Write the method's `artifact` to a model directory."""

    def finish(self, directory: Path) -> None:
        """Check and complete the directory of the trained model; an error keeps it from being published."""

    @classmethod
    def attach_saved(cls, model: PreTrainedModel, directory: Path, unseen: Sequence[str], pivot: str) -> None:
        """Attach the `artifact` of a trained model to it, for translation.

        Args:
            model: Model that was loaded from the directory; changed in place.
            directory: Model directory.
            unseen: Directions x-y that were not trained; each is composed of x-pivot and pivot-y.
            pivot: Language that the trained tasks have in common.

        Raises:
            NeuronspecError: If the file is damaged, does not fit the model, or has nothing for an unseen direction.
        """
        raise NotImplementedError(f"{cls.__name__} leaves no file next to a model")
