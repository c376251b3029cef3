"""Generators of random numbers, and random or exhaustive orders of objects."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from neuronspec.statistics.numbers import check_number

BLOCK = 2**20  # values at a time, 8 MB of float64: bounds the memory that permutations take


def make_generator(seed: int, task: str | None = None) -> np.random.Generator:
    """Return the random generator of a seed, or of a seed and a task.

    Args:
        seed: Seed of the generator, from 0.
        task: Task with random numbers of its own, which do not depend on the other tasks; None for the seed alone.

    Raises:
        NeuronspecError: If the seed is not a whole number from 0 on.
    """
    check_number("seed", seed, 0)
    # Numpy takes a seed in several parts: the bytes of the task's name are some of them.
    return np.random.default_rng(seed if task is None else [seed, *task.encode()])


def draw_orders(n: int, permutations: int, seed: int, *, values_per_order: int) -> Iterator[NDArray[np.int64]]:
    """Yield orders of n objects other than the observed one, as rows of blocks.

    If there are no more than `permutations` other orders, each comes once, so that a test over them is exact.
    Otherwise the orders are random.

    Args:
        n: Number of objects.
        permutations: Number of orders to yield at most.
        seed: Seed of the random orders.
        values_per_order: Number of values that the caller computes for one order; it limits the size of a block.

    Yields:
        Blocks of orders, (orders, n) each.
    """
    rows = max(1, BLOCK // values_per_order)

    # Few objects: every order once. The first one is the observed order, and is left out.
    if math.factorial(n) <= permutations + 1:
        every = np.array(list(itertools.permutations(range(n)))[1:], dtype=np.int64).reshape(-1, n)
        for start in range(0, len(every), rows):
            yield every[start : start + rows]
        return

    # Many objects: random orders, each row shuffled by itself.
    generator = make_generator(seed)
    for start in range(0, permutations, rows):
        observed = np.tile(np.arange(n), (min(rows, permutations - start), 1))
        yield generator.permuted(observed, axis=1)


def check_draws(permutations: int, seed: int) -> None:
    """Refuse a number of permutations below 1, or a seed below 0.

    Raises:
        NeuronspecError: If either is not such a whole number.
    """
    check_number("permutations", permutations, 1)
    check_number("seed", seed, 0)
