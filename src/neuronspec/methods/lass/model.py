"""Computing with masked weights: every row of a batch with its own task's part of each matrix."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from neuronspec.errors import NeuronspecError
from neuronspec.methods.lass.masks import WEIGHT_MASKS_FILE, Place, WeightMasks, find_matrices, unpack
from neuronspec.methods.parts import PartRouter
from neuronspec.models.matrices import WeightMatrix, turn
from neuronspec.neurons.layers import find_ffn_layers

Plain: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
_CACHED = 4  # tasks whose masked weights are kept while generating: each takes as much memory as the matrices


def mask_weights(model: PreTrainedModel, masks: WeightMasks) -> WeightRouter:
    """Make a model compute every row with the weights that its task keeps, in place; `unspecialize` undoes it.

    No parameter is added. The masks hold in training, where no gradient reaches a weight from rows whose task prunes
    it, in validation and in `generate`. As with `specialize`, tasks are given with each batch.

    Returns:
        What applies the masks; `add_zero_shot` lets rows have directions that were not trained.

    Raises:
        NeuronspecError: the masks do not fit the model; the first difference is named.
    """
    places = find_matrices(model, masks.parts)
    shapes = {name: tuple(place.matrix.weight.shape) for name, place in places.items()}
    for name in {**shapes, **masks.shapes}:
        if shapes.get(name) != masks.shapes.get(name):
            raise NeuronspecError(
                f"the weight masks belong to another model: {name} has the shape {masks.shapes.get(name, 'of nothing')}"
                f" there, {shapes.get(name, 'of nothing')} in this model"
            )
    return WeightRouter(model, masks, places)


def load_weight_masks(model: PreTrainedModel, directory: Path) -> WeightRouter:
    """Attach the masks that lie beside a model, with all the tasks that they have."""
    return mask_weights(model, WeightMasks.load(directory / WEIGHT_MASKS_FILE))


class WeightRouter(PartRouter):
    """The masks of a model's weights, and the matrices that compute with them: one forward of theirs is replaced."""

    def __init__(self, model: PreTrainedModel, masks: WeightMasks, places: Mapping[str, Place]) -> None:
        layers = find_ffn_layers(model)
        numbers = range(len(masks.tasks))
        super().__init__(model, masks.tasks, {"encoder": numbers, "decoder": numbers})
        self.masks, self.layers = masks, layers
        self._on_device: dict[tuple[str, torch.device], torch.Tensor] = {}
        self._cached: dict[str, dict[int, torch.Tensor]] = {}
        self._wrapped: list[tuple[WeightMatrix, Any]] = []
        for name, place in places.items():
            self._wrapped.append((place.matrix, place.matrix.__dict__.get("forward")))
            forward = functools.partial(self._forward, name, place, place.matrix.forward)
            place.matrix.forward = forward  # type: ignore[method-assign]

    def remove(self) -> None:
        """Give the matrices their own forward back; one that another library has put on top stays."""
        super().remove()
        for matrix, before in self._wrapped:
            now = matrix.__dict__.get("forward")
            if isinstance(now, functools.partial) and getattr(now.func, "__self__", None) is self:
                del matrix.forward
                if before is not None:
                    matrix.forward = before  # type: ignore[method-assign]
        self._wrapped.clear()
        self.end_generation()

    def end_generation(self) -> None:
        """Let the masked weights go: from now on the weights may change."""
        self._cached.clear()

    def _forward(self, name: str, place: Place, plain: Plain, states: torch.Tensor) -> torch.Tensor:
        """Compute what a matrix makes of (batch, seq, features), each row with its task's weights."""
        if not self._wrapped:  # removed, but a forward of another library still calls this one
            return plain(states)
        if states.ndim != 3:
            raise NeuronspecError(f"{name} gets {tuple(states.shape)}: masks need vectors as (batch, seq, features)")
        rows_first = states.transpose(0, 1) if place.time_first else states
        compute = functools.partial(self._linear, name, place.matrix)
        output = self.route(rows_first, place.stack, compute)
        if output is None:
            return plain(states)
        return output.transpose(0, 1).contiguous() if place.time_first else output  # FSMT views it otherwise

    def _linear(self, name: str, matrix: WeightMatrix, task: int, states: torch.Tensor) -> torch.Tensor:
        """Compute one task's rows."""
        device = states.device
        autocast = torch.is_autocast_enabled(device.type) and states.dtype != torch.float64
        dtype = torch.get_autocast_dtype(device.type) if autocast else states.dtype
        if (name, device) not in self._on_device:
            self._on_device[name, device] = self.masks.bits[name].to(device)
        bits = self._on_device[name, device][task]
        bias = None if matrix.bias is None else matrix.bias.to(dtype)
        if not self.generating or torch.is_grad_enabled():
            turned = isinstance(matrix, Conv1D)
            return _MaskedLinear.apply(states.to(dtype), matrix.weight, bias, bits, turned)  # type: ignore[no-any-return, no-untyped-call]
        cached = self._cached.setdefault(name, {})
        if (weight := cached.get(task)) is None:
            weight = (matrix.weight * unpack(bits, matrix.weight.shape)).to(dtype)
            if len(cached) < _CACHED:
                cached[task] = weight
        return functional.linear(states.to(dtype), turn(matrix, weight), bias)


class _MaskedLinear(torch.autograd.Function):
    """A matrix with a masked weight, which is made once more for the gradient: kept, each task's would take memory."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, weight: torch.Tensor, bias: Any, bits: Any, turned: bool) -> Any:
        ctx.save_for_backward(states, weight, bits)
        ctx.turned = turned
        masked = (weight * unpack(bits, weight.shape)).to(states.dtype)
        return functional.linear(states, masked.T if turned else masked, bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        states, weight, bits = ctx.saved_tensors
        kept = unpack(bits, weight.shape)
        of_states = of_weight = of_bias = None
        outputs, inputs = gradient.flatten(0, -2), states.flatten(0, -2)  # (tokens, out), (tokens, in)
        if ctx.needs_input_grad[0]:
            masked = (weight * kept).to(states.dtype)
            of_states = gradient @ (masked.T if ctx.turned else masked)
        if ctx.needs_input_grad[1]:
            product = inputs.T @ outputs if ctx.turned else outputs.T @ inputs
            of_weight = product.to(weight.dtype) * kept
        if ctx.needs_input_grad[2]:
            of_bias = outputs.sum(0)
        return of_states, of_weight, of_bias, None, None
