"""The packed path: a batch of a single task is computed with smaller matrices that hold its neurons only."""

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


class TaskSource(Protocol):
    """Knows the tasks of the current batch."""

    @property
    def single_task(self) -> int | None:
        """Number of the task that all rows share; None if it is not known."""

    @property
    def generating(self) -> bool:
        """Whether a model generates: no weight changes between its many forward passes."""


# When `auto` packs, measured by benchmarks/masking.py. Gathering the neurons costs as much as computing a few tokens,
# so a batch must have enough tokens, and enough neurons must be off. On devices not measured, `auto` never packs.
_PACKING_DEVICES = ("cpu",)
_MIN_SPARSITY = 0.15  # share of neurons that are off
_MIN_TOKENS = 128  # in a batch, with padding
_WIDTH_MULTIPLE = 64  # matrices whose width is a multiple of this are multiplied faster


class Gathered(NamedTuple):
    """The smaller matrix of one task, or of those that a layer had before it grew."""

    task: int
    weight: torch.Tensor
    bias: torch.Tensor | None


class PackedLayer:
    """An FFN layer that can compute one task's neurons only.

    Args:
        layer: Layer to change in place.
        masks: (tasks, d_ff) boolean masks.
        packed: When to compute with smaller matrices.
        task_source: Source of the task that all rows share.

    Raises:
        NeuronspecError: If `packed` is not one of its three values.
    """

    def __init__(self, layer: FFNLayer, masks: torch.Tensor, packed: Packed, task_source: TaskSource) -> None:
        if packed not in get_args(Packed):
            raise NeuronspecError(f"packed must be auto, always or never, not {packed!r}")
        self.layer = layer
        self.width = masks.shape[1]  # of a layer that has grown, only the neurons before that
        self.packed = packed
        self.task_source = task_source
        self.active = False  # whether the current input of the second matrix is packed
        # For each task: the neurons to compute, and which of them its mask keeps
        self._kept = [_fill_up(row) for row in masks]
        self._gathered: dict[str, Gathered] = {}
        self._wrapped: dict[
            WeightMatrix, Dense | None
        ] = {}  # with the forward method that another library had set, if any

    def attach(self) -> None:
        """Replace the forward methods of the layer's matrices, which then pack if all rows have the same task."""
        for number, matrix in enumerate(self.layer.expansions):
            self._wrap(matrix, functools.partial(self._compute_first, f"first.{number}", matrix, matrix.forward))
        projection = self.layer.projection
        self._wrap(projection, functools.partial(self._compute_second, projection, projection.forward))

    def _wrap(self, matrix: WeightMatrix, forward: Dense) -> None:
        self._wrapped[matrix] = matrix.__dict__.get("forward")
        matrix.forward = forward  # type: ignore[assignment, method-assign]

    def detach(self) -> None:
        """Undo `attach`; under a forward method of another library, ours stays and does nothing."""
        for matrix, before in self._wrapped.items():
            # Ours, unless another library has wrapped it
            now = matrix.__dict__.get("forward")
            if isinstance(now, functools.partial) and getattr(now.func, "__self__", None) is self:
                del matrix.forward
                if before is not None:
                    matrix.forward = before  # type: ignore[assignment, method-assign]
        self._wrapped.clear()
        self.forget()

    def forget(self) -> None:
        """Clear the smaller matrices that were kept for generation."""
        self._gathered.clear()

    def _compute_first(self, name: str, matrix: WeightMatrix, dense: Dense, states: torch.Tensor) -> torch.Tensor:
        task = self.task_source.single_task
        # The second matrix follows this decision, since it reads what the smaller first one writes.
        self.active = task is not None and self._pays(task, states)
        if task is None or not self.active:
            return dense(states)

        smaller = self._gather(name, matrix, task)
        return functional.linear(states, smaller.weight, smaller.bias)

    def _compute_second(self, matrix: WeightMatrix, dense: Dense, states: torch.Tensor) -> torch.Tensor:
        task = self.task_source.single_task
        if task is None or not self.active:
            return dense(states)

        smaller = self._gather("second", matrix, task)
        return functional.linear(states, smaller.weight, smaller.bias)

    def _pays(self, task: int, states: torch.Tensor) -> bool:
        """Return whether to pack; the answer is the same for all first matrices, whose states have the same shape."""
        if not self._can_pack(states.device):
            return False
        if self.packed != "auto":
            return self.packed == "always"

        # A generation gathers once for many steps, so that few tokens in a step do not matter.
        enough = states.numel() // states.shape[-1] >= _MIN_TOKENS or self.task_source.generating
        sparsity = 1 - len(self._kept[task][0]) / self.width
        return states.device.type in _PACKING_DEVICES and enough and sparsity >= _MIN_SPARSITY

    def _can_pack(self, device: torch.device) -> bool:
        layer = self.layer
        attached = bool(self._wrapped)
        return attached and not self._is_observed() and layer.plain and layer.projection.weight.device == device

    def _is_observed(self) -> bool:
        """Return whether there is a hook other than that of the masks, which needs all neurons."""
        hooks = len(self.layer.projection._forward_pre_hooks)
        if self.layer.activation is not None:
            hooks += len(self.layer.activation._forward_hooks)
        return hooks > 1

    def _gather(self, name: str, matrix: WeightMatrix, task: int) -> Gathered:
        """Return a smaller matrix; it is kept during generation, since otherwise the weights can change at any time."""
        cached = self._gathered.get(name)
        if cached is not None and cached.task == task and self.task_source.generating:
            return cached

        keep, own = (tensor.to(matrix.weight.device) for tensor in self._kept[task])
        if name == "second":
            # Zero the neurons that only fill up the width: they give no output, and get no gradient.
            weight = take_inputs(matrix, keep) * own.to(matrix.weight.dtype)
            gathered = Gathered(task, weight, matrix.bias)
        else:
            parts = range(features_out(matrix) // self.layer.width)  # two if gate and other matrix are one
            outputs = torch.cat([keep + self.layer.width * part for part in parts])
            gathered = Gathered(task, *take_outputs(matrix, outputs))

        # With gradients, each pass gathers for itself: its gradients flow back through the gathering.
        if self.task_source.generating and not torch.is_grad_enabled():
            self._gathered[name] = gathered
        return gathered


def _fill_up(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the neurons of a mask, filled up with others to a multiple of 64, and a mask of those that are its own."""
    missing = -int(mask.sum()) % _WIDTH_MULTIPLE
    # Neurons that are off fill up the width; the mask that is returned takes them out again.
    others = (~mask).nonzero()[:missing, 0]
    keep = torch.cat([mask.nonzero()[:, 0], others]).sort().values  # (kept,)
    return keep, mask[keep]
