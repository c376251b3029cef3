"""Statistics of overlaps: are two matrices related, are groups separate, do layers show a trend?

The pairs of a matrix share objects, so they are no independent samples. What follows never counts them as such: it
permutes whole objects (languages), or leaves whole objects out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, stats
from scipy.spatial.distance import squareform

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.corrections import holm
from neuronspec.statistics.draws import check_number, make_generator, read_numbers
from neuronspec.statistics.paired import TIE

Method = Literal["pearson", "spearman"]
METHODS = get_args(Method)

SMALL = 12  # objects: with more, hardly any order leaves a matrix as it was
BLOCK = 2**20  # values at a time: bounds the memory that permutations take


@dataclass(frozen=True)
class Correlation:
    """The relation of two distance matrices, as `mantel` finds it.

    Attributes:
        r: the (partial) correlation over pairs of objects; nan for fewer than three objects, or where a matrix, or
            what the controls leave of it, is constant.
        p_value: the share of permutations, the observed order among them, with a correlation as large; nan where
            `r` is.
        permutations: how many orders other than the observed one were tried.
        n: how many objects were compared.
        least_p_value: the smallest that `p_value` could have been: few objects in groups of equal sizes, such as two
            languages of each of three families, can be rearranged in many ways without a difference.
    """

    r: float
    p_value: float
    permutations: int
    n: int
    least_p_value: float = math.nan


@dataclass(frozen=True)
class Separation:
    """How far apart groups of objects are, as `separate` finds it.

    Attributes:
        silhouette: the mean silhouette of the objects that are not alone in their group, -1..1; nan where there is
            one group only, or every object is alone.
        p_value: the share of random groupings, the observed one among them, with a silhouette as large; nan where
            `silhouette` is.
        least_p_value: the smallest that `p_value` could have been, whatever the distances: two objects of each of
            three groups are grouped as they are by every fifteenth of their orders.
    """

    silhouette: float
    p_value: float
    least_p_value: float = math.nan


@dataclass(frozen=True)
class Trend:
    """How values change over layers, as `find_trend` finds it.

    Attributes:
        slope: the change per layer of the mean over units, by least squares; nan for fewer than two layers.
        interval: the 95 % confidence interval of the slope by the jackknife; nan for fewer than two units (three
            where units share pairs) or two layers.
        p_value: that the slope is zero, two-sided, by the same jackknife; nan where the interval is.
        rising: in how many units the slope is above zero.
        units: how many units there are.
    """

    slope: float
    interval: tuple[float, float]
    p_value: float
    rising: int
    units: int


def mantel(
    first: ArrayLike,
    second: ArrayLike,
    *,
    controls: Sequence[ArrayLike] = (),
    method: Method = "pearson",
    permutations: int = 9_999,
    seed: int = 0,
) -> Correlation:
    """Correlate two distance matrices of the same objects: the Mantel test, with controls the partial one.

    The question is whether the correlation is above zero; whether it is below, ask of a matrix times -1.

    With controls (Smouse, Long and Sokal 1986), both matrices are replaced by what a linear regression on all
    controls leaves of them. The residuals of `first` are then permuted, rows and columns alike, and regressed on the
    controls anew each time (Freedman and Lane's scheme). Where all orders of the objects are no more than
    `permutations`, each is tried once and the p-value is exact.

    The test takes objects as exchangeable. Related languages are not, quite: a control for family helps, and a
    p-value close to the limit proves little (Guillot and Rousset 2013).

    Args:
        first: (n, n) symmetric distances or similarities. An object with nan on the diagonal of any of the matrices
            is left out; the diagonal means nothing else.
        second: (n, n) of the same objects in the same order.
        controls: (n, n) each, held fixed.
        method: `spearman` replaces the values of every matrix, controls too, by their ranks.
        permutations: how many random orders to try at most, from 1.
        seed: of the random orders, from 0.

    Returns:
        The correlation and its p-value, (1 + as large) / (1 + permutations).

    Raises:
        NeuronspecError: matrices of different objects, not symmetric or with values that are no finite numbers, an
            unknown method, or permutations or a seed that are no such whole numbers.

    Example:
        >>> distances = [[0, 1, 4, 6], [1, 0, 3, 5], [4, 3, 0, 2], [6, 5, 2, 0]]
        >>> found = mantel(distances, [[0, 1, 2, 3], [1, 0, 2, 3], [2, 2, 0, 1], [3, 3, 1, 0]])
        >>> round(found.r, 3), round(found.p_value, 3), found.permutations
        (0.956, 0.083, 23)
    """
    if method not in METHODS:
        raise NeuronspecError(f"found the method {method!r}, expected one of {', '.join(METHODS)}")
    _check_draws(permutations, seed)
    values, n = _pair_up(first, second, *controls)  # (2 + controls, pairs)
    if n < 3:
        return Correlation(math.nan, math.nan, 0, n)
    rows, columns = np.triu_indices(n, k=1)
    if method == "spearman":
        values = stats.rankdata(values, axis=1)
    basis = _span(values[2:])
    residuals = values[:2] - (values[:2] @ basis) @ basis.T  # (2, pairs)
    lengths = np.linalg.norm(residuals, axis=1, keepdims=True)
    if np.any(lengths <= 1e-10 * np.linalg.norm(values[:2], axis=1, keepdims=True)):
        return Correlation(math.nan, math.nan, 0, n)
    x, y = residuals / lengths
    r = float(np.clip(x @ y, -1, 1))
    square = squareform(x)
    extreme = tried = same = 0
    second_square = squareform(y)
    for orders in _rearrange(n, permutations, seed, size=len(rows)):
        moved = square[orders[:, rows], orders[:, columns]]  # (block, pairs), each of length 1
        if n <= SMALL:
            same += int(np.isclose(second_square[orders[:, rows], orders[:, columns]], y).all(axis=1).sum())
        left = 1 - ((moved @ basis) ** 2).sum(axis=1)  # of the squared length, after the controls are taken out
        others = moved @ y / np.sqrt(np.maximum(left, TIE))
        extreme += int((others >= r - TIE).sum())
        tried += len(orders)
    return Correlation(r, (1 + extreme) / (1 + tried), tried, n, (1 + same) / (1 + tried))


def correct(p_values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's correction over those that there are; nan, which nothing was tested for, stays.

    Example:
        >>> correct([0.01, math.nan, 0.04])
        [0.02, nan, 0.04]
    """
    corrected = np.array(p_values, dtype=np.float64)
    known = ~np.isnan(corrected)
    if known.any():
        corrected[known] = holm(corrected[known])
    return [float(p) for p in corrected]


def correlate(first: ArrayLike, second: ArrayLike) -> float:
    """Return Pearson's correlation of two matrices over their pairs of objects, such as the IoU of two runs.

    Args:
        first: (n, n) symmetric, as for `mantel`.
        second: (n, n) of the same objects in the same order.

    Returns:
        The correlation; nan for fewer than three objects or where a matrix is constant.

    Raises:
        NeuronspecError: as for `mantel`.

    Example:
        >>> round(correlate([[1, 0.5, 0.2], [0.5, 1, 0.4], [0.2, 0.4, 1]], [[1, 6, 1], [6, 1, 5], [1, 5, 1]]), 3)
        0.99
    """
    return mantel(first, second, permutations=1).r


def silhouette(distances: ArrayLike, groups: Sequence[str]) -> NDArray[np.float64]:
    """Return how much nearer each object is to its own group than to the nearest other one (Rousseeuw 1987).

    With a the mean distance to the others of its group and b the smallest mean distance to another group, the
    silhouette is (b - a) / max(a, b): near 1 in its place, below 0 nearer to another group.

    Args:
        distances: (n, n) symmetric, not negative; the diagonal is not looked at.
        groups: the group of each object.

    Returns:
        (n,) in -1..1; 0 for an object alone in its group; nan throughout where there is one group only, or every
        object is alone.

    Raises:
        NeuronspecError: no matrix of distances, or not one group a row.

    Example:
        >>> distances = [[0, 1, 4, 4], [1, 0, 4, 4], [4, 4, 0, 2], [4, 4, 2, 0]]
        >>> silhouette(distances, ["Germanic", "Germanic", "Slavic", "Slavic"]).tolist()
        [0.75, 0.75, 0.5, 0.5]
    """
    matrix, numbers = _check_groups(distances, groups)
    return _silhouettes(matrix, _enlist(numbers))


def separate(distances: ArrayLike, groups: Sequence[str], permutations: int = 9_999, seed: int = 0) -> Separation:
    """Measure how far apart groups are, and how often groups drawn at random would be as far apart.

    With language families as groups: do neurons follow families? Give languages without relatives (isolates,
    creoles) a group each: a group of what is left over has nothing in common.

    Args:
        distances: (n, n) symmetric, not negative, such as 1 - IoU; the diagonal is not looked at.
        groups: the group of each object.
        permutations: how many random groupings, of the same sizes, to try at most, from 1.
        seed: of the random groupings, from 0.

    Returns:
        The mean silhouette and its p-value.

    Raises:
        NeuronspecError: no matrix of distances, not one group a row, or permutations or a seed that are no such
            whole numbers.

    Example:
        >>> distances = [[0, 1, 4, 4], [1, 0, 4, 4], [4, 4, 0, 2], [4, 4, 2, 0]]
        >>> found = separate(distances, ["Germanic", "Germanic", "Slavic", "Slavic"])
        >>> found.silhouette, round(found.p_value, 3), round(found.least_p_value, 3)
        (0.625, 0.333, 0.333)
    """
    _check_draws(permutations, seed)
    matrix, numbers = _check_groups(distances, groups)
    members = _enlist(numbers)
    sizes = members.sum(axis=0)  # (groups,)
    company = int((sizes[numbers] > 1).sum())  # objects that are not alone, in any grouping
    mean = float(_silhouettes(matrix, members).sum() / company) if company else math.nan
    if math.isnan(mean):
        return Separation(math.nan, math.nan)
    extreme = tried = same = 0
    for orders in _rearrange(len(matrix), permutations, seed, size=members.size):
        moved = members[orders]  # (block, n, groups)
        means = _silhouettes(matrix, moved).sum(axis=1) / company  # (block,)
        extreme += int((means >= mean - TIE).sum())
        stayed = members.T @ moved  # (block, groups, groups); whole groups stay together in the same grouping alone
        same += int(((stayed**2).sum(axis=(1, 2)) == (sizes**2).sum()).sum())
        tried += len(orders)
    return Separation(mean, (1 + extreme) / (1 + tried), (1 + same) / (1 + tried))


def adjusted_rand(first: Sequence[object], second: Sequence[object]) -> float:
    """Return how far two groupings of the same objects agree, corrected for chance (Hubert and Arabie 1985).

    Args:
        first: the group of each object; what the groups are called does not matter.
        second: the group of each object in the other grouping.

    Returns:
        1 for the same grouping, about 0 for groupings at random, below 0 for worse; nan where either grouping has
        every object alone or all of them together, with which nothing could agree more or less than by chance.

    Raises:
        NeuronspecError: no objects, or groupings of different numbers of objects.

    Example:
        >>> adjusted_rand(["de", "de", "ru", "ru"], [1, 1, 2, 2]), adjusted_rand("aabb", "abab")
        (1.0, -0.5)
    """
    if len(first) != len(second) or not first:
        raise NeuronspecError(f"found groups for {len(first)} and {len(second)} objects, expected as many, not none")
    table: dict[tuple[object, object], int] = {}
    for cell in zip(first, second, strict=True):
        table[cell] = table.get(cell, 0) + 1
    both = sum(math.comb(count, 2) for count in table.values())  # pairs of objects together in both
    one, other = (
        sum(math.comb(grouping.count(group), 2) for group in set(grouping)) for grouping in (list(first), list(second))
    )
    pairs = math.comb(len(first), 2)
    if not (0 < one < pairs and 0 < other < pairs):
        return math.nan
    return 2 * (both * pairs - one * other) / ((one + other) * pairs - 2 * one * other)


def find_trend(values: ArrayLike, *, pairs: bool = True) -> Trend:
    """Find whether values rise or fall over layers, with languages and not pairs as the sample.

    The interval is the delete-one jackknife's: the slope is found again without each unit, with Student's t on one
    degree of freedom less than units. A language's mean IoU with the others shares each of its pairs with one other
    language; leaving the language out takes its pairs from all of them. With `pairs` the jackknife knows that: without,
    the interval would be about half as wide as it should be. Page's trend test, too, takes units as independent, and
    finds trends in languages' means far too often.

    Args:
        values: (units, layers), in the order of the layers.
        pairs: whether each unit's value is its mean over pairs with all the other units, such as a language's mean
            IoU; False where units have nothing to do with each other.

    Returns:
        The trend.

    Raises:
        NeuronspecError: no values, or some that are no finite numbers.

    Example:
        >>> trend = find_trend([[0.5, 0.6, 0.7], [0.4, 0.6, 0.8], [0.4, 0.5, 0.9], [0.6, 0.6, 0.7]])
        >>> round(trend.slope, 3), trend.rising, trend.p_value < 0.1
        (0.15, 4, False)
    """
    table = read_numbers("the values", values)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise NeuronspecError(
            f"found values of shape {table.shape}, expected finite numbers, (units, layers), not none"
        )
    units, layers = table.shape
    if layers < 2:
        return Trend(math.nan, (math.nan, math.nan), math.nan, 0, units)
    places = np.arange(layers) - (layers - 1) / 2
    slopes = (table - table[:, :1]) @ places / (places @ places)  # (units,); a constant unit is exactly 0
    slope = float(slopes.mean())
    margin, p_value = _jackknife(slopes, weight=2 if pairs else 1)
    return Trend(slope, (slope - margin, slope + margin), p_value, int((slopes > 0).sum()), units)


def _jackknife(values: NDArray[np.float64], weight: int) -> tuple[float, float]:
    """Return half the width of the mean's 95 % interval, and the two-sided p-value that the mean is zero.

    `weight` is how often a unit's own pairs are counted in the sum over all units.
    """
    units, mean = len(values), values.mean()
    if units <= weight:
        return math.nan, math.nan
    without = (units * mean - weight * values) / (units - weight)  # (units,) the mean when each is left out
    error = math.sqrt((units - 1) / units * ((without - without.mean()) ** 2).sum())
    if error == 0:
        return 0.0, float(mean == 0)
    return float(stats.t.ppf(0.975, units - 1) * error), float(2 * stats.t.sf(abs(mean) / error, units - 1))


def _pair_up(*matrices: ArrayLike) -> tuple[NDArray[np.float64], int]:
    """Return (matrices, pairs) the values above the diagonals, and of how many objects, without those left out."""
    squares = [read_numbers("a matrix", matrix) for matrix in matrices]
    if len({square.shape for square in squares}) > 1:
        shapes = ", ".join(str(square.shape) for square in squares)
        raise NeuronspecError(f"found matrices of shapes {shapes}, expected the same objects in each")
    known = np.all([np.isfinite(np.diagonal(_check_shape(square))) for square in squares], axis=0)
    squares = [_check_values(square[np.ix_(known, known)]) for square in squares]
    n = int(known.sum())
    return np.stack([square[np.triu_indices(n, k=1)] for square in squares]), n


def _span(controls: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (pairs, up to 1 + controls) orthonormal columns that span the constant and the controls."""
    centred = controls - controls.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    kept = lengths[:, 0] > 1e-10 * np.linalg.norm(controls, axis=1)  # the others are constant
    constant = np.full((1, controls.shape[1]), controls.shape[1] ** -0.5)
    columns = np.concatenate([constant, centred[kept] / lengths[kept]])
    return np.asarray(linalg.orth(columns.T, rcond=1e-10), dtype=np.float64)


def _rearrange(n: int, permutations: int, seed: int, size: int) -> Iterator[NDArray[np.int64]]:
    """Yield orders of n objects as rows, in blocks: all others than the present one if few, else random ones.

    `size` is how many values the caller makes of one order.
    """
    rows = max(1, BLOCK // size)
    if math.factorial(n) <= permutations + 1:
        every = np.array(list(itertools.permutations(range(n)))[1:], dtype=np.int64).reshape(-1, n)
        yield from (every[start : start + rows] for start in range(0, len(every), rows))
        return
    generator = make_generator(seed)
    for start in range(0, permutations, rows):
        present = np.tile(np.arange(n), (min(rows, permutations - start), 1))
        yield generator.permuted(present, axis=1)


def _enlist(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (n, groups) 1 where an object is in a group, else 0."""
    return np.eye(int(numbers.max()) + 1)[numbers]


def _silhouettes(matrix: NDArray[np.float64], members: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the silhouettes (..., n) for groupings `members` (..., n, groups) of the same group sizes."""
    sizes = members.sum(axis=-2, keepdims=True)  # (..., 1, groups)
    own_size = (members * sizes).sum(axis=-1)  # (..., n)
    if sizes.shape[-1] < 2 or own_size.max() < 2:
        return np.full(members.shape[:-1], math.nan)
    sums = matrix @ members  # (..., n, groups) from each object to all of a group
    own = (sums * members).sum(axis=-1) / np.maximum(own_size - 1, 1)
    nearest = np.where(members > 0, np.inf, sums / sizes).min(axis=-1)
    scale = np.maximum(own, nearest)
    return np.where((own_size > 1) & (scale > 0), (nearest - own) / np.where(scale > 0, scale, 1), 0.0)


def _check_groups(distances: ArrayLike, groups: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the distances with a diagonal of zeros, and a number for each object's group."""
    matrix = _check_values(_check_shape(read_numbers("the distances", distances)))
    np.fill_diagonal(matrix, 0)
    if matrix.min() < 0:
        raise NeuronspecError(f"found the distance {matrix.min()}, expected 0 or more; of similarities, take 1 - IoU")
    if groups is None or len(groups) != len(matrix):
        raise NeuronspecError(
            f"found {'no' if groups is None else len(groups)} groups for {len(matrix)} objects, expected one each"
        )
    if any(group is None for group in groups):
        raise NeuronspecError("found None for a group, expected a name; give an object without one a group of its own")
    numbers = np.unique(np.asarray(groups), return_inverse=True)[1]
    return matrix, numbers.astype(np.int64)


def _check_shape(square: NDArray[np.float64]) -> NDArray[np.float64]:
    if square.ndim != 2 or square.shape[0] != square.shape[1] or not square.size:
        raise NeuronspecError(f"found a matrix of shape {square.shape}, expected (objects, objects), not empty")
    return square


def _check_values(square: NDArray[np.float64]) -> NDArray[np.float64]:
    pairs = ~np.eye(len(square), dtype=bool)
    if not np.isfinite(square[pairs]).all():
        raise NeuronspecError("the matrix has values that are not finite; leave out the objects they belong to")
    if not np.allclose(square[pairs], square.T[pairs], rtol=1e-9, atol=1e-9):
        raise NeuronspecError("the matrix is not symmetric, expected the same value from a to b as from b to a")
    return square


def _check_draws(permutations: int, seed: int) -> None:
    check_number("permutations", permutations, 1)
    check_number("seed", seed, 0)
