"""Masks from files of counts or masks, outside of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from neuronspec.config.sections import Selection
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.filenames import COUNTS_FILE, MASKS_FILE
from neuronspec.neurons.masks import NeuronMasks


def find_kind(place: Path) -> Literal["counts", "masks"]:
    """Return whether a directory or a safetensors file holds activation counts or masks.

    Raises:
        NeuronspecError: If a directory holds neither.
    """
    # Masks may be in a file of any name, counts may not.
    if (place / COUNTS_FILE).is_file() or place.name == COUNTS_FILE:
        return "counts"
    if (place / MASKS_FILE).is_file() or place.suffix == ".safetensors":
        return "masks"

    # The directory of a run has both, one folder down.
    inside = [str(place / name) for name in ("select", "record") if (place / name).is_dir()]
    hint = f" (did you mean {' or '.join(inside)}?)" if inside else ""
    raise NeuronspecError(f"{place} holds neither activation counts nor masks, and is no configuration{hint}")


def select_masks(settings: Selection, counts: ActivationCounts, k: float) -> NeuronMasks:
    """Return the masks that a configuration selects from counts with a given k."""
    return NeuronMasks.from_counts(
        counts,
        k,
        encoder_k=settings.encoder_k,
        decoder_k=settings.decoder_k,
        layer_k=settings.layer_k,
        rule=settings.rule,
        **settings.options,
    )
