"""The values of masks: only booleans, or zeros and ones, are taken for booleans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from neuronspec.errors import NeuronspecError


def read_booleans(values: Any, what: str) -> torch.Tensor:
    """Return a mask as booleans; a fraction or NaN is refused.

    Args:
        values: A tensor, an array or a list of booleans, or of numbers that are 0 or 1.
        what: Name of the values, for the message.

    Raises:
        NeuronspecError: If there is any other value.
    """
    mask = torch.as_tensor(values)
    if mask.dtype == torch.bool:
        return mask

    strange = (mask != 0) & (mask != 1)  # true for NaN
    if strange.any():
        raise NeuronspecError(f"the mask of {what} holds {mask[strange][0].item()}; expected booleans, or 0 and 1")
    return mask.bool()


def stack_masks(masks: Mapping[str, Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """Return for each layer the (tasks, d_ff) boolean masks of all tasks.

    Args:
        masks: For each task, for each layer, (d_ff,) booleans: a tensor, an array or a list.

    Raises:
        NeuronspecError: If the tasks do not have the same layers, or their masks differ in width.
    """
    # The first task decides which layers there are, and their order.
    layers = list(next(iter(masks.values()), {}))
    for task, of_task in masks.items():
        if list(of_task) != layers:
            raise NeuronspecError(f"the masks of {task} have the layers {list(of_task)}, others {layers}")

    # Stacking fails if the widths differ.
    stacked = {}
    try:
        for layer in layers:
            stacked[layer] = torch.stack([read_booleans(of_task[layer], layer) for of_task in masks.values()])
    except (RuntimeError, ValueError, TypeError) as error:
        raise NeuronspecError(f"the masks of one layer must have the same width and be booleans: {error}") from error
    return stacked
