"""Do groups of objects, such as language families, lie apart, and do two groupings agree?

The tests permute whole objects: the distances of an object to all others are no independent samples.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.draws import check_draws, draw_orders
from neuronspec.statistics.numbers import FloatArray, read_numbers
from neuronspec.statistics.pairwise import check_square, check_symmetric
from neuronspec.statistics.permutation import count_reached, find_p_value


@dataclass(frozen=True)
class Separation:
    """The distance between groups of objects, as `separate` measures it.

    Attributes:
        silhouette: Mean silhouette of the objects that are not alone in their group, -1..1; nan if there is only one
            group, or if every object is alone.
        p_value: Share of random groupings, the observed one included, with a silhouette at least as large; nan where
            `silhouette` is.
        least_p_value: Smallest p-value that was possible, whatever the distances: with two objects in each of three
            groups, every fifteenth order of the objects leaves the grouping as it was.
    """

    silhouette: float
    p_value: float
    least_p_value: float = math.nan


def silhouette(distances: ArrayLike, groups: Sequence[str]) -> FloatArray:
    """Return how much nearer each object is to its own group than to the nearest other one (Rousseeuw, 1987).

    With a the mean distance to the others of its group and b the smallest mean distance to another group, the
    silhouette is (b - a) / max(a, b): near 1 for an object in the right group, below 0 if another group is nearer.

    Args:
        distances: (n, n) symmetric distances, not negative; the diagonal is ignored.
        groups: Group of each object.

    Returns:
        Silhouettes, (n,), in -1..1; 0 for an object alone in its group; nan for all if there is only one group, or
        if every object is alone.

    Raises:
        NeuronspecError: If `distances` is not a matrix of distances, or there is not one group for each row.

    Example:
        >>> distances = [[0, 1, 4, 4], [1, 0, 4, 4], [4, 4, 0, 2], [4, 4, 2, 0]]
        >>> silhouette(distances, ["Germanic", "Germanic", "Slavic", "Slavic"]).tolist()
        [0.75, 0.75, 0.5, 0.5]
    """
    matrix, numbers = _read_groups(distances, groups)
    return _compute_silhouettes(matrix, _list_members(numbers))


def separate(distances: ArrayLike, groups: Sequence[str], permutations: int = 9_999, seed: int = 0) -> Separation:
    """Measure how far apart groups are, and how often random groups would be as far apart.

    With language families as groups: do neurons follow families? Give languages without relatives (isolates,
    creoles) a group each: leftovers put into one group have nothing in common.

    Args:
        distances: (n, n) symmetric distances, not negative, such as 1 - IoU; the diagonal is ignored.
        groups: Group of each object.
        permutations: Number of random groupings, of the same sizes, to try at most, from 1.
        seed: Seed of the random groupings, from 0.

    Returns:
        The mean silhouette and its p-value.

    Raises:
        NeuronspecError: If `distances` is not a matrix of distances, there is not one group for each row, or
            `permutations` or `seed` is not such a whole number.

    Example:
        >>> distances = [[0, 1, 4, 4], [1, 0, 4, 4], [4, 4, 0, 2], [4, 4, 2, 0]]
        >>> found = separate(distances, ["Germanic", "Germanic", "Slavic", "Slavic"])
        >>> found.silhouette, round(found.p_value, 3), round(found.least_p_value, 3)
        (0.625, 0.333, 0.333)
    """
    check_draws(permutations, seed)
    matrix, numbers = _read_groups(distances, groups)
    members = _list_members(numbers)
    sizes = members.sum(axis=0)  # (groups,)

    # The mean is over the objects that are not alone; their number is the same in any grouping of these sizes.
    company = int((sizes[numbers] > 1).sum())
    mean = float(_compute_silhouettes(matrix, members).sum() / company) if company else math.nan
    if math.isnan(mean):
        return Separation(math.nan, math.nan)

    reached = tried = same = 0
    for orders in draw_orders(len(matrix), permutations, seed, values_per_order=members.size):
        # Permuting the rows of `members` regroups the objects at random, and keeps the sizes.
        moved = members[orders]  # (block, n, groups)
        means = _compute_silhouettes(matrix, moved).sum(axis=1) / company  # (block,)
        reached += count_reached(means, mean)
        tried += len(orders)

        # Only where the grouping is the observed one do all members of each group stay together: the squares of the
        # parts of a group add up to less than the square of the whole.
        stayed = members.T @ moved  # (block, groups, groups)
        same += int(((stayed**2).sum(axis=(1, 2)) == (sizes**2).sum()).sum())

    return Separation(mean, find_p_value(reached, tried), find_p_value(same, tried))


def adjusted_rand(first: Sequence[object], second: Sequence[object]) -> float:
    """Return how far two groupings of the same objects agree, corrected for chance (Hubert and Arabie, 1985).

    Args:
        first: Group of each object; the names of the groups do not matter.
        second: Group of each object in the other grouping.

    Returns:
        1 for the same grouping, about 0 for random groupings, below 0 for worse; nan if either grouping has every
        object alone or all of them together, because no grouping could then agree more or less than by chance.

    Raises:
        NeuronspecError: If there are no objects, or the groupings have different numbers of objects.

    Example:
        >>> adjusted_rand(["de", "de", "ru", "ru"], [1, 1, 2, 2]), adjusted_rand("aabb", "abab")
        (1.0, -0.5)
    """
    if len(first) != len(second) or not first:
        raise NeuronspecError(f"found groups for {len(first)} and {len(second)} objects, expected as many, not none")

    # Pairs of objects that are together: in both groupings, in the first, in the second.
    both = _count_pairs(list(zip(first, second, strict=True)))
    one, other = _count_pairs(first), _count_pairs(second)
    pairs = math.comb(len(first), 2)

    # Where a grouping has no pair together, or all of them, the index is 0 or 0 / 0 for any other grouping.
    if not (0 < one < pairs and 0 < other < pairs):
        return math.nan

    # (both - chance) / ((one + other) / 2 - chance), with one * other / pairs as the chance.
    return 2 * (both * pairs - one * other) / ((one + other) * pairs - 2 * one * other)


def _count_pairs(grouping: Sequence[object]) -> int:
    """Return the number of pairs of objects that are in the same group."""
    return sum(math.comb(size, 2) for size in Counter(grouping).values())


def _list_members(numbers: NDArray[np.int64]) -> FloatArray:
    """Return (n, groups) 1 where an object is in a group, else 0."""
    return np.eye(int(numbers.max()) + 1)[numbers]


def _compute_silhouettes(matrix: FloatArray, members: FloatArray) -> FloatArray:
    """Return the silhouettes (..., n) for groupings `members` (..., n, groups) of the same group sizes."""
    sizes = members.sum(axis=-2, keepdims=True)  # (..., 1, groups)
    own_size = (members * sizes).sum(axis=-1)  # (..., n)
    # With one group there is no other one, and with every object alone, none of its own.
    if sizes.shape[-1] < 2 or own_size.max() < 2:
        return np.full(members.shape[:-1], math.nan)

    # The mean distances to the own group and to the nearest other one.
    sums = matrix @ members  # (..., n, groups): distances of each object to a group, summed over the group
    # The distance of an object to itself is 0, so the others of its group share the sum.
    own = (sums * members).sum(axis=-1) / np.maximum(own_size - 1, 1)
    nearest = np.where(members > 0, np.inf, sums / sizes).min(axis=-1)  # (..., n); infinity keeps the own group out

    # An object alone in its group, or at distance 0 from its group and another one, has a silhouette of 0.
    scale = np.maximum(own, nearest)
    is_defined = (own_size > 1) & (scale > 0)
    return np.where(is_defined, (nearest - own) / np.where(scale > 0, scale, 1), 0.0)


def _read_groups(distances: ArrayLike, groups: Sequence[str]) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return the distances with a diagonal of zeros, and a number for each object's group."""
    matrix = read_numbers("the distances", distances)
    check_square(matrix)
    check_symmetric(matrix)
    # Sums over a group rely on it: an object has no distance to itself.
    np.fill_diagonal(matrix, 0)
    if matrix.min() < 0:
        raise NeuronspecError(f"found the distance {matrix.min()}, expected 0 or more; of similarities, take 1 - IoU")

    if groups is None or len(groups) != len(matrix):
        count = "no" if groups is None else len(groups)
        raise NeuronspecError(f"found {count} groups for {len(matrix)} objects, expected one each")
    if any(group is None for group in groups):
        raise NeuronspecError("found None for a group, expected a name; give an object without one a group of its own")

    # Names of groups do not matter, only who is together.
    numbers = np.unique(np.asarray(groups), return_inverse=True)[1]
    return matrix, numbers.astype(np.int64)
