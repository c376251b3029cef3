"""Comparing two sets of masks: how much of each layer they share, and how large they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.masks import NeuronMasks

PerTask = dict[str, NDArray[np.float64]]  # layer -> (tasks,)


@dataclass(frozen=True)
class MaskComparison:
    """The overlap of two sets of masks.

    Args:
        tasks: Names of the tasks that both have, in the order of the first.
        layers: Names of the layers.
        iou: For each layer, (tasks,) intersection over union of the two masks of each task.
        sizes: For each layer, (2, tasks) shares of neurons that are on, in the first and in the second set.
    """

    tasks: tuple[str, ...]
    layers: tuple[str, ...]
    iou: PerTask
    sizes: PerTask

    def as_dict(self) -> dict[str, object]:
        """Return the comparison as JSON values."""
        layers = {}
        for layer in self.layers:
            columns = {"iou": self.iou[layer], "first": self.sizes[layer][0], "second": self.sizes[layer][1]}
            layers[layer] = {name: dict(zip(self.tasks, of.tolist(), strict=True)) for name, of in columns.items()}
        return {"tasks": list(self.tasks), "layers": layers}


def compare_masks(first: NeuronMasks, second: NeuronMasks) -> MaskComparison:
    """Compare two sets of masks task by task, such as those of two rules, two k, two seeds or two checkpoints.

    Args:
        first: A set of masks.
        second: Another set with the same layers. Tasks that only one of them has are left out.

    Raises:
        NeuronspecError: If layers or widths differ, or no task is in both.

    Example:
        >>> a = NeuronMasks.from_dict({"de-en": {"encoder.0": [1, 1, 0, 0]}})
        >>> b = NeuronMasks.from_dict({"de-en": {"encoder.0": [0, 1, 1, 0]}})
        >>> compare_masks(a, b).iou["encoder.0"].round(2).tolist()
        [0.33]
    """
    tasks = [task for task in first.tasks if task in second.tasks]
    if not tasks or first.widths != second.widths:
        raise NeuronspecError(f"nothing to compare: {first!r} and {second!r} have other tasks, layers or widths")

    # The masks of the common tasks, in the same order
    one, two = first.reorder(tasks), second.reorder(tasks)
    iou, sizes = {}, {}
    for layer in first.layers:
        a, b = one.layer(layer), two.layer(layer)  # (tasks, d_ff)
        shared, united = (a & b).sum(1).double(), (a | b).sum(1).double()  # (tasks,)
        iou[layer] = (shared / united).nan_to_num(1.0).numpy()  # two empty sets are equal
        sizes[layer] = np.stack([a.double().mean(1).numpy(), b.double().mean(1).numpy()])
    return MaskComparison(tasks=tuple(tasks), layers=first.layers, iou=iou, sizes=sizes)
