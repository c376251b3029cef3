"""What lies beside a model and makes it specialised, found by its file's name and put in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from transformers import PreTrainedModel

from neuronspec.languages import match_direction
from neuronspec.methods.adapters.model import ADAPTERS_FILE, load_adapters
from neuronspec.methods.lass.masks import WEIGHT_MASKS_FILE
from neuronspec.methods.lass.model import load_weight_masks
from neuronspec.methods.lora.model import LORA_FILE, load_lora
from neuronspec.methods.parameter_differentiation.model import BRANCHES_FILE, load_branches
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize

Attach = Callable[[PreTrainedModel, Path, Sequence[str], str], None]


def attach_masks(model: PreTrainedModel, masks: NeuronMasks, unseen: Sequence[str] = (), pivot: str = "en") -> None:
    """Specialise a model with masks, those of unseen directions composed.

    Args:
        model: changed in place.
        masks: of the trained tasks.
        unseen: directions x-y without masks: the encoder's of x-pivot and the decoder's of pivot-y.
        pivot: the language that trained tasks have in common.
    """
    unseen = [task for task in unseen if match_direction(task, masks.tasks) is None]
    specialize(model, NeuronMasks.concatenate([masks, masks.zero_shot(unseen, pivot)]) if unseen else masks)


def attach_saved(model: PreTrainedModel, directory: Path, unseen: Sequence[str] = (), pivot: str = "en") -> bool:
    """Put in place what a method left beside a model: masks, adapters, masked weights, branches.

    Args:
        model: loaded from the directory; changed in place.
        directory: of the model.
        unseen: directions that were not trained.
        pivot: the language that trained tasks have in common.

    Returns:
        Whether there was anything.

    Raises:
        NeuronspecError: it is damaged, does not fit the model, or has nothing for an unseen direction.
    """
    for name, attach in ARTEFACTS.items():
        if (directory / name).is_file():
            attach(model, directory, unseen, pivot)
            return True
    return False


def _attach_masks(model: PreTrainedModel, directory: Path, unseen: Sequence[str], pivot: str) -> None:
    attach_masks(model, NeuronMasks.from_pretrained(directory), unseen, pivot)


def _attach_weight_masks(model: PreTrainedModel, directory: Path, unseen: Sequence[str], pivot: str) -> None:
    load_weight_masks(model, directory).add_zero_shot(unseen, pivot)


def _attach_adapters(model: PreTrainedModel, directory: Path, unseen: Sequence[str], pivot: str) -> None:
    load_adapters(model, directory).add_zero_shot(unseen, pivot)


def _attach_lora(model: PreTrainedModel, directory: Path, unseen: Sequence[str], pivot: str) -> None:
    load_lora(model, directory).add_zero_shot(unseen, pivot)


def _attach_branches(model: PreTrainedModel, directory: Path, unseen: Sequence[str], pivot: str) -> None:
    load_branches(model, directory).add_zero_shot(unseen, pivot)


ARTEFACTS: Mapping[str, Attach] = {
    MASKS_FILE: _attach_masks,
    WEIGHT_MASKS_FILE: _attach_weight_masks,
    BRANCHES_FILE: _attach_branches,
    ADAPTERS_FILE: _attach_adapters,
    LORA_FILE: _attach_lora,
}
"""File name -> what attaches it."""
