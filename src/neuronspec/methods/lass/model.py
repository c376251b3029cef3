"""Computing with masked weights: every row of a batch uses its own task's part of each matrix."""

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
from neuronspec.layer_names import STACKS
from neuronspec.methods.lass.masks import WEIGHT_MASKS_FILE, WeightMasks, unpack
from neuronspec.methods.layer_matrices import LayerMatrix, find_layer_matrices
from neuronspec.methods.parts import PartRouter
from neuronspec.models.matrices import WeightMatrix, turn
from neuronspec.neurons.layers import find_ffn_layers

Plain: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
_CACHED_TASKS = 4  # whose masked weights are kept while generating; each takes as much memory as the matrices


def mask_weights(model: PreTrainedModel, masks: WeightMasks) -> WeightRouter:
    """Make a model compute every row with the weights that its task keeps, in place; `unspecialize` undoes it.

    No parameter is added. The masks apply in validation, in `generate` and in training, where rows send no gradient to
    weights that their task prunes. As with `specialize`, the tasks are given with each batch.

    Returns:
        Router that applies the masks; `add_zero_shot` adds directions that were not trained.

    Raises:
        NeuronspecError: If the masks do not fit the model; the message names the first difference.
    """
    matrices = find_layer_matrices(model, masks.parts)
    shapes = {name: tuple(layer_matrix.matrix.weight.shape) for name, layer_matrix in matrices.items()}
    # A matrix that only one of the two has is a difference, too.
    for name in {**shapes, **masks.shapes}:
        if shapes.get(name) != masks.shapes.get(name):
            raise NeuronspecError(
                f"the weight masks belong to another model: {name} has the shape {masks.shapes.get(name, 'of nothing')}"
                f" there, {shapes.get(name, 'of nothing')} in this model"
            )
    return WeightRouter(model, masks, matrices)


def load_weight_masks(model: PreTrainedModel, directory: Path) -> WeightRouter:
    """Attach the weight masks next to a model, with all their tasks."""
    return mask_weights(model, WeightMasks.load(directory / WEIGHT_MASKS_FILE))


