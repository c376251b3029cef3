"""The method parameter_differentiation (Wang and Zhang, 2022; paper, A.2.6): modules in which tasks conflict split.

At validations, the tasks that share a module are compared by the gradients of their validation losses there. The
modules whose tasks disagree most get a second copy, for one of the two groups into which the tasks are clustered.
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
from neuronspec.methods.parameter_differentiation.model import BRANCHES_FILE, Branches, ModuleCopy, load_branches
from neuronspec.methods.registry import METHODS
from neuronspec.processes import join_processes
from neuronspec.training.method import Gradients, Method, Resources

logger = logging.getLogger(__name__)
_ROUNDING = 1e-12  # distance up to which two vectors have the same direction


@METHODS.register("parameter_differentiation")
class ParameterDifferentiation(Method):
    """Splits, at validations, the modules in which the gradients of tasks conflict, up to a maximum size.

    Until the first split this is fine-tuning. A split changes no output; the optimizer then starts again, as in the
    released code. Gradients are kept on the CPU in float32 until a validation's splits are chosen: 4 bytes for every
    task and every parameter of the layers that it shares, in each process (0.9 GB for 16 tasks and the paper's
    mT-shallow, 42 GB for the 60 tasks of EC30 and mT-big).
    """

    class Options(Section):
        """Options of parameter_differentiation."""

        splits: int = Field(default=2, ge=1)
        """Maximum number of modules that are split at a validation."""
        upper_bound: float | None = Field(default=1.0, ge=0)
        """Maximum growth of the model, as a share of its size (paper: 1.0 in Table 1, 0.51 and 1.51 in Table 9; null:
        no bound, as in the released code)."""
        every: int = Field(default=1, ge=1)
        """Number of validations from one split to the next (the released code advises one split every four epochs)."""

    name = "parameter_differentiation"
    revises = True
    routes = True
    engines = ("transformers",)
    artifact = BRANCHES_FILE
    options: Options
    branches: Branches
    validations = 0

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        """Prepare the model for copies of its modules; there are none yet."""
        self.branches = Branches(model, resources.tasks)
        self.added_modules = self.branches.copied_modules
        self.validations = 0

    def restore(self, model: PreTrainedModel, directory: Path) -> None:
        """Load the copies of a checkpoint, and its number of validations."""
        validations = self.branches.restore(directory).get("validations")
        if type(validations) is not int or validations < 0:
            raise NeuronspecError(
                f"{directory / BRANCHES_FILE} is damaged: the number of validations is {validations!r}, expected a "
                "whole one; delete that checkpoint"
            )
        self.validations = validations

    def revise(self, model: PreTrainedModel, gradients: Gradients) -> bool:
        """Split the modules with the greatest conflicts between tasks.

        A split that would make the model too large is skipped, and no other one is made instead.

        Returns:
            Whether any module was split.

        Raises:
            NeuronspecError: If a gradient is not finite.
        """
        self.validations += 1
        branches = self.branches
        size_before = branches.size
        shared = branches.shared()
        # It may not be time for a split, or any further copy would be too large.
        if self.validations % self.options.every or not any(self._fits(copy) for copy in shared):
            return False

        # The greatest conflicts first.
        conflicts = sorted(_find_conflicts(branches, shared, gradients), key=lambda conflict: -conflict.score)
        for conflict in conflicts[: self.options.splits]:
            # Tasks that agree gain nothing by a copy of their own.
            if conflict.score <= 0 or not self._fits(conflict.copy):
                continue

            # The first task's group keeps the copy.
            branches.split(conflict.copy.unit.name, conflict.leaving)
            logger.info(
                "split %s (distance %.3f): a copy for %s",
                conflict.copy.unit.name,
                conflict.score,
                ", ".join(branches.trained[task] for task in conflict.leaving),
            )
        return branches.size > size_before

    def save(self, directory: Path) -> None:
        """Write the copies next to the model."""
        self.branches.save(directory, validations=self.validations)

    @classmethod
    def attach_saved(cls, model: PreTrainedModel, directory: Path, unseen: Sequence[str], pivot: str) -> None:
        """Attach the copies of a trained model's modules."""
        load_branches(model, directory).add_zero_shot(unseen, pivot)

    def _fits(self, copy: ModuleCopy) -> bool:
        """Return whether another copy of this unit leaves the model within its maximum size."""
        bound = self.options.upper_bound
        grown = self.branches.size + copy.unit.size
        return bound is None or grown <= (1 + bound) * self.branches.original


