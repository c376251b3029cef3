"""Masks of single weights, one bit each: every task computes with its own part of each matrix (LaSS)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

import neuronspec
from neuronspec.artifacts.container import Container
from neuronspec.artifacts.headers import Header, UniqueNames, worded
from neuronspec.errors import NeuronspecError
from neuronspec.models.matrices import WeightMatrix, is_matrix
from neuronspec.models.peft_wrapping import refuse_wrapped
from neuronspec.neurons.layers import find_ffn_layers

WEIGHT_MASKS_FILE = "weight_masks.safetensors"
Part = Literal["attention", "ffn"]
PARTS: tuple[Part, ...] = get_args(Part)


def _are_matrices(shapes: dict[str, list[int]]) -> bool:
    return all(len(shape) == 2 and min(shape) > 0 for shape in shapes.values())


def _are_known(parts: list[str]) -> bool:
    return bool(parts) and all(part in PARTS for part in parts)


class WeightMaskHeader(Header):
    """Header of a file of weight masks."""

    kind: str = "weight masks"
    """Constant that names the kind of file."""
    tasks: UniqueNames
    """Names of the tasks, in the order of the rows."""
    shapes: Annotated[dict[str, list[int]], worded("are not two sizes for each matrix", _are_matrices)]
    """Shape of each weight matrix."""
    pruned: Annotated[int | float, worded("is not a share from 0 to 1", lambda share: 0 <= share <= 1)]
    """Share of the weights that were pruned."""
    parts: Annotated[list[Any], worded(f"are not some of {', '.join(PARTS)}", _are_known)]
    """Parts of the model whose weights were pruned."""
    version: str = "0"
    """Version of neuronspec that wrote the file."""


WEIGHT_MASKS: Final = Container(
    file=WEIGHT_MASKS_FILE,
    holds="weight masks",
    header=WeightMaskHeader,
    remedy="find the masks again",
    ascii=False,
)


class Place(NamedTuple):
    """A matrix that can be masked: its module, its stack, and whether its vectors come as (seq, batch, features)."""

    matrix: WeightMatrix
    stack: str
    time_first: bool


def find_matrices(model: PreTrainedModel, parts: Sequence[Part] = PARTS) -> dict[str, Place]:
    """Return the weight matrices of a model's layers by name; embeddings and the output layer are not among them.

    Raises:
        NeuronspecError: the model has experts, or a matrix that is not computed as its module says.
    """
    refuse_wrapped(model, "cannot mask or add to the weights of")
    layers = find_ffn_layers(model)
    of_ffn = {matrix for layer in layers for matrix in (*layer.expansions, layer.projection)}
    names = {module: name for name, module in model.base_model.named_modules()}
    found = {}
    for layer in layers:
        if layer.experts is not None:
            raise NeuronspecError(f"{layer.name} has experts, whose rows have no task: masks need a model without them")
        for module in filter(is_matrix, layer.block.modules()):
            if type(module) not in (nn.Linear, Conv1D):  # quantised; or read by its parent, which would see no mask
                raise NeuronspecError(f"{names[module]} is a {type(module).__name__}: only plain matrices are masked")
            if ("ffn" if module in of_ffn else "attention") in parts:
                found[names[module]] = Place(module, layer.stack, layer.time_first)
    return found


def keep_largest(weight: torch.Tensor, pruned: float) -> torch.Tensor:
    """Return which entries of a matrix stay when the share `pruned` of the smallest magnitudes goes.

    The threshold is the k-th smallest magnitude, k = int(pruned * entries); what equals it goes too.

    Args:
        weight: any shape.
        pruned: from 0, which keeps everything, to 1, which keeps nothing.

    Returns:
        Boolean, of the weight's shape.

    Example:
        >>> keep_largest(torch.tensor([[0.5, -3.0], [2.0, 0.1]]), 0.5).tolist()
        [[False, True], [True, False]]
    """
    magnitudes = weight.detach().abs()
    k = int(pruned * magnitudes.numel())
    return magnitudes > magnitudes.flatten().kthvalue(k).values if k else torch.ones_like(magnitudes, dtype=torch.bool)


@dataclass(frozen=True)
class WeightMasks:
    """Which weights of each matrix each task keeps.

    Args:
        tasks: their names.
        shapes: matrix -> the shape of its weight, as it lies in its module.
        bits: matrix -> (tasks, ceil(entries / 8)) uint8, the first entry in the highest bit.
        pruned: the share that was pruned.
        parts: which matrices there are.
    """

    tasks: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    bits: Mapping[str, torch.Tensor]
    pruned: float
    parts: tuple[Part, ...] = PARTS

    @classmethod
    def from_model(cls, model: PreTrainedModel, task: str, pruned: float, parts: Sequence[Part] = PARTS) -> WeightMasks:
        """Keep, for one task, the largest weights of each matrix of a model that was fine-tuned on it."""
        weights = {name: place.matrix.weight for name, place in find_matrices(model, parts).items()}
        kept = {name: keep_largest(weight, pruned).cpu().numpy() for name, weight in weights.items()}
        bits = {name: torch.from_numpy(np.packbits(mask))[None] for name, mask in kept.items()}
        return cls((task,), {name: mask.shape for name, mask in kept.items()}, bits, pruned, tuple(parts))

    @classmethod
    def concatenate(cls, masks: Sequence[WeightMasks]) -> WeightMasks:
        """Return the masks of all tasks of masks of one kind."""
        first = masks[0]
        assert all(replace(other, tasks=(), bits={}) == replace(first, tasks=(), bits={}) for other in masks)
        bits = {name: torch.cat([other.bits[name] for other in masks]) for name in first.bits}
        return replace(first, tasks=tuple(task for other in masks for task in other.tasks), bits=bits)

    def mask(self, task: str, matrix: str) -> torch.Tensor:
        """Return the boolean mask of a matrix, of its weight's shape."""
        return unpack(self.bits[matrix][self.tasks.index(task)], self.shapes[matrix]).bool()

    def reorder(self, tasks: Sequence[str]) -> WeightMasks:
        """Return the masks of these tasks, in this order.

        Raises:
            NeuronspecError: there are none for one of them.
        """
        if missing := [task for task in tasks if task not in self.tasks]:
            raise NeuronspecError(f"no weight masks for the task {missing[0]!r}; there are: {', '.join(self.tasks)}")
        if tuple(tasks) == self.tasks:
            return self
        rows = torch.tensor([self.tasks.index(task) for task in tasks])
        return replace(self, tasks=tuple(tasks), bits={name: bits[rows] for name, bits in self.bits.items()})

    def save(self, path: Path) -> None:
        """Publish the masks as one safetensors file, one bit a weight."""
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        header = WeightMaskHeader.model_construct(
            tasks=list(self.tasks),
            shapes=shapes,
            pruned=self.pruned,
            parts=list(self.parts),
            version=neuronspec.__version__,
        )
        WEIGHT_MASKS.save(path, self.bits, header)

    @classmethod
    def load(cls, path: Path) -> WeightMasks:
        """Read a file that `save` wrote.

        Raises:
            NeuronspecError: it is missing, damaged, or of another kind.
        """
        bits, header = WEIGHT_MASKS.load(path)
        if problem := _find_problem(bits, header):
            raise WEIGHT_MASKS.damaged(path, problem)
        shapes = {name: tuple(shape) for name, shape in header.shapes.items()}
        return cls(tuple(header.tasks), shapes, bits, header.pruned, tuple(header.parts))


def unpack(bits: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return packed bits as zeros and ones: uint8, by which weights are multiplied faster than by booleans."""
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=bits.device)
    return (bits[:, None].bitwise_right_shift(shifts) & 1).flatten()[: math.prod(shape)].view(tuple(shape))


def _find_problem(bits: Mapping[str, torch.Tensor], header: WeightMaskHeader) -> str | None:
    """Return how the tensors of a file differ from what its header says."""
    if header.shapes.keys() != bits.keys():
        return "its header names other matrices than it has tensors for"

    for name, shape in header.shapes.items():
        packed = bits[name]
        expected = (len(header.tasks), -(-math.prod(shape) // 8))
        if packed.dtype != torch.uint8 or tuple(packed.shape) != expected:
            return f"the bits of {name} are {packed.dtype} of shape {tuple(packed.shape)}, not those of {shape}"
    return None
