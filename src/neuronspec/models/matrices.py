"""The matrices of an FFN: `nn.Linear`, GPT-2's `Conv1D`, whose weight is transposed, and slices of stacked experts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeGuard

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from neuronspec.models.stacked_experts import StackedMatrix, as_stacked

WeightMatrix: TypeAlias = nn.Linear  # or Conv1D, which has no types, or an expert's StackedMatrix


def is_matrix(module: nn.Module) -> TypeGuard[WeightMatrix]:
    """Return whether a module is one of the known kinds of weight matrix."""
    return isinstance(module, nn.Linear | Conv1D)


def is_plain(matrix: WeightMatrix) -> bool:
    """Return whether a matrix computes with its weight unchanged, so that rows and columns of it can be taken.

    Quantized matrices do not: they have classes of their own (bitsandbytes) or tensors of their own (torchao). Classes
    that a model of transformers defines itself (Falcon's) multiply like `nn.Linear`.
    """
    kind = type(matrix)
    known = kind in (nn.Linear, Conv1D, StackedMatrix) or kind.__module__.startswith("transformers.models.")
    return known and type(matrix.weight) in (nn.Parameter, torch.Tensor)


def features_in(matrix: WeightMatrix) -> int:
    """Return the number of features that a matrix reads."""
    return int(matrix.weight.shape[0] if isinstance(matrix, Conv1D) else matrix.in_features)


def features_out(matrix: WeightMatrix) -> int:
    """Return the number of features that a matrix writes."""
    return int(matrix.weight.shape[1] if isinstance(matrix, Conv1D) else matrix.out_features)


def turn(matrix: WeightMatrix, weight: torch.Tensor) -> torch.Tensor:
    """Return the weight of a matrix as (out, in); or the other way round, a weight (out, in) as the matrix keeps it."""
    return weight.T if isinstance(matrix, Conv1D) else weight


def output_dimension(matrix: WeightMatrix) -> int:
    """Return the dimension of a matrix' weight with the features that it writes; the other one has those it reads."""
    return 1 if isinstance(matrix, Conv1D) else 0


def take_outputs(matrix: WeightMatrix, keep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the weight (kept, in) and the bias (kept,) of some of the features that a matrix writes.

    Args:
        matrix: Matrix with these features.
        keep: (kept,) indices of features; gradients flow back to them.
    """
    weight = turn(matrix, matrix.weight).index_select(0, keep)  # (kept, in)
    bias = None if matrix.bias is None else matrix.bias.index_select(0, keep)  # (kept,)
    return weight, bias


def take_inputs(matrix: WeightMatrix, keep: torch.Tensor) -> torch.Tensor:
    """Return the weight (out, kept) of some of the features that a matrix reads; the bias stays whole."""
    return turn(matrix, matrix.weight).index_select(1, keep)  # (out, kept)


def locate_weight(matrix: WeightMatrix) -> tuple[nn.Parameter, int | None]:
    """Return the parameter that holds the weight of a matrix, and the number of its slice if experts share it."""
    stacked = as_stacked(matrix)
    if stacked is not None:
        return stacked.parameter, stacked.number
    weight: Any = matrix.weight
    return weight, None


@torch.no_grad()
def set_parameters(matrix: WeightMatrix, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Give a matrix another weight (out, in) and another bias (out,), of any size."""
    # In the memory layout of the matrix' own kind, and with its own need for gradients.
    turned = turn(matrix, weight).detach().clone(memory_format=torch.contiguous_format)
    matrix.weight = nn.Parameter(turned, matrix.weight.requires_grad)
    if bias is not None:
        matrix.bias = nn.Parameter(bias.detach().clone(), matrix.bias is None or matrix.bias.requires_grad)

    # The attributes that name the sizes of the weight.
    names = ("nx", "nf") if isinstance(matrix, Conv1D) else ("out_features", "in_features")
    matrix.__dict__.update(zip(names, turned.shape, strict=True))


@torch.no_grad()
def set_stacked(slices: Sequence[tuple[StackedMatrix, torch.Tensor]]) -> None:
    """Give the matrices of all experts of a layer other weights (out, in), which must have one shape.

    Args:
        slices: Each matrix in one parameter, with its new weight.
    """
    (first, _), parameter = slices[0], slices[0][0].parameter
    ordered = sorted(slices, key=lambda part: part[0].number)
    stacked = torch.stack([weight.detach() for _, weight in ordered])  # (experts, out, in)
    setattr(first.experts, first.name, nn.Parameter(stacked, parameter.requires_grad))


def reshape(matrix: WeightMatrix, shape: Sequence[int]) -> None:
    """Give a matrix an uninitialized weight of a shape, as its kind keeps it, and a bias of matching size."""
    weight = turn(matrix, matrix.weight.new_empty(tuple(shape)))  # (out, in)
    set_parameters(matrix, weight, None if matrix.bias is None else matrix.bias.new_empty(len(weight)))
