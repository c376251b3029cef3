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
from neuronspec.neurons.mask_overlap import pairwise_iou
from neuronspec.neurons.masks import NeuronMasks

Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """Measures of one layer from resampled sentences.

    Attributes:
        interval: Confidence interval of the IoU of each pair of tasks.
        null: IoU of each pair after sentences were shuffled over the tasks.
        halves: Agreement of two random halves of the sentences.
        curve: Agreement of fewer sentences with all of them.
    """

    interval: OverlapInterval
    null: ShuffledOverlap
    halves: SplitHalves
    curve: Sequence[LearningCurvePoint]


@dataclass(frozen=True, kw_only=True)
class LayerMeasures:
    """Measures of one layer.

    Attributes:
        layer: Name of the layer.
        compared: Tasks that are compared in the layer.
        iou: (tasks, tasks) IoU of their masks.
        chance: IoU of random sets of the same sizes.
        structure: Distances and groups that the overlaps follow.
        shares: For each other k, the correlation of the overlaps there with the overlaps here.
        resampled: Measures from resampled sentences; None without the states of single sentences.
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
        """The (tasks, tasks) IoU corrected for chance: 0 for random sets of the same sizes, 1 for equal sets."""
        # Sets that overlap fully by chance have nothing left to be above it
        possible = 1 - self.chance.mean
        return np.divide(self.iou - self.chance.mean, possible, out=np.zeros_like(self.iou), where=possible > 0)

    @property
    def pairs(self) -> Matrix:
        """The IoU of every pair of different tasks, row by row."""
        return above_diagonal(self.iou)


def measure_overlap(masks: NeuronMasks, layer: str, compared: ComparedTasks) -> Matrix:
    """Return the (tasks, tasks) IoU of masks in one layer, between the compared tasks."""
    # Masks may have more tasks, in another order
    rows = [masks.task_index(task) for task in compared.tasks]
    return pairwise_iou(masks.layer(layer)[rows].numpy())
