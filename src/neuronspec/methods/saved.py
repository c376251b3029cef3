"""Finding what a method left next to its model, and attaching it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel

from neuronspec.methods.catalog import METHODS
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.training.method import Method


def list_artifacts(directory: Path) -> list[Path]:
    """Return the files that methods left in a model directory: masks, adapters and other extra weights."""
    # Several methods can leave a file of the same name, such as neuron masks.
    names = dict.fromkeys(method.artifact for method in _methods_with_artifact())
    paths = [directory / name for name in names]
    return [path for path in paths if path.is_file()]


def attach_saved(model: PreTrainedModel, directory: Path, unseen: Sequence[str] = (), pivot: str = "en") -> bool:
    """Attach what a method left next to a model: neuron masks, adapters, LoRA, weight masks or branches.

    Args:
        model: Model that was loaded from the directory; changed in place.
        directory: Model directory.
        unseen: Directions that were not trained.
        pivot: Language that the trained tasks have in common.

    Returns:
        Whether there was anything to attach.

    Raises:
        NeuronspecError: If a file is damaged, does not fit the model, or has nothing for an unseen direction.
    """
    method = find_saved(directory)
    if method is not None:
        method.attach_saved(model, directory, unseen, pivot)
    return method is not None


def find_saved(directory: Path) -> type[Method] | None:
    """Return the method that left something next to a model; None if there is nothing.

    Args:
        directory: Model directory.
    """
    # The first file that is there decides: only one can be attached.
    methods = (method for method in _methods_with_artifact() if (directory / method.artifact).is_file())
    return next(methods, None)


def _methods_with_artifact() -> list[type[Method]]:
    methods = [method for method in METHODS.values() if method.artifact]
    # Neuron masks come first: `NeuronMasks.save_pretrained` can put them next to any model, whatever trained it.
    return sorted(methods, key=lambda method: method.artifact != MASKS_FILE)