@dataclass(frozen=True)
class Conflict:
    """The conflict between the tasks that share a copy.

    Args:
        copy: Copy that the tasks share.
        score: Distance between their two groups: the mean of 1 - cosine over the pairs between them.
        leaving: Task numbers of the group without the first task, which would get a new copy.
    """

    copy: ModuleCopy
    score: float
    leaving: tuple[int, ...]


def cluster(vectors: torch.Tensor) -> tuple[float, NDArray[np.bool_]]:
    """Divide vectors into two groups by agglomerative clustering: average linkage, cosine distance.

    The released code adds 1e-5 to every component to avoid vectors of zeros. That turns small gradients into one
    direction, so here tasks without a gradient are left out instead (`_find_conflicts`).

    Args:
        vectors: (count, features), two or more, none of them all zeros.

    Returns:
        Height of the last merge, from 0 (all vectors have the same direction) to 2, and a (count,) boolean array that
        marks the group without the first vector.

    Example:
        >>> height, others = cluster(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]]))
        >>> round(height, 6), others.tolist()
        (1.0, [False, True, False])
    """
    # In float64, and with distances that are only rounding errors set to 0.
    directions = torch.nn.functional.normalize(vectors.double(), dim=1)  # (count, features)
    distances = 1 - directions @ directions.T  # (count, count)
    distances[distances < _ROUNDING] = 0

    # Two groups: cut the tree below its last merge.
    # scipy takes the distances above the diagonal, as one vector.
    tree = linkage(squareform(_agree(distances).numpy(), checks=False), method="average")
    groups = cut_tree(tree, n_clusters=2)[:, 0]
    return float(tree[-1, 2]), groups != groups[0]


def _find_conflicts(branches: Branches, shared: Sequence[ModuleCopy], gradients: Gradients) -> Iterator[Conflict]:
    """Yield the conflict in every copy in which more than one task has a gradient.

    A task has no gradient if it has no validation text, or if nothing of the copy is trained; it keeps the copy.
    """
    gradients_of_copies = _collect_gradients(branches, shared, gradients)

    # How far apart the gradients in each copy are.
    for copy, by_task in zip(shared, gradients_of_copies, strict=True):
        if len(by_task) < 2:
            continue
        score, others = cluster(torch.stack(list(by_task.values())))

        # The order of the tasks is that of the vectors.
        leaving = tuple(task for task, leaves in zip(by_task, others, strict=True) if leaves)
        yield Conflict(copy, score, leaving)


def _collect_gradients(
    branches: Branches, shared: Sequence[ModuleCopy], gradients: Gradients
) -> list[dict[int, torch.Tensor]]:
    """Return for each copy the gradient of each task that uses it, where it has one that is not all zeros.

    Raises:
        NeuronspecError: If a gradient is not finite.
    """
    gradients_of_copies: list[dict[int, torch.Tensor]] = [{} for _ in shared]
    # While a task's number is given, the parameters hold its gradient.
    for task in gradients():
        for copy, by_task in zip(shared, gradients_of_copies, strict=True):
            vector = _flatten_gradient(copy) if task in copy.tasks else None
            if vector is None or not bool(vector.any()):
                continue

            if not bool(vector.isfinite().all()):
                raise NeuronspecError(
                    f"the validation gradient of {branches.trained[task]} in {copy.unit.name} is not finite: lower "
                    "the learning rate, lengthen the warm-up, or set train.max_gradient_norm"
                )
            by_task[task] = vector
    return gradients_of_copies


def _flatten_gradient(copy: ModuleCopy) -> torch.Tensor | None:
    """Return the gradient of a copy as one vector, on the CPU; None if nothing of it is trained."""
    gradients = [parameter.grad for parameter in copy.module.parameters() if parameter.grad is not None]
    if not gradients:
        return None
    return torch.cat([gradient.detach().flatten().float() for gradient in gradients]).cpu()


def _agree(distances: torch.Tensor) -> torch.Tensor:
    """Return the first process' distances: other processes may round the sums of the same gradients differently."""
    # A single process has nothing to agree on.
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return distances
    agreed: torch.Tensor = broadcast(distances.to(join_processes().device)).cpu()
    return agreed
