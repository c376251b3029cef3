"""States of sentences: the neurons of a layer that each sentence of each task activated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.mask_overlap import pairwise_iou
from neuronspec.statistics.draws import make_generator

Selector = Callable[[NDArray[np.int64]], NDArray[np.bool_]]  # (..., d_ff) counts -> (..., d_ff)
DrawWeights = Callable[
    [np.random.Generator, int], NDArray[np.number]
]  # sentences n -> (..., n) how often each is drawn
PackedBits = NDArray[np.uint8]  # (..., ceil(d_ff / 8)) as numpy.packbits packs them

_BLOCK = 4096  # sentences that are unpacked at once


@dataclass(frozen=True, eq=False)
class SentenceStates:
    """The neurons of one layer that each sentence activated, task by task.

    Attributes:
        tasks: Names of the tasks.
        bits: Packed bits of each task, (sentences, ceil(d_ff / 8)).
        width: Number of neurons, d_ff.
    """

    tasks: tuple[str, ...]
    bits: tuple[PackedBits, ...]
    width: int

    @classmethod
    def from_counts(cls, counts: ActivationCounts, layer: str, tasks: Sequence[str] | None = None) -> SentenceStates:
        """Take the states of one layer from activation counts.

        Args:
            counts: Activation counts of sentences, recorded with `states=True` (`record.states: true` in a run).
            layer: Name of the layer.
            tasks: Tasks to take, in this order; by default all.

        Raises:
            NeuronspecError: If there are no states, they count tokens, a task or layer is unknown or has no sentence,
                or the states do not add up to the counts.
        """
        packed, numbers = _read_states(counts, layer)
        width = counts.widths[layer]
        chosen = counts.tasks if tasks is None else tuple(tasks)

        bits = []
        for task in chosen:
            if task not in counts.tasks:
                raise NeuronspecError(f"no states of the task {task!r}{did_you_mean(task, counts.tasks)}")

            # The sentences of this task, of all that were recorded
            row = counts.tasks.index(task)

            own = packed[:0]  # without one task for each sentence, no sentence is known to be the task's
            if len(packed) == len(numbers):
                own = packed[np.flatnonzero(numbers == row)]
            bits.append(own)

            # Adding up is a cheap check that states and counts belong together
            if not np.array_equal(sum_bits(own, width), counts.values[layer][row].numpy()):
                raise NeuronspecError(
                    f"the states of {task} in {layer} do not add up to its counts, so they are not of the same "
                    "sentences: record again with record.states=true"
                )
        return cls(chosen, tuple(bits), width)

    @classmethod
    def from_arrays(cls, states: Mapping[str, NDArray[np.bool_]]) -> SentenceStates:
        """Make states by hand: for each task, (sentences, d_ff) whether the sentence activated the neuron.

        Example:
            >>> states = SentenceStates.from_arrays({"de-en": np.array([[True, False, True], [True, False, False]])})
            >>> states.counts().tolist()
            [[2, 0, 1]]
        """
        widths = {array.shape[1:] for array in states.values()}
        if len(widths) > 1 or any(len(width) != 1 for width in widths):
            raise NeuronspecError("the states of each task must have the shape (sentences, d_ff), with the same d_ff")
        bits = tuple(np.packbits(array, axis=1) for array in states.values())
        return cls(tuple(states), bits, next(iter(widths), (0,))[0])

    def __post_init__(self) -> None:
        empty = [task for task, rows in zip(self.tasks, self.bits, strict=True) if not len(rows)]
        if empty or not self.tasks:
            raise NeuronspecError(f"there are no sentences of {', '.join(empty) or 'any task'}: record some")

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The (tasks,) numbers of sentences."""
        return np.array([len(rows) for rows in self.bits], dtype=np.int64)

    def counts(self) -> NDArray[np.int64]:
        """Return the (tasks, d_ff) activation counts."""
        return np.stack([sum_bits(rows, self.width) for rows in self.bits])

    def draw(self, select: Selector, weigh: DrawWeights, seed: int) -> PackedBits:
        """Return the masks of sentences drawn at random.

        Args:
            select: Function that selects the neurons of each row of counts.
            weigh: Function of a generator and the number of sentences n; returns (..., n) how often each is drawn.
            seed: Seed of the draws, from 0.

        Returns:
            (..., tasks, ceil(d_ff / 8)) packed masks.
        """
        masks = []
        for task, rows in zip(self.tasks, self.bits, strict=True):
            # A generator for each task: its draws are the same whatever other tasks there are
            weights = weigh(make_generator(seed, task), len(rows)).astype(np.float32)
            masks.append(np.packbits(select(_count_weighted(rows, weights, self.width)), axis=-1))  # (..., bytes)
        return np.stack(masks, axis=-2)

    def iou(self, masks: PackedBits) -> NDArray[np.float64]:
        """Return the (draws, tasks, tasks) IoU of (draws, tasks, ceil(d_ff / 8)) packed masks."""
        return np.stack([pairwise_iou(_unpack_bits(mask, self.width).astype(np.bool_)) for mask in masks])


def _read_states(counts: ActivationCounts, layer: str) -> tuple[PackedBits, NDArray[np.int64]]:
    """Return the (sentences, bytes) packed states of a layer, and the (sentences,) numbers of their tasks."""
    if counts.unit != "sentence":
        raise NeuronspecError(f"the counts are of unit {counts.unit!r}: record with record.unit=sentence")
    if counts.state_tasks is None or not counts.states:
        raise NeuronspecError("the counts say nothing of single sentences: record with record.states=true")
    if layer not in counts.states:
        raise NeuronspecError(f"no states of the layer {layer!r}{did_you_mean(layer, counts.states)}")
    return counts.states[layer].numpy(), counts.state_tasks.numpy()


def sum_bits(bits: PackedBits, width: int) -> NDArray[np.int64]:
    """Return the (d_ff,) counts of the rows of packed bits."""
    total = np.zeros(width, dtype=np.int64)
    for start in range(0, len(bits), 255):  # as many as 8-bit integers hold, ten times faster than wider ones
        total += _unpack_bits(bits[start : start + 255], width).sum(axis=0, dtype=np.uint8)
    return total


def _unpack_bits(bits: PackedBits, width: int) -> NDArray[np.uint8]:
    return np.unpackbits(bits, axis=1, count=width)


def _count_weighted(bits: PackedBits, weights: NDArray[np.float32], width: int) -> NDArray[np.int64]:
    """Return the (..., d_ff) counts where each row of packed bits counts (..., rows) times; exact below 2^24."""
    # Floats, for whose products there is a fast routine; block by block, so that memory stays bounded
    total = np.zeros((*weights.shape[:-1], width), dtype=np.float32)
    for start in range(0, len(bits), _BLOCK):
        block = slice(start, start + _BLOCK)
        total += weights[..., block] @ _unpack_bits(bits[block], width).astype(np.float32)  # (..., d_ff)
    return total.astype(np.int64)
