"""Sampling of batches: temperature over tasks, token budgets, an order that is a pure function of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuronspec.errors import NeuronspecError

ROUND_SIZE = 1 << 17  # examples sorted by length together; larger pads less, smaller mixes lengths more


@dataclass(frozen=True)
class Batch:
    """The examples of one batch.

    Attributes:
        tasks: Number of each row's task, (rows,).
        examples: Number of each row's sentence pair within its task, (rows,).
    """

    tasks: NDArray[np.int64]
    examples: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tasks)


@dataclass(frozen=True)
class Cursor:
    """A position in the endless sequence of batches: batch number `batch` of round `round`."""

    round: int = 0
    batch: int = 0


def temperature_weights(sizes: Sequence[int], temperature: float) -> NDArray[np.float64]:
    """Return the probability of each task, in proportion to (its share of the pairs)^(1/T).

    Args:
        sizes: Number of sentence pairs of each task.
        temperature: Temperature T: 1 keeps the proportions, larger is flatter (the paper: 2 for IWSLT, 5 for EC30).

    Example:
        >>> temperature_weights([100, 1], 1).round(2).tolist(), temperature_weights([100, 1], 2).round(2).tolist()
        ([0.99, 0.01], [0.91, 0.09])
    """
    shares = np.asarray(sizes, dtype=np.float64) / sum(sizes)
    weights = shares ** (1 / temperature)  # (tasks,)
    return np.asarray(weights / weights.sum())


def permute(positions: NDArray[np.int64], size: int, key: Sequence[int]) -> NDArray[np.int64]:
    """Map positions in 0..size-1 through a pseudo-random permutation, without building it.

    A four-round Feistel network over the next power of four, walked until the value falls below `size`; it costs
    no memory and starts anywhere, so that a pass over any corpus can be entered in the middle.

    Args:
        positions: Values below `size`, (n,).
        size: Length of the permutation.
        key: Numbers that name this permutation (seed, task, pass).

    Returns:
        Values below `size`, (n,), distinct for distinct positions.

    Example:
        >>> sorted(permute(np.arange(7), 7, [1, 2]).tolist())
        [0, 1, 2, 3, 4, 5, 6]
    """
    # Values are two halves of `half` bits; together, these hold every number below `size`.
    half = np.uint64(max(1, (max(size - 1, 1).bit_length() + 1) // 2))
    low = np.uint64((1 << int(half)) - 1)
    keys = np.random.default_rng(list(key)).integers(1, 1 << 63, size=4, dtype=np.uint64)  # one for each round

    # All values take a first walk through the network.
    values = positions.astype(np.uint64)
    pending = np.arange(len(values))
    while len(pending):
        left, right = values[pending] >> half, values[pending] & low
        for round_key in keys:
            # The constants of SplitMix64, as multipliers that spread every bit to the higher ones.
            mixed = (right + round_key) * np.uint64(0x9E3779B97F4A7C15)  # wraps around
            mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
            left, right = right, left ^ ((mixed >> np.uint64(32)) & low)

        # Values that are still too large walk on.
        values[pending] = (left << half) | right
        pending = pending[values[pending] >= np.uint64(size)]
    return values.astype(np.int64)


def cut_by_tokens(order: NDArray[np.int64], widths: Iterable[int], tokens: int) -> Iterator[NDArray[np.int64]]:
    """Cut a sequence of examples that grow longer into groups of at most `tokens` padded tokens.

    Args:
        order: Numbers of the examples, shortest first, (n,).
        widths: Lengths of the examples in tokens, (n,).
        tokens: Greatest number of padded tokens of a group; a longer example makes a group of its own.

    Example:
        >>> [group.tolist() for group in cut_by_tokens(np.arange(4), [2, 2, 3, 9], 6)]
        [[0, 1], [2], [3]]
    """
    start = 0
    for position, width in enumerate(widths):
        # The longest example so far is the last: all others of its group are padded to its width.
        if position > start and width * (position - start + 1) > tokens:
            yield order[start:position]
            start = position
    if start < len(order):
        yield order[start:]


class BatchSampler:
    """The endless sequence of training batches: a pure function of (seed, step) (promise R2).

    Examples are drawn round by round. In each, every task gets its temperature's share, taken without replacement
    from shuffled passes over its pairs; the examples are sorted by length, cut into batches of at most
    `tokens_per_batch` padded tokens on either side, and the batches are shuffled.

    Args:
        lengths: Lengths of source and target in tokens, with tags and end of sentence, for each task (pairs, 2).
        temperature: Temperature T of the sampling over tasks.
        tokens_per_batch: Greatest number of padded tokens of a batch on either side.
        homogeneous: Whether each batch holds one task only.
        max_tokens: Greatest number of tokens of a pair on either side; longer pairs are left out.
        seed: Seed of the order.
        names: Names of the tasks, for messages.

    Raises:
        NeuronspecError: If a task has no pair that fits.
    """

    def __init__(
        self,
        lengths: Sequence[NDArray[np.integer]],
        *,
        temperature: float,
        tokens_per_batch: int,
        homogeneous: bool = False,
        max_tokens: int | None = None,
        seed: int = 0,
        names: Sequence[str] | None = None,
    ) -> None:
        # The examples of each task that fit into a batch, by their positions
        limit = min(max_tokens or tokens_per_batch, tokens_per_batch)
        self.lengths = [np.asarray(task) for task in lengths]
        self.fitting = [np.flatnonzero(task.max(axis=1, initial=0) <= limit) for task in self.lengths]

        for number, fitting in enumerate(self.fitting):
            if not len(fitting):
                name = names[number] if names else number
                raise NeuronspecError(
                    f"{name} has no training pair of at most {limit} tokens a side "
                    f"({len(self.lengths[number])} pairs in all): give it shorter text, or raise sampling.max_tokens "
                    "and sampling.tokens_per_batch as far as the model can read"
                )

        self.tokens_per_batch = tokens_per_batch
        self.homogeneous = homogeneous
        self.seed = seed

        # A round is at most all text once, and has at least one example for each task.
        self.weights = temperature_weights([len(fitting) for fitting in self.fitting], temperature)
        self.round_size = min(ROUND_SIZE, max(sum(map(len, self.fitting)), len(self.fitting)))

    def round(self, number: int) -> list[Batch]:
        """Return all batches of one round, in order."""
        tasks, examples = self._draw(number)  # (examples,) each

        # The lengths of the examples that were drawn, (examples, 2)
        present = np.unique(tasks)
        lengths = np.empty((len(tasks), 2), dtype=np.int64)
        for task in present:
            lengths[tasks == task] = self.lengths[task][examples[tasks == task]]
        widths = lengths.max(axis=1)  # (examples,)

        # Longer side first, then the source; ties in random order.
        # The 1 keeps these numbers apart from those of `_draw`.
        generator = np.random.default_rng([self.seed, 1, number])
        order = np.lexsort((generator.random(len(tasks)), lengths[:, 0], widths))

        # A batch of one task is cut from the examples of that task.
        groups = [order[tasks[order] == task] for task in present] if self.homogeneous else [order]
        # Cut into batches, then shuffle these: neighbors in length are not trained on one after the other.
        batches = []
        for group in groups:
            for rows in cut_by_tokens(group, widths[group].tolist(), self.tokens_per_batch):
                batches.append(Batch(tasks[rows], examples[rows]))
        return [batches[position] for position in generator.permutation(len(batches))]

    def batches(self, start: Cursor | None = None) -> Iterator[tuple[Batch, Cursor]]:
        """Yield batches from `start` on, without end, each with the cursor of the batch after it."""
        cursor = start or Cursor()
        number, first = cursor.round, cursor.batch
        while True:
            batches = self.round(number)
            for position in range(first, len(batches)):
                yield batches[position], Cursor(number, position + 1)

            # Only the first round is entered in the middle.
            number, first = number + 1, 0

    def _draw(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the tasks and the examples of a round, (examples in the round,) each, task by task."""
        tasks, examples = [], [np.empty(0, dtype=np.int64)]  # rounded down, the shares of a tiny round may all be 0
        for task, fitting in enumerate(self.fitting):
            # A task's positions continue from round to round, through one shuffled pass over its pairs after another.
            share = self.round_size * self.weights[task]
            start = int(np.floor(number * share))
            stop = int(np.floor((number + 1) * share))
            positions = np.arange(start, stop)
            passes, within = positions // len(fitting), positions % len(fitting)

            # Each pass has an order of its own; a round may end one pass and begin the next.
            for one in np.unique(passes):
                chosen = permute(within[passes == one], len(fitting), [self.seed, 0, task, int(one)])
                examples.append(fitting[chosen])

            tasks.append(np.full(stop - start, task))
        return np.concatenate(tasks), np.concatenate(examples)
