"""Measures of one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuronspec.analysis.chance import Chance
from neuronspec.analysis.compared_tasks import ComparedTasks
from neuronspec.analysis.overlap import above_diagonal
from neuronspec.analysis.reliability import LearningCurvePoint, SplitHalves
from neuronspec.analysis.resampling import OverlapInterval, ShuffledOverlap
from neuronspec.analysis.structure import Structure
from neuronspec.neurons.masks import NeuronMasks, pairwise_iou

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Resampled:
    """What other sentences of the same tasks would have given in one layer.

    Attributes:
        interval: of the IoU of each pair of tasks.
        null: the IoU of each pair if the task of a sentence made no difference.
        halves: two random halves of the sentences against each other.
        curve: fewer sentences against all.
    """

    interval: OverlapInterval
    null: ShuffledOverlap
    halves: SplitHalves
    curve: Sequence[LearningCurvePoint]


@dataclass(frozen=True)
class LayerMeasures:
    """What is measured of one layer.

    Attributes:
        layer: its name.
        compared: the tasks that are compared in it.
        iou: (tasks, tasks) IoU of their masks.
        chance: the IoU of random sets of the same sizes.
        structure: what the overlaps follow.
        shares: for other k, the correlation of the overlaps there with these.
        resampled: where the sentences' states were recorded.
    """

    layer: str
    compared: ComparedTasks
    iou: Matrix
    chance: Chance
    structure: Structure
    shares: Mapping[float, float]
    resampled: Resampled | None

    @property
    def above_chance(self) -> Matrix:
        """The (tasks, tasks) IoU without what is chance: 0 for random sets of the same sizes, 1 for equal ones."""
        rest = 1 - self.chance.mean
        return np.divide(self.iou - self.chance.mean, rest, out=np.zeros_like(self.iou), where=rest > 0)

    @property
    def pairs(self) -> Matrix:
        """The IoU of every pair of different tasks, row by row."""
        return above_diagonal(self.iou)


def measure_overlap(masks: NeuronMasks, layer: str, panel: ComparedTasks) -> Matrix:
    """Return the (tasks, tasks) IoU that masks have in a layer between the tasks of a panel."""
    rows = [masks.task_index(task) for task in panel.tasks]
    return pairwise_iou(masks.layer(layer)[rows].numpy())
