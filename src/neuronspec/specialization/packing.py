"""The packed path: a batch of one task is computed with smaller matrices, which hold that task's neurons only."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, TypeAlias, get_args

import torch
from torch.nn import functional

from neuronspec.errors import NeuronspecError
from neuronspec.models.matrices import WeightMatrix, features_out, take_inputs, take_outputs
from neuronspec.neurons.layers import FFNLayer

Packed = Literal["auto", "always", "never"]
Dense: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


class Rows(Protocol):
    """Knows the tasks of the rows that are computed."""

    @property
    def one_task(self) -> int | None:
        """The number of the task that all rows share, where it is known."""

    @property
    def generating(self) -> bool:
        """Whether a model generates: many forwards follow each other, and no weight changes between them."""


# Where `auto` packs: measured by benchmarks/masking.py. Gathering the neurons costs as much as a few tokens do, so a
# batch must have enough of them, and enough neurons must be off. On other devices nothing was measured: never.
_DEVICES = ("cpu",)
_LEAST_SPARSITY = 0.15
_LEAST_TOKENS = 128
_MULTIPLE = 64  # of neurons: widths that are one are multiplied faster


class _Gathered(NamedTuple):
    """The smaller matrix of one task."""

    task: int
    weight: torch.Tensor
    bias: torch.Tensor | None


class PackedLayer:
    """An FFN layer that can compute one task's neurons only.

    Args:
        layer: the layer.
        masks: (tasks, d_ff) boolean.
        packed: when to do so.
        rows: says which task all rows have.

    Raises:
        NeuronspecError: `packed` is none of the three.
    """

    def __init__(self, layer: FFNLayer, masks: torch.Tensor, packed: Packed, rows: Rows) -> None:
        if packed not in get_args(Packed):
            raise NeuronspecError(f"packed must be auto, always or never, not {packed!r}")
        self.layer = layer
        self.packed = packed
        self.rows = rows
        self.active = False  # whether the vectors that now enter the second matrix are packed
        self._kept = [_fill_up(row) for row in masks]
        self._gathered: dict[str, _Gathered] = {}
        self._wrapped: dict[WeightMatrix, Dense | None] = {}  # -> the forward that another library had put there

    def attach(self) -> None:
        """Let the matrices of the layer compute with fewer neurons where all rows are known to have one task."""
        for number, matrix in enumerate(self.layer.expansions):
            self._wrap(matrix, functools.partial(self._first, f"first.{number}", matrix, matrix.forward))
        projection = self.layer.projection
        self._wrap(projection, functools.partial(self._second, projection, projection.forward))

    def _wrap(self, matrix: WeightMatrix, forward: Dense) -> None:
        self._wrapped[matrix] = matrix.__dict__.get("forward")
        matrix.forward = forward  # type: ignore[assignment, method-assign]

    def detach(self) -> None:
        """Undo `attach`; where another library has put a forward on top, ours stays below it and does nothing."""
        for matrix, before in self._wrapped.items():
            now = matrix.__dict__.get("forward")
            if isinstance(now, functools.partial) and getattr(now.func, "__self__", None) is self:
                del matrix.forward
                if before is not None:
                    matrix.forward = before  # type: ignore[assignment, method-assign]
        self._wrapped.clear()
        self.forget()

    def forget(self) -> None:
        """Let the smaller matrices go that were kept while generating."""
        self._gathered.clear()

    def _first(self, name: str, matrix: WeightMatrix, dense: Dense, states: torch.Tensor) -> torch.Tensor:
        task = self.rows.one_task
        self.active = task is not None and self._pays(task, states)
        if task is None or not self.active:
            return dense(states)
        smaller = self._gather(name, matrix, task)
        return functional.linear(states, smaller.weight, smaller.bias)

    def _second(self, matrix: WeightMatrix, dense: Dense, states: torch.Tensor) -> torch.Tensor:
        task = self.rows.one_task
        if task is None or not self.active:
            return dense(states)
        smaller = self._gather("second", matrix, task)
        return functional.linear(states, smaller.weight, smaller.bias)

    def _pays(self, task: int, states: torch.Tensor) -> bool:
        """Return whether to pack; all first matrices of the layer see states of one shape, so that all say the same."""
        hooks = len(self.layer.projection._forward_pre_hooks)
        hooks += len(self.layer.activation._forward_hooks) if self.layer.activation is not None else 0
        watched = hooks > 1  # someone beside the masks wants to see all neurons
        if watched or not self._wrapped or not self.layer.plain or self.layer.projection.weight.device != states.device:
            return False
        if self.packed != "auto":
            return self.packed == "always"
        enough = states.numel() // states.shape[-1] >= _LEAST_TOKENS or self.rows.generating
        sparsity = 1 - len(self._kept[task][0]) / self.layer.width
        return states.device.type in _DEVICES and enough and sparsity >= _LEAST_SPARSITY

    def _gather(self, name: str, matrix: WeightMatrix, task: int) -> _Gathered:
        """Return a smaller matrix, which is kept while generating: else the weights may change any time."""
        kept = self._gathered.get(name)
        if kept is not None and kept.task == task and self.rows.generating:
            return kept
        keep, on = (tensor.to(matrix.weight.device) for tensor in self._kept[task])
        if name == "second":  # what fills up the width goes no further, nor does a gradient come back to it
            made = _Gathered(task, take_inputs(matrix, keep) * on.to(matrix.weight.dtype), matrix.bias)
        else:
            parts = range(features_out(matrix) // self.layer.width)  # two where gate and other matrix are one
            every = torch.cat([keep + self.layer.width * part for part in parts])
            made = _Gathered(task, *take_outputs(matrix, every))
        if self.rows.generating and not torch.is_grad_enabled():
            self._gathered[name] = made
        return made


def _fill_up(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the neurons of a mask, filled up with others to a multiple of 64, and which of them are its own."""
    missing = -int(mask.sum()) % _MULTIPLE
    others = (~mask).nonzero()[:missing, 0]
    keep = torch.cat([mask.nonzero()[:, 0], others]).sort().values
    return keep, mask[keep]
