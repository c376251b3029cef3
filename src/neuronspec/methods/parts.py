"""Parts of a model that belong to some tasks, such as adapters: and which rows go through which part.

A part is a set of modules or tensors for one stack. Each task has one part in the encoder and one in the decoder;
tasks may share them. An unseen direction x-y takes the encoder's part of x-pivot and the decoder's of pivot-y, as
zero-shot masks do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from transformers import PreTrainedModel

from neuronspec.languages import match_direction
from neuronspec.neurons.composition import compose_direction
from neuronspec.specialization.routing import DENSE, Router, Rows

Owners = Mapping[str, Sequence[int]]  # stack -> the number of each task's part
Compute = Callable[[int, torch.Tensor], torch.Tensor]


class PartRouter(Router):
    """Sends each row through the part of its task; the base of what adds modules to a model.

    Args:
        model: changed in place.
        tasks: that rows may have.
        owners: for `encoder` and `decoder`, the number of the part of each task.
    """

    def __init__(self, model: PreTrainedModel, tasks: Sequence[str], owners: Owners) -> None:
        super().__init__(model, tasks)
        self.owners = {stack: list(numbers) for stack, numbers in owners.items()}
        self._grouped_for: Rows | None = None  # the rows at hand that `_grouped` is of
        self._grouped: dict[tuple[str, int, torch.device], dict[int, torch.Tensor]] = {}

    def route(
        self, states: torch.Tensor, stack: str, compute: Compute, copy_of: Sequence[int] | None = None
    ) -> torch.Tensor | None:
        """Send each row through the part of its task, and put the rows together again in their order.

        Args:
            states: (batch, ...), whose first dimension counts the rows.
            stack: `encoder` or `decoder`.
            compute: what a part makes of its rows: the part's number and (its rows, ...) to (its rows, ...).
            copy_of: where several parts are one and the same here, the number that stands for each.

        Returns:
            (batch, ...), or None inside `dense`, where rows go through no part.

        Raises:
            NeuronspecError: the tasks are not known, or not one for each row.
        """
        rows_of: dict[int, list[torch.Tensor]] = {}
        for part, rows in self._groups(states, stack).items():
            rows_of.setdefault(part if copy_of is None else copy_of[part], []).append(rows)
        if len(rows_of) < 2:
            return compute(next(iter(rows_of)), states) if rows_of else None
        orders = [torch.cat(some) for some in rows_of.values()]
        pieces = [compute(part, states.index_select(0, rows)) for part, rows in zip(rows_of, orders, strict=True)]
        return torch.cat(pieces).index_select(0, torch.cat(orders).argsort())

    def _groups(self, states: torch.Tensor, stack: str) -> dict[int, torch.Tensor]:
        """Return the numbers of the rows of each part; found out once a forward, since a device must be waited for."""
        self.tell()
        if self._grouped_for is not self.rows:
            self._grouped_for, self._grouped = self.rows, {}
        key = (stack, len(states), states.device)
        if key not in self._grouped:
            self._grouped[key] = {} if self.rows.default == DENSE else self._sort(*key)
        return self._grouped[key]

    def _sort(self, stack: str, batch: int, device: torch.device) -> dict[int, torch.Tensor]:
        tasks = self.rows_of(batch, stack, device)  # refuses tasks that are not one for each row
        if (single := self.one_task) is not None:
            return {self.owners[stack][single]: torch.arange(batch, device=device)}
        parts = torch.tensor(self.owners[stack], device=device)[tasks]  # (batch,)
        return {part: (parts == part).nonzero()[:, 0] for part in sorted({*parts.tolist()})}

    def add_zero_shot(self, directions: Sequence[str], pivot: str) -> None:
        """Let rows have directions that were not trained: x-y takes the parts of x-pivot and pivot-y.

        Raises:
            NeuronspecError: one of those tasks is not known.
        """
        for direction in directions:
            if match_direction(direction, self.tasks) is None:
                source, target = compose_direction(direction, self.tasks, pivot)
                self.owners["encoder"].append(self.owners["encoder"][self.task_index(source)])
                self.owners["decoder"].append(self.owners["decoder"][self.task_index(target)])
                self.tasks = (*self.tasks, direction)
