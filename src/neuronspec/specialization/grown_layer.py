"""FFN layers that have grown: tasks from before compute with exactly the matrices of before.

A product with a wider matrix can have other last bits, even where the new neurons are zero: a library chooses its way
of adding by the sizes. So the neurons of before are a product of their own, of the old size, and those of each addition
are added for the rows that use them.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from neuronspec.models.matrices import WeightMatrix
from neuronspec.neurons.layers import FFNLayer
from neuronspec.specialization.packing import Dense, Gathered, Packed, PackedLayer, TaskSource

FindTasks = Callable[[FFNLayer, torch.Tensor], torch.Tensor | None]
_BASE = "base"  # key of the kept second matrix of before


class _Segment(NamedTuple):
    """The neurons of one addition: their places, and for each task whether it uses any of them."""

    start: int
    stop: int
    used: torch.Tensor  # (tasks,) boolean


class GrownLayer(PackedLayer):
    """An FFN layer that computes the neurons of before, and those of each addition, as products of their own.

    Batches without a row that uses new neurons give the bits that the layer gave before it grew.

    Args:
        layer: Layer to change in place.
        masks: (tasks, d_ff) boolean masks.
        packed: When to compute with smaller matrices.
        task_source: Source of the task that all rows share.
        bounds: Width before the first addition, after it, and so on; the last one is that of the layer.
        find_tasks: Function that returns the (batch,) task of each row of the layer's vectors; None if all neurons are
            used.
    """

    def __init__(
        self,
        layer: FFNLayer,
        masks: torch.Tensor,
        *,
        packed: Packed,
        task_source: TaskSource,
        bounds: Sequence[int],
        find_tasks: FindTasks,
    ) -> None:
        # Smaller matrices are those of the layer before it grew.
        super().__init__(layer, masks[:, : bounds[0]], packed, task_source)
        self._find_tasks = find_tasks
        self._segments = [
            _Segment(start, stop, masks[:, start:stop].any(1)) for start, stop in itertools.pairwise(bounds)
        ]
        # For the current input, the (batch,) rows that use each segment; None for a segment without such rows
        self._rows: list[torch.Tensor | None] | None = None

    def _compute_first(self, name: str, matrix: WeightMatrix, dense: Dense, states: torch.Tensor) -> torch.Tensor:
        self._rows = self._find_rows(states)
        if self._rows is None:  # every neuron is used
            self.active = False
            return dense(states)

        multiply = functools.partial(_multiply_first, matrix)
        base = functools.partial(multiply, start=0, stop=self.width)

        # Only tasks from before: as if the layer had never grown, unless an observer expects all neurons.
        if not any(rows is not None for rows in self._rows):
            before = super()._compute_first(name, matrix, base, states)
            if self.active or not self._is_observed():
                return before
            return functional.pad(before, (0, self.layer.width - self.width))

        self.active = False
        parts = [base(states)]
        for segment, rows in zip(self._segments, self._rows, strict=True):
            if rows is None:
                parts.append(states.new_zeros(*states.shape[:-1], segment.stop - segment.start))
            else:
                parts.append(multiply(states, start=segment.start, stop=segment.stop))
        return torch.cat([part.to(parts[0].dtype) for part in parts], dim=-1)  # (..., d_ff)

    def _compute_second(self, matrix: WeightMatrix, dense: Dense, states: torch.Tensor) -> torch.Tensor:
        if self._rows is None or self.active:
            return super()._compute_second(matrix, dense, states)

        # The neurons of before, in a tensor of their own: its layout is what it was.
        before = states[..., : self.width].contiguous()
        base = self._take_base(matrix)
        output = functional.linear(before, base.weight, base.bias)

        for segment, rows in zip(self._segments, self._rows, strict=True):
            if rows is not None:
                weight = matrix.weight[:, segment.start : segment.stop]
                added = functional.linear(states[..., segment.start : segment.stop], weight)
                # Chosen, not added as zeros: -0 + 0 would be +0.
                output = torch.where(_align(rows, output), output + added, output)
        return output

    def _find_rows(self, states: torch.Tensor) -> list[torch.Tensor | None] | None:
        """Return the rows that use each segment; None in place of the list if there are no masks."""
        tasks = self._find_tasks(self.layer, states)
        if tasks is None:
            return None

        # A task that all rows share is known without waiting for the device.
        single = self.task_source.single_task
        found: list[torch.Tensor | None] = []
        for segment in self._segments:
            rows = segment.used.to(tasks.device)[tasks]  # (batch,)
            anything = segment.used[single] if single is not None else rows.any()
            found.append(rows if bool(anything) else None)
        return found

    def _take_base(self, matrix: WeightMatrix) -> Gathered:
        """Return the second matrix of before; it is kept during generation, when no weight changes."""
        cached = self._gathered.get(_BASE)
        if cached is not None and self.task_source.generating:
            return cached

        base = Gathered(-1, matrix.weight[:, : self.width].contiguous(), matrix.bias)
        if self.task_source.generating and not torch.is_grad_enabled():
            self._gathered[_BASE] = base
        return base


def _multiply_first(matrix: WeightMatrix, states: torch.Tensor, *, start: int, stop: int) -> torch.Tensor:
    """Return the output (..., stop - start) of some neurons of a first matrix."""
    bias: Any = matrix.bias
    return functional.linear(states, matrix.weight[start:stop], None if bias is None else bias[start:stop])


def _align(rows: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """Return (batch,) booleans that broadcast with (batch, ..., features)."""
    return rows.to(states.device).reshape(-1, *[1] * (states.ndim - 1))
