"""The matrices that an FFN is made of: `nn.Linear`, and GPT-2's `Conv1D`, whose weight lies the other way round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, TypeGuard

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

Matrix: TypeAlias = nn.Linear  # or Conv1D, which has no types


def is_matrix(module: nn.Module) -> TypeGuard[Matrix]:
    """Return whether a module is one of the known kinds of weight matrix."""
    return isinstance(module, nn.Linear | Conv1D)


def is_plain(matrix: Matrix) -> bool:
    """Return whether a matrix computes with its weight as it is, so that rows and columns of it can be taken.

    Quantized ones do not: they are classes of their own (bitsandbytes), or hold tensors of their own (torchao). The
    classes that a model of transformers has of its own (Falcon's) multiply as `nn.Linear` does.
    """
    kind = type(matrix)
    known = kind in (nn.Linear, Conv1D) or kind.__module__.startswith("transformers.models.")
    return known and type(matrix.weight) in (nn.Parameter, torch.Tensor)


def features_in(matrix: Matrix) -> int:
    """Return the number of features that a matrix reads."""
    return int(matrix.weight.shape[0] if isinstance(matrix, Conv1D) else matrix.in_features)


def features_out(matrix: Matrix) -> int:
    """Return the number of features that a matrix writes."""
    return int(matrix.weight.shape[1] if isinstance(matrix, Conv1D) else matrix.out_features)


def turn(matrix: Matrix, weight: torch.Tensor) -> torch.Tensor:
    """Return a weight of this kind of matrix as (out, in), or (out, in) as its weight."""
    return weight.T if isinstance(matrix, Conv1D) else weight


def output_dimension(matrix: Matrix) -> int:
    """Return which dimension of a matrix' weight the features are in that it writes; the other is what it reads."""
    return 1 if isinstance(matrix, Conv1D) else 0


def take_outputs(matrix: Matrix, keep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return weight (kept, in) and bias (kept,) of some of the features that a matrix writes.

    Args:
        matrix: the matrix.
        keep: (kept,) numbers of features; gradients flow back to them.
    """
    return turn(matrix, matrix.weight).index_select(0, keep), None if matrix.bias is None else matrix.bias.index_select(
        0, keep
    )


def take_inputs(matrix: Matrix, keep: torch.Tensor) -> torch.Tensor:
    """Return the weight (out, kept) of some of the features that a matrix reads; the bias stays whole."""
    return turn(matrix, matrix.weight).index_select(1, keep)


@torch.no_grad()
def set_parameters(matrix: Matrix, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Give a matrix another weight (out, in) and bias (out,), of any size."""
    turned = turn(matrix, weight).detach().clone(memory_format=torch.contiguous_format)
    matrix.weight = nn.Parameter(turned, matrix.weight.requires_grad)
    if bias is not None:
        matrix.bias = nn.Parameter(bias.detach().clone(), matrix.bias is None or matrix.bias.requires_grad)
    names = ("nx", "nf") if isinstance(matrix, Conv1D) else ("out_features", "in_features")
    matrix.__dict__.update(zip(names, turned.shape, strict=True))


def reshape(matrix: Matrix, shape: Sequence[int]) -> None:
    """Give a matrix an empty weight of this shape, as its kind keeps it, and a bias that goes with it."""
    weight = turn(matrix, matrix.weight.new_empty(tuple(shape)))  # (out, in)
    set_parameters(matrix, weight, None if matrix.bias is None else matrix.bias.new_empty(len(weight)))
