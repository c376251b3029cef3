"""Masks of single weights, one bit each: every task computes with its own part of each matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
from transformers import PreTrainedModel

from neuronspec.artifacts.container import Container
from neuronspec.artifacts.headers import Header, UniqueNames, worded
from neuronspec.errors import NeuronspecError
from neuronspec.methods.layer_matrices import SUBLAYERS, Sublayer, find_layer_matrices
from neuronspec.version import __version__

WEIGHT_MASKS_FILE = "weight_masks.safetensors"


def _are_matrices(shapes: dict[str, list[int]]) -> bool:
    return all(len(shape) == 2 and min(shape) > 0 for shape in shapes.values())


def _are_known(parts: list[str]) -> bool:
    return bool(parts) and all(part in SUBLAYERS for part in parts)


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
    parts: Annotated[list[Any], worded(f"are not some of {', '.join(SUBLAYERS)}", _are_known)]
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


def keep_largest(weight: torch.Tensor, pruned: float) -> torch.Tensor:
    """Return which entries of a matrix remain when the share `pruned` with the smallest magnitudes is removed.

    The threshold is the k-th smallest magnitude, k = int(pruned * entries); entries equal to it are removed too.

    Args:
        weight: Weight of any shape.
        pruned: Share from 0, which keeps everything, to 1, which keeps nothing.

    Returns:
        Boolean mask of the weight's shape.

    Example:
        >>> keep_largest(torch.tensor([[0.5, -3.0], [2.0, 0.1]]), 0.5).tolist()
        [[False, True], [True, False]]
    """
    magnitudes = weight.detach().abs()
    k = int(pruned * magnitudes.numel())
    # `kthvalue` counts from 1, so that for k = 0 there is no threshold.
    if k == 0:
        return torch.ones_like(magnitudes, dtype=torch.bool)

    threshold = magnitudes.flatten().kthvalue(k).values
    return magnitudes > threshold


@dataclass(frozen=True)
class WeightMasks:
    """Masks of the weights of each matrix, for several tasks.

    Args:
        tasks: Names of the tasks.
        shapes: For each matrix, the shape of its weight in its module.
        bits: For each matrix, (tasks, ceil(entries / 8)) uint8, with the first entry in the highest bit.
        pruned: Share of each matrix that was pruned.
        parts: Sublayers whose matrices are masked.
    """

    tasks: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    bits: Mapping[str, torch.Tensor]
    pruned: float
    parts: tuple[Sublayer, ...] = SUBLAYERS

    @classmethod
    def from_model(
        cls, model: PreTrainedModel, task: str, pruned: float, parts: Sequence[Sublayer] = SUBLAYERS
    ) -> WeightMasks:
        """Return the masks of one task: the largest weights of each matrix of a model that was fine-tuned on it."""
        shapes, bits = {}, {}
        for name, layer_matrix in find_layer_matrices(model, parts).items():
            mask = keep_largest(layer_matrix.matrix.weight, pruned).cpu().numpy()
            shapes[name] = mask.shape
            bits[name] = torch.from_numpy(np.packbits(mask))[None]  # (1, ceil(entries / 8))
        return cls(tasks=(task,), shapes=shapes, bits=bits, pruned=pruned, parts=tuple(parts))

    @classmethod
    def concatenate(cls, masks: Sequence[WeightMasks]) -> WeightMasks:
        """Return the masks of all tasks in several masks, which must have the same shapes and settings."""
        first = masks[0]
        # Apart from tasks and bits, everything must be the same.
        common = replace(first, tasks=(), bits={})
        assert all(replace(other, tasks=(), bits={}) == common for other in masks)

        tasks = tuple(task for other in masks for task in other.tasks)
        bits = {name: torch.cat([other.bits[name] for other in masks]) for name in first.bits}
        return replace(first, tasks=tasks, bits=bits)

    def mask(self, task: str, matrix: str) -> torch.Tensor:
        """Return the boolean mask of a matrix, in the shape of its weight."""
        return unpack(self.bits[matrix][self.tasks.index(task)], self.shapes[matrix]).bool()

    def reorder(self, tasks: Sequence[str]) -> WeightMasks:
        """Return the masks of these tasks, in this order.

        Raises:
            NeuronspecError: If there are no masks for one of them.
        """
        if missing := [task for task in tasks if task not in self.tasks]:
            raise NeuronspecError(f"no weight masks for the task {missing[0]!r}; there are: {', '.join(self.tasks)}")
        if tuple(tasks) == self.tasks:
            return self

        rows = torch.tensor([self.tasks.index(task) for task in tasks])
        return replace(self, tasks=tuple(tasks), bits={name: bits[rows] for name, bits in self.bits.items()})

    def save(self, path: Path) -> None:
        """Publish the masks as one safetensors file, with one bit for each weight."""
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        header = WeightMaskHeader.model_construct(
            tasks=list(self.tasks),
            shapes=shapes,
            pruned=self.pruned,
            parts=list(self.parts),
            version=__version__,
        )
        WEIGHT_MASKS.save(path, self.bits, header)

    @classmethod
    def load(cls, path: Path) -> WeightMasks:
        """Read a file that `save` wrote.

        Raises:
            NeuronspecError: If the file is missing, damaged, or of another kind.
        """
        bits, header = WEIGHT_MASKS.load(path)
        if problem := _find_mask_damage(bits, header):
            raise WEIGHT_MASKS.damaged(path, problem)

        # JSON has lists only.
        shapes = {name: tuple(shape) for name, shape in header.shapes.items()}
        return cls(
            tasks=tuple(header.tasks),
            shapes=shapes,
            bits=bits,
            pruned=header.pruned,
            parts=tuple(header.parts),
        )


def unpack(bits: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return packed bits as zeros and ones in uint8: multiplying weights by them is faster than by booleans."""
    # The highest bit comes first, as in `np.packbits`; zeros that fill up the last byte are cut off.
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=bits.device)  # (8,)
    return (bits[:, None].bitwise_right_shift(shifts) & 1).flatten()[: math.prod(shape)].view(tuple(shape))


def _find_mask_damage(bits: Mapping[str, torch.Tensor], header: WeightMaskHeader) -> str | None:
    """Return how the tensors of a file differ from what its header says."""
    if header.shapes.keys() != bits.keys():
        return "its header names other matrices than it has tensors for"

    for name, shape in header.shapes.items():
        packed = bits[name]
        # A row for each task, in whole bytes
        expected = (len(header.tasks), -(-math.prod(shape) // 8))
        if packed.dtype != torch.uint8 or tuple(packed.shape) != expected:
            return f"the bits of {name} are {packed.dtype} of shape {tuple(packed.shape)}, not those of {shape}"
    return None
