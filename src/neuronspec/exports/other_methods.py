"""Masks that were saved with a model; what other methods leave next to theirs is refused by name."""

from __future__ import annotations

from pathlib import Path

from neuronspec.errors import NeuronspecError
from neuronspec.methods.saved import find_saved
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.neurons.masks import NeuronMasks


def load_saved_masks(directory: Path) -> NeuronMasks | None:
    """Return the masks next to a model; None if there is nothing next to it.

    Args:
        directory: Directory of the model.

    Raises:
        NeuronspecError: If the model has adapters, LoRA, weight masks or branches next to it instead.
    """
    method = find_saved(directory)
    if method is None:
        return None
    if method.artifact == MASKS_FILE:
        return NeuronMasks.from_pretrained(directory)

    # A method says in Python how one direction of it leaves this package, if it can.
    code = "; ".join(line for line in method.plain_export.splitlines() if line and not line.startswith("#"))
    way = (
        f"in {directory}, this exports one direction in Python: {code.format(task=repr('de-en'))}"
        if code
        else f"translate with it in neuronspec: neuronspec translate --model {directory}"
    )
    raise NeuronspecError(
        f"{directory} was trained with {method.name}, which keeps what each task has of its own in "
        f"{method.artifact}: only neuron masks and dense models can be exported; {way}"
    )
