"""Do values rise or fall over layers, with whole languages as the sample?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.numbers import FloatArray, read_numbers


@dataclass(frozen=True)
class Trend:
    """The change of values over layers, as `find_trend` measures it.

    Attributes:
        slope: Change of the mean over units from one layer to the next, by least squares; nan for fewer than two
            layers.
        interval: 95 % confidence interval of the slope by the jackknife; nan for fewer than two units (three where
            units share pairs) or two layers.
        p_value: Two-sided p-value of the hypothesis that the slope is zero, by the same jackknife; nan where the
            interval is.
        rising: Number of units whose own slope is above zero.
        units: Number of units.
    """

    slope: float
    interval: tuple[float, float]
    p_value: float
    rising: int
    units: int


def find_trend(values: ArrayLike, *, pairs: bool = True) -> Trend:
    """Find whether values rise or fall over layers, with languages and not pairs as the sample.

    The interval is that of the delete-one jackknife: the slope is computed again without each unit in turn, and
    Student's t has one degree of freedom less than there are units. A language's mean IoU with the others shares
    each of its pairs with one other language; leaving the language out removes its pairs from all of them. `pairs`
    takes this into account: without it, the interval would be about half as wide as it should be. Page's trend test,
    too, treats units as independent, and finds trends in the means of languages far too often.

    Args:
        values: (units, layers) values, in the order of the layers.
        pairs: True if each unit's value is its mean over pairs with all the other units, such as a language's mean
            IoU; False if the units are independent.

    Returns:
        The trend.

    Raises:
        NeuronspecError: If there are no values, or a value is not a finite number.

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
    # One layer has no slope.
    if layers < 2:
        return Trend(slope=math.nan, interval=(math.nan, math.nan), p_value=math.nan, rising=0, units=units)

    # Least squares for each unit. Less its first value, a constant unit has a slope of exactly 0.
    places = np.arange(layers) - (layers - 1) / 2
    slopes = (table - table[:, :1]) @ places / (places @ places)  # (units,)

    # With pairs, every pair is counted in the means of both of its units.
    slope = float(slopes.mean())
    margin, p_value = _jackknife(slopes, weight=2 if pairs else 1)
    return Trend(
        slope=slope,
        interval=(slope - margin, slope + margin),
        p_value=p_value,
        rising=int((slopes > 0).sum()),
        units=units,
    )


def _jackknife(values: FloatArray, weight: int) -> tuple[float, float]:
    """Return half the width of the mean's 95 % interval, and the two-sided p-value of a mean of zero.

    `weight` is how often a unit's own pairs are counted in the sum over all units.
    """
    units, mean = len(values), values.mean()
    # Leaving out one unit must leave something: another unit, or a pair of others.
    if units <= weight:
        return math.nan, math.nan

    # The mean when each unit is left out, and from these means the standard error.
    without = (units * mean - weight * values) / (units - weight)  # (units,)
    error = math.sqrt((units - 1) / units * ((without - without.mean()) ** 2).sum())
    # Equal slopes leave no doubt: their mean is zero or it is not.
    if error == 0:
        return 0.0, float(mean == 0)

    margin = stats.t.ppf(0.975, units - 1) * error
    p_value = 2 * stats.t.sf(abs(mean) / error, units - 1)
    return float(margin), float(p_value)