class WeightRouter(PartRouter):
    """Applies weight masks: it replaces the forward method of every masked matrix.

    Args:
        model: Model to change in place.
        masks: Masks that fit the model.
        matrices: Matrices to mask, by name.
    """

    def __init__(self, model: PreTrainedModel, masks: WeightMasks, matrices: Mapping[str, LayerMatrix]) -> None:
        layers = find_ffn_layers(model)
        numbers = range(len(masks.tasks))
        super().__init__(model, masks.tasks, dict.fromkeys(STACKS, numbers))
        self.masks, self.layers = masks, layers
        self._on_device: dict[tuple[str, torch.device], torch.Tensor] = {}  # packed bits, (tasks, bytes)
        self._cached: dict[str, dict[int, torch.Tensor]] = {}  # matrix -> task -> masked weight
        self._wrapped: list[tuple[WeightMatrix, Any]] = []

        # The matrices stay in place; only what they compute is replaced.
        for name, layer_matrix in matrices.items():
            matrix = layer_matrix.matrix
            self._wrapped.append((matrix, matrix.__dict__.get("forward")))
            forward = functools.partial(self._forward, name, layer_matrix, matrix.forward)
            matrix.forward = forward  # type: ignore[method-assign]

    def remove(self) -> None:
        """Restore the forward methods of the matrices; a method that another library has put on top stays."""
        super().remove()
        for matrix, before in self._wrapped:
            now = matrix.__dict__.get("forward")  # ours, unless another library has wrapped it
            # Below a forward of another library ours must stay; it then computes what the matrix does.
            if isinstance(now, functools.partial) and getattr(now.func, "__self__", None) is self:
                del matrix.forward
                if before is not None:
                    matrix.forward = before  # type: ignore[method-assign]
        self._wrapped.clear()
        self.end_generation()

    def end_generation(self) -> None:
        """Clear the masked weights that were kept for generation: from now on the weights can change."""
        self._cached.clear()

    def _forward(self, name: str, layer_matrix: LayerMatrix, plain: Plain, states: torch.Tensor) -> torch.Tensor:
        """Return a matrix' output for (batch, seq, features), computed row by row with the weights of its task."""
        if not self._wrapped:  # removed, but a forward of another library still calls this one
            return plain(states)
        if states.ndim != 3:
            raise NeuronspecError(f"{name} gets {tuple(states.shape)}: masks need vectors as (batch, seq, features)")

        rows_first = states.transpose(0, 1) if layer_matrix.time_first else states  # (batch, seq, features)
        compute = functools.partial(self._compute_rows, name, layer_matrix.matrix)
        output = self.route(rows_first, layer_matrix.stack, compute)
        if output is None:
            return plain(states)
        # Contiguous, because FSMT takes a view of it.
        return output.transpose(0, 1).contiguous() if layer_matrix.time_first else output

    def _compute_rows(self, name: str, matrix: WeightMatrix, task: int, states: torch.Tensor) -> torch.Tensor:
        """Return the output of a matrix for the rows of one task."""
        # A custom function is not cast by autocast, so that its types are chosen here.
        device = states.device
        autocast = torch.is_autocast_enabled(device.type) and states.dtype != torch.float64
        dtype = torch.get_autocast_dtype(device.type) if autocast else states.dtype

        # The bits are moved to each device once.
        if (name, device) not in self._on_device:
            self._on_device[name, device] = self.masks.bits[name].to(device)
        bits = self._on_device[name, device][task]

        bias = None if matrix.bias is None else matrix.bias.to(dtype)

        # The weights can change at any time, except while a model generates: then each task's are kept.
        if not self.generating or torch.is_grad_enabled():
            turned = isinstance(matrix, Conv1D)
            return _MaskedLinear.apply(states.to(dtype), matrix.weight, bias, bits, turned)  # type: ignore[no-any-return, no-untyped-call]

        # The first few tasks of a generation are kept; others are masked again at every step.
        cached = self._cached.setdefault(name, {})
        if (weight := cached.get(task)) is None:
            weight = (matrix.weight * unpack(bits, matrix.weight.shape)).to(dtype)
            if len(cached) < _CACHED_TASKS:
                cached[task] = weight
        return functional.linear(states.to(dtype), turn(matrix, weight), bias)


class _MaskedLinear(torch.autograd.Function):
    """A linear layer with a masked weight, which is computed again for the gradient instead of kept in memory."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, weight: torch.Tensor, bias: Any, bits: Any, turned: bool) -> Any:
        # The bits are saved, not the masked weight: each task has one as large as the matrix.
        ctx.save_for_backward(states, weight, bits)
        ctx.turned = turned
        masked = (weight * unpack(bits, weight.shape)).to(states.dtype)
        return functional.linear(states, masked.T if turned else masked, bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        states, weight, bits = ctx.saved_tensors
        mask = unpack(bits, weight.shape)
        outputs, inputs = gradient.flatten(0, -2), states.flatten(0, -2)  # (tokens, out), (tokens, in)

        states_gradient = weight_gradient = bias_gradient = None
        if ctx.needs_input_grad[0]:
            masked = (weight * mask).to(states.dtype)
            # The states get no gradient through pruned weights ...
            states_gradient = gradient @ (masked.T if ctx.turned else masked)
        if ctx.needs_input_grad[1]:
            # ... and pruned weights get no gradient from these states; Conv1D keeps (in, out).
            product = inputs.T @ outputs if ctx.turned else outputs.T @ inputs
            weight_gradient = product.to(weight.dtype) * mask
        if ctx.needs_input_grad[2]:
            bias_gradient = outputs.sum(0)  # (out,)
        return states_gradient, weight_gradient, bias_gradient, None, None
