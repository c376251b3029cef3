import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.trends import find_trend


def draw_ious(generator: np.random.Generator, n: int, layers: int, slope: float) -> NDArray[np.float64]:
    """(n, layers): each language's mean over its pairs, of values with an effect of each language and pair."""
    languages = generator.normal(size=(layers, n))
    pairs = languages[:, :, None] + languages[:, None, :] + 0.2 * generator.normal(size=(layers, n, n))
    pairs = pairs + pairs.transpose(0, 2, 1) + slope * np.arange(layers)[:, None, None]
    pairs[:, range(n), range(n)] = 0
    return np.asarray(pairs.sum(axis=2).T / (n - 1))


def test_a_trend_is_the_mean_slope() -> None:
    trend = find_trend([[0, 1, 2], [0, 2, 4], [0, -1, -2], [5, 5, 5]], pairs=False)
    assert (trend.slope, trend.rising, trend.units) == (0.5, 2, 4)
    low, high = trend.interval  # where units are independent, the usual interval of a mean
    expected = stats.ttest_1samp([1, 2, -1, 0], 0)
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert trend.p_value == pytest.approx(float(expected.pvalue))


def test_the_jackknife_leaves_a_language_and_its_pairs_out() -> None:
    generator = np.random.default_rng(6)
    pairs = generator.random((4, 7, 7))  # (layers, n, n)
    pairs = pairs + pairs.transpose(0, 2, 1)

    def slope(kept: list[int]) -> float:
        means = [layer[np.ix_(kept, kept)][np.triu_indices(len(kept), k=1)].mean() for layer in pairs]
        return float(np.polyfit(range(4), means, deg=1)[0])

    without = np.array([slope([other for other in range(7) if other != left]) for left in range(7)])
    error = math.sqrt(6 / 7 * ((without - without.mean()) ** 2).sum())
    others = ~np.eye(7, dtype=bool)
    trend = find_trend([[layer[row, others[row]].mean() for layer in pairs] for row in range(7)])
    assert trend.slope == pytest.approx(slope(list(range(7))))
    assert trend.interval[1] - trend.slope == pytest.approx(stats.t.ppf(0.975, 6) * error)
    assert trend.slope - trend.interval[0] == pytest.approx(stats.t.ppf(0.975, 6) * error)


def test_the_interval_of_pairs_holds_the_slope_in_95_of_100_cases() -> None:
    generator = np.random.default_rng(8)
    trends = [find_trend(draw_ious(generator, 20, 6, slope=0.3)) for _ in range(300)]
    assert 0.92 < np.mean([low < 0.3 < high for low, high in (trend.interval for trend in trends)]) < 0.98


def test_pages_test_sees_trends_in_languages_means_where_there_are_none() -> None:
    """The 29 % and 5 % of docs/findings.md."""
    generator = np.random.default_rng(0)
    ours, pages = [], []
    for _ in range(2_000):
        values = draw_ious(generator, 20, 6, slope=0)
        trend = find_trend(values)
        ours.append(trend.p_value)
        pages.append(2 * stats.page_trend_test(values if trend.slope >= 0 else values[:, ::-1]).pvalue)
    assert 0.04 < np.mean(np.array(ours) <= 0.05) < 0.06
    assert 0.27 < np.mean(np.array(pages) <= 0.05) < 0.31


@pytest.mark.parametrize("slope", [0.5, -0.5])
def test_a_trend_of_either_direction_is_found(slope: float) -> None:
    trend = find_trend(draw_ious(np.random.default_rng(0), 12, 24, slope))
    assert trend.slope == pytest.approx(slope, abs=0.2)
    assert trend.p_value < 1e-3
    assert trend.rising == (12 if slope > 0 else 0)


@pytest.mark.parametrize(
    ("units", "layers", "pairs", "slope", "interval"),
    [
        (5, 1, True, False, False),
        (5, 2, True, True, True),
        (1, 4, False, True, False),
        (2, 4, True, True, False),
        (2, 4, False, True, True),
        (3, 3, True, True, True),
    ],
)
def test_little_data_gives_nan_where_nothing_can_be_said(
    units: int, layers: int, pairs: bool, slope: bool, interval: bool
) -> None:
    trend = find_trend(np.random.default_rng(0).normal(size=(units, layers)), pairs=pairs)
    assert math.isfinite(trend.slope) == slope
    assert [math.isfinite(number) for number in (*trend.interval, trend.p_value)] == [interval] * 3


def test_units_that_never_change_do_not_rise() -> None:
    trend = find_trend(np.full((4, 3), 0.1))
    assert (trend.slope, trend.interval, trend.p_value, trend.rising) == (0, (0, 0), 1, 0)


@pytest.mark.parametrize("values", [[], [1, 2, 3], [[1, np.nan]], [[]]])
def test_find_trend_refuses_what_is_no_table_of_numbers(values: Any) -> None:
    with pytest.raises(NeuronspecError, match="expected finite numbers"):
        find_trend(values)


@pytest.mark.parametrize("values", [[["low", "high"]], [[0.5, None]], [[1, 2], [1]], None])
def test_find_trend_refuses_what_are_no_numbers(values: Any) -> None:
    with pytest.raises(NeuronspecError, match="the values must be numbers"):
        find_trend(values)
