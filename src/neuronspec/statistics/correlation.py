"""Are two matrices of distances between the same objects related? The Mantel test.

The pairs of a matrix share objects, so they are no independent samples: the test permutes whole objects (languages).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, stats
from scipy.spatial.distance import squareform

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.draws import check_draws, draw_orders
from neuronspec.statistics.numbers import FloatArray
from neuronspec.statistics.pairwise import list_pairs
from neuronspec.statistics.permutation import TIE, count_reached, find_p_value

CorrelationMethod = Literal["pearson", "spearman"]
CORRELATIONS = get_args(CorrelationMethod)
"""Names of the kinds of correlation."""

MIN_OBJECTS = 3  # fewer have no correlation
# Up to this number of objects, the orders that leave a matrix as it was are counted: with more, there are hardly any.
MAX_COUNTED_OBJECTS = 12
NEGLIGIBLE = 1e-10  # share of a vector's length that is rounding error


@dataclass(frozen=True)
class Correlation:
    """The relation of two distance matrices, as `mantel` finds it.

    Attributes:
        r: (Partial) correlation over pairs of objects; nan for fewer than three objects, or if a matrix, or its
            residuals after the controls, is constant.
        p_value: Share of permutations, the observed order included, with a correlation at least as large; nan where
            `r` is.
        permutations: Number of orders tried, apart from the observed one.
        n: Number of objects compared.
        least_p_value: Smallest p-value that was possible: few objects in groups of equal sizes, such as two languages
            of each of three families, can be rearranged in many ways without a difference.
    """

    r: float
    p_value: float
    permutations: int
    n: int
    least_p_value: float = math.nan


def mantel(
    first: ArrayLike,
    second: ArrayLike,
    *,
    controls: Sequence[ArrayLike] = (),
    method: CorrelationMethod = "pearson",
    permutations: int = 9_999,
    seed: int = 0,
) -> Correlation:
    """Correlate two distance matrices of the same objects: the Mantel test, or with controls the partial one.

    The test asks whether the correlation is above zero; to ask whether it is below, multiply a matrix by -1.

    With controls (Smouse, Long and Sokal, 1986), both matrices are replaced by their residuals of a linear regression
    on all controls. The residuals of `first` are then permuted, rows and columns alike, and regressed on the controls
    again each time (Freedman and Lane's scheme). If there are no more than `permutations` orders of the objects, each
    is tried once and the p-value is exact.

    The test assumes that objects are exchangeable. Related languages are not, quite: a control for family helps, and
    a p-value close to the limit proves little (Guillot and Rousset, 2013).

    Args:
        first: (n, n) symmetric distances or similarities. An object with nan on the diagonal of any of the matrices
            is left out; otherwise the diagonal is ignored.
        second: (n, n) values of the same objects in the same order.
        controls: (n, n) values each, held fixed.
        method: Kind of correlation; `spearman` replaces the values of every matrix, controls too, by their ranks.
        permutations: Number of random orders to try at most, from 1.
        seed: Seed of the random orders, from 0.

    Returns:
        The correlation and its p-value, (1 + as large) / (1 + permutations).

    Raises:
        NeuronspecError: If the matrices are of different objects, are not symmetric or have values that are not
            finite numbers; if the method is unknown; or if `permutations` or `seed` is not such a whole number.

    Example:
        >>> distances = [[0, 1, 4, 6], [1, 0, 3, 5], [4, 3, 0, 2], [6, 5, 2, 0]]
        >>> found = mantel(distances, [[0, 1, 2, 3], [1, 0, 2, 3], [2, 2, 0, 1], [3, 3, 1, 0]])
        >>> round(found.r, 3), round(found.p_value, 3), found.permutations
        (0.956, 0.083, 23)
    """
    if method not in CORRELATIONS:
        raise NeuronspecError(f"found the method {method!r}, expected one of {', '.join(CORRELATIONS)}")
    check_draws(permutations, seed)

    values, n = list_pairs(first, second, *controls)  # (2 + controls, pairs)
    if n < MIN_OBJECTS:
        return Correlation(r=math.nan, p_value=math.nan, permutations=0, n=n)

    # Ranks run over all pairs of a matrix, and controls are ranked like the rest.
    if method == "spearman":
        values = stats.rankdata(values, axis=1)

    # Remove the mean and the controls from both matrices, and give what remains length 1.
    basis = _span(values[2:])  # (pairs, up to 1 + controls)
    residuals = values[:2] - (values[:2] @ basis) @ basis.T  # (2, pairs)
    lengths = np.linalg.norm(residuals, axis=1, keepdims=True)
    # Where the controls explain all of a matrix, rounding errors remain, and must not be correlated.
    if np.any(lengths <= NEGLIGIBLE * np.linalg.norm(values[:2], axis=1, keepdims=True)):
        return Correlation(r=math.nan, p_value=math.nan, permutations=0, n=n)

    # The correlation of vectors of length 1 and mean 0 is their product; rounding can take it above 1.
    x, y = residuals / lengths  # (pairs,) each
    r = float(np.clip(x @ y, -1, 1))

    # Whole objects of the first matrix change places; the second one stays.
    orders = draw_orders(n, permutations, seed, values_per_order=len(x))
    reached, same, tried = _permute(x, y, r=r, basis=basis, orders=orders)
    return Correlation(
        r=r,
        p_value=find_p_value(reached, tried),
        permutations=tried,
        n=n,
        least_p_value=find_p_value(same, tried),
    )


def _permute(
    x: FloatArray,
    y: FloatArray,
    *,
    r: float,
    basis: FloatArray,
    orders: Iterable[NDArray[np.int64]],
) -> tuple[int, int, int]:
    """Return how many orders of the objects reach `r`, how many leave `y` as it was, and how many there are.

    `x` and `y` (pairs,) are residuals of length 1.
    """
    first, second = squareform(x), squareform(y)  # (n, n) each
    n = len(first)
    rows, columns = np.triu_indices(n, k=1)

    reached = same = tried = 0
    for block in orders:
        moved = first[block[:, rows], block[:, columns]]  # (block, pairs), each of length 1

        # The regression on the controls, again: only the length of the residuals changes, for `y` has no controls left.
        squared = 1 - ((moved @ basis) ** 2).sum(axis=1)
        others = moved @ y / np.sqrt(np.maximum(squared, TIE))  # (block,)
        reached += count_reached(others, r)
        tried += len(block)

        # Without controls, such an order has the correlation `r` whatever `x` is: it limits how small p can be.
        if n <= MAX_COUNTED_OBJECTS:
            same += int(np.isclose(second[block[:, rows], block[:, columns]], y).all(axis=1).sum())

    return reached, same, tried


def correlate(first: ArrayLike, second: ArrayLike) -> float:
    """Return Pearson's correlation of two matrices over their pairs of objects, such as the IoU of two runs.

    Args:
        first: (n, n) symmetric values, as for `mantel`.
        second: (n, n) values of the same objects in the same order.

    Returns:
        The correlation; nan for fewer than three objects or if a matrix is constant.

    Raises:
        NeuronspecError: As for `mantel`.

    Example:
        >>> round(correlate([[1, 0.5, 0.2], [0.5, 1, 0.4], [0.2, 0.4, 1]], [[1, 6, 1], [6, 1, 5], [1, 5, 1]]), 3)
        0.99
    """
    # Only the correlation is needed, so the number of orders does not matter.
    return mantel(first, second, permutations=1).r


def _span(controls: FloatArray) -> FloatArray:
    """Return (pairs, up to 1 + controls) orthonormal columns that span the constant and the controls."""
    # Without its mean, a constant control is zero; the column of the constant stands for it.
    centered = controls - controls.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centered, axis=1, keepdims=True)
    varied = lengths[:, 0] > NEGLIGIBLE * np.linalg.norm(controls, axis=1)  # the others are constant

    constant = np.full((1, controls.shape[1]), controls.shape[1] ** -0.5)  # (1, pairs), of length 1
    columns = np.concatenate([constant, centered[varied] / lengths[varied]])
    # Controls may depend on each other: `orth` keeps as many directions as there really are.
    return np.asarray(linalg.orth(columns.T, rcond=NEGLIGIBLE), dtype=np.float64)
