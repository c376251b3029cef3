"""Parameter differentiation (Wang and Zhang, 2022; paper, section 5.1 and A.2.6): where tasks conflict, split.

At validations the tasks that share a module are compared by the gradients of their validation losses there. The
modules whose tasks disagree most are given a second copy, for one of the two groups into which they fall.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import broadcast
from numpy.typing import NDArray
from pydantic import Field
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import squareform
from transformers import PreTrainedModel

from neuronspec.config.sections import Section
from neuronspec.errors import NeuronspecError
from neuronspec.methods.parameter_differentiation.model import BRANCHES_FILE, Branches, Copy
from neuronspec.methods.registry import METHODS
from neuronspec.processes import join_processes
from neuronspec.training.method import Gradients, Method, Resources

logger = logging.getLogger(__name__)
_ROUNDING = 1e-12  # vectors that are no further apart point one way


@METHODS.register("parameter_differentiation")
class ParameterDifferentiation(Method):
    """Splits, at validations, the modules in which the gradients of tasks conflict, up to a size.

    Until the first split this is fine-tuning. A split changes no output; the optimiser begins anew after it, as in
    the released code. Gradients are kept on the CPU in float32 until a validation's splits are chosen:
    4 bytes for every task and every parameter of the layers that it shares (0.9 GB for 16 tasks and the paper's
    mT-shallow, 42 GB for the 60 of EC30 and mT-big), in each process.
    """

    class Options(Section):
        """Options of parameter_differentiation."""

        splits: int = Field(default=2, ge=1)
        """Modules that are split at a validation, at most."""
        upper_bound: float | None = Field(default=1.0, ge=0)
        """How much the model may grow, as a share of its size (paper: 1.0 in Table 1, 0.51 and 1.51 in Table 9; the
        released code has no bound: null)."""
        every: int = Field(default=1, ge=1)
        """Split only at every n-th validation (the released code advises one every four epochs)."""

    name = "parameter_differentiation"
    revises = True
    routes = True
    options: Options
    branches: Branches
    validations = 0

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        """Make the model ready for copies of its modules; there are none yet."""
        self.branches = Branches(model, resources.tasks)
        self.parts = self.branches.parts
        self.validations = 0

    def restore(self, model: PreTrainedModel, directory: Path) -> None:
        """Read the copies, and how many validations there were."""
        validations = self.branches.restore(directory).get("validations")
        if type(validations) is not int or validations < 0:
            raise NeuronspecError(
                f"{directory / BRANCHES_FILE} is damaged: the number of validations is {validations!r}, expected a "
                "whole one; delete that checkpoint"
            )
        self.validations = validations

    def revise(self, model: PreTrainedModel, gradients: Gradients) -> bool:
        """Split the modules with the greatest conflicts between tasks.

        A split that would make the model larger than it may be is left out, and no other takes its place.

        Returns:
            Whether any was split.

        Raises:
            NeuronspecError: a gradient is not finite.
        """
        self.validations += 1
        branches, before = self.branches, self.branches.size
        shared = branches.shared()
        if self.validations % self.options.every or not any(self._fits(copy) for copy in shared):
            return False
        conflicts = sorted(_find_conflicts(branches, shared, gradients), key=lambda conflict: -conflict.score)
        for conflict in conflicts[: self.options.splits]:
            if conflict.score > 0 and self._fits(conflict.copy):
                branches.split(conflict.copy.unit.name, conflict.leaving)
                logger.info(
                    "split %s (distance %.3f): a copy for %s",
                    conflict.copy.unit.name,
                    conflict.score,
                    ", ".join(branches.trained[task] for task in conflict.leaving),
                )
        return branches.size > before

    def save(self, directory: Path) -> None:
        """Write the copies beside the model."""
        self.branches.save(directory, validations=self.validations)

    def _fits(self, copy: Copy) -> bool:
        """Whether the model may grow by another copy of this unit."""
        bound = self.options.upper_bound
        grown = self.branches.size + copy.unit.size
        return bound is None or grown <= (1 + bound) * self.branches.original


@dataclass(frozen=True)
class Conflict:
    """How far apart the tasks are that share a copy, and which of them are to get another one.

    Args:
        copy: that they share.
        score: the distance of the two groups: the mean of 1 - cosine over the pairs between them.
        leaving: the numbers of the group without the first task.
    """

    copy: Copy
    score: float
    leaving: tuple[int, ...]


def cluster(vectors: torch.Tensor) -> tuple[float, NDArray[np.bool_]]:
    """Divide vectors into two groups by agglomerative clustering: average linkage, cosine distance.

    The released code adds 1e-5 to every component, against vectors of zeros; that turns small gradients into one
    direction, so here tasks without a gradient are left out instead (`_find_conflicts`).

    Args:
        vectors: (count, features), two or more, none of them all zeros.

    Returns:
        The height of the last merge, from 0 (all point one way) to 2, and (count,) which are in the group that the
        first vector is not in.

    Example:
        >>> height, others = cluster(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]]))
        >>> round(height, 6), others.tolist()
        (1.0, [False, True, False])
    """
    directions = torch.nn.functional.normalize(vectors.double(), dim=1)
    distances = 1 - directions @ directions.T  # (count, count)
    distances[distances < _ROUNDING] = 0
    tree = linkage(squareform(_agree(distances).numpy(), checks=False), method="average")
    groups = cut_tree(tree, n_clusters=2)[:, 0]
    return float(tree[-1, 2]), groups != groups[0]


def _find_conflicts(branches: Branches, shared: Sequence[Copy], gradients: Gradients) -> Iterator[Conflict]:
    """Yield the conflict in every copy where more than one task has a gradient.

    A task has none where it has no validation text, or where nothing is trained: it stays with the copy.
    """
    found: list[dict[int, torch.Tensor]] = [{} for _ in shared]
    for task in gradients():
        for copy, of_tasks in zip(shared, found, strict=True):
            if task in copy.tasks and (vector := _flatten(copy)) is not None and bool(vector.any()):
                if not bool(vector.isfinite().all()):
                    raise NeuronspecError(
                        f"the validation gradient of {branches.trained[task]} in {copy.unit.name} is not finite: lower "
                        "the learning rate, lengthen the warm-up, or set train.max_gradient_norm"
                    )
                of_tasks[task] = vector
    for copy, of_tasks in zip(shared, found, strict=True):
        if len(of_tasks) > 1:
            score, others = cluster(torch.stack(list(of_tasks.values())))
            leaving = tuple(task for task, leaves in zip(of_tasks, others, strict=True) if leaves)
            yield Conflict(copy, score, leaving)


def _flatten(copy: Copy) -> torch.Tensor | None:
    """Return the gradient of a copy as one vector, on the CPU; None where nothing of it is trained."""
    gradients = [parameter.grad for parameter in copy.module.parameters() if parameter.grad is not None]
    return torch.cat([gradient.detach().flatten().float() for gradient in gradients]).cpu() if gradients else None


def _agree(distances: torch.Tensor) -> torch.Tensor:
    """Return the first process' distances: gradients are equal on all, but how another sums them up may differ."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return distances
    agreed: torch.Tensor = broadcast(distances.to(join_processes().device)).cpu()
    return agreed
