"""Task-specific parts of a model, such as adapters: which rows of a batch go through which part.

A part is a set of modules or tensors for one stack. Each task has one part in the encoder and one in the decoder, and
tasks can share them. An unseen direction x-y takes the encoder's part of x-pivot and the decoder's part of pivot-y,
like zero-shot masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from neuronspec.languages import match_direction
from neuronspec.neurons.composition import compose_direction
from neuronspec.specialization.routing import NO_TASK, BatchTasks, TaskRouter

Owners = Mapping[str, Sequence[int]]  # stack -> the number of each task's part
Compute = Callable[[int, torch.Tensor], torch.Tensor]


class PartRouter(TaskRouter):
    """Sends each row of a batch through the part of its task; the base class of everything that adds parts to a model.

    Args:
        model: Model to change in place.
        tasks: Names of all tasks that rows can have.
        owners: For `encoder` and `decoder`, the number of each task's part.
    """

    def __init__(self, model: PreTrainedModel, tasks: Sequence[str], owners: Owners) -> None:
        super().__init__(model, tasks)
        self.owners = {stack: list(numbers) for stack, numbers in owners.items()}
        self.frozen: list[nn.Parameter] = []
        self._grouped_for: BatchTasks | None = None  # the batch whose rows `_grouped` holds
        self._grouped: dict[tuple[str, int, torch.device], dict[int, torch.Tensor]] = {}  # rows of each part

    def freeze(self) -> None:
        """Exclude the model's own parameters from training, until the parts are removed."""
        # Parameters that are frozen already are left out: `remove` must not thaw them.
        self.frozen = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        for parameter in self.frozen:
            parameter.requires_grad = False

    def remove(self) -> None:
        """Remove the parts from the model; parameters that were frozen for them can be trained again."""
        super().remove()
        for parameter in self.frozen:
            parameter.requires_grad = True

    def route(
        self, states: torch.Tensor, stack: str, compute: Compute, copy_of: Sequence[int] | None = None
    ) -> torch.Tensor | None:
        """Send each row through the part of its task, and return the results in the order of the rows.

        Args:
            states: (batch, ...) vectors, one row for each sentence.
            stack: `encoder` or `decoder`.
            compute: Function of a part's number and its rows (its rows, ...), which returns their results.
            copy_of: For each part, the number of the part to use instead, if several are the same here.

        Returns:
            (batch, ...) results, or None inside `dense`, where rows go through no part.

        Raises:
            NeuronspecError: If the tasks are not known, or there is not exactly one for each row.
        """
        # Which rows go through which part.
        rows_by_part: dict[int, list[torch.Tensor]] = {}
        for part, rows in self._group_rows(states, stack).items():
            # Several parts can be the same in this place; their rows are computed together.
            used = part if copy_of is None else copy_of[part]
            rows_by_part.setdefault(used, []).append(rows)

        # Batches of a single part need no sorting of rows.
        if not rows_by_part:
            return None
        if len(rows_by_part) == 1:
            [part] = rows_by_part
            return compute(part, states)

        # Part by part, then back into the order of the rows.
        order, results = [], []
        for part, groups in rows_by_part.items():
            rows = torch.cat(groups)
            order.append(rows)
            results.append(compute(part, states.index_select(0, rows)))
        original_order = torch.cat(order).argsort()
        return torch.cat(results).index_select(0, original_order)

    def _group_rows(self, states: torch.Tensor, stack: str) -> dict[int, torch.Tensor]:
        """Return the row numbers of each part.

        They are computed once for each batch, not in every layer, since that has to wait for the device.
        """
        self.notify()
        # Every batch has a BatchTasks of its own.
        if self._grouped_for is not self.batch_tasks:
            self._grouped_for, self._grouped = self.batch_tasks, {}

        key = (stack, len(states), states.device)
        if key not in self._grouped:
            self._grouped[key] = {} if self.batch_tasks.default == NO_TASK else self._sort_rows(*key)
        return self._grouped[key]

    def _sort_rows(self, stack: str, batch: int, device: torch.device) -> dict[int, torch.Tensor]:
        tasks = self.row_tasks(batch, stack, device)  # raises unless there is one task for each row
        if (single := self.single_task) is not None:
            return {self.owners[stack][single]: torch.arange(batch, device=device)}  # known without asking the device

        # Reading the numbers of the parts has to wait for the device.
        parts = torch.tensor(self.owners[stack], device=device)[tasks]  # (batch,)
        return {part: (parts == part).nonzero()[:, 0] for part in sorted({*parts.tolist()})}

    def add_zero_shot(self, directions: Sequence[str], pivot: str) -> None:
        """Add directions that were not trained: x-y takes the parts of x-pivot and pivot-y.

        Raises:
            NeuronspecError: If one of those two tasks is not known.
        """
        for direction in directions:
            # A trained direction has parts of its own.
            if match_direction(direction, self.tasks) is not None:
                continue

            # The tables get another entry; the parts themselves are shared, not copied.
            source, target = compose_direction(direction, self.tasks, pivot)
            self.owners["encoder"].append(self.owners["encoder"][self.task_index(source)])
            self.owners["decoder"].append(self.owners["decoder"][self.task_index(target)])
            self.tasks = (*self.tasks, direction)
