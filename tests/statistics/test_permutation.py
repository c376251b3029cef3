import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.permutation import adjusted_rand, correlate, find_trend, mantel, separate, silhouette

GOLDEN = Path(__file__).parent / "golden"
MANTEL = json.loads((GOLDEN / "mantel.json").read_text(encoding="utf-8"))["cases"]
GROUPS = json.loads((GOLDEN / "groups.json").read_text(encoding="utf-8"))
SEEDS = st.integers(0, 2**32 - 1)


def draw_distances(generator: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Euclidean distances of random points in the plane."""
    points = generator.normal(size=(n, 2))
    return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=-1))


def draw_ious(generator: np.random.Generator, n: int, layers: int, slope: float) -> NDArray[np.float64]:
    """(n, layers): each language's mean over its pairs, of values with an effect of each language and pair."""
    languages = generator.normal(size=(layers, n))
    pairs = languages[:, :, None] + languages[:, None, :] + 0.2 * generator.normal(size=(layers, n, n))
    pairs = pairs + pairs.transpose(0, 2, 1) + slope * np.arange(layers)[:, None, None]
    pairs[:, range(n), range(n)] = 0
    return np.asarray(pairs.sum(axis=2).T / (n - 1))


@pytest.mark.parametrize("method", ["pearson", "spearman"])
@pytest.mark.parametrize("case", MANTEL, ids=[case["name"] for case in MANTEL])
def test_mantel_agrees_with_scikit_bio(case: dict[str, Any], method: Any) -> None:
    golden = case[method]
    found = mantel(case["first"], case["second"], method=method)
    assert found.r == pytest.approx(golden["r"], abs=1e-12)
    error = math.sqrt(golden["p_greater"] * (1 - golden["p_greater"]) * (1 / 9_999 + 1 / 19_999))
    assert found.p_value == pytest.approx(golden["p_greater"], abs=4 * error)


def test_a_mantel_test_of_few_objects_is_exact() -> None:
    (case,) = (case for case in MANTEL if "exact_p" in case)
    for alternative, sign in (("greater", 1), ("less", -1)):
        found = mantel(sign * np.array(case["first"]), case["second"], seed=3, permutations=119)
        assert found.p_value == pytest.approx(case["exact_p"][alternative], abs=1e-15)
        assert found.permutations == 119
        assert mantel(case["first"], case["second"], permutations=118).permutations == 118  # no longer all of them


@pytest.mark.parametrize("case", MANTEL, ids=[case["name"] for case in MANTEL])
def test_a_partial_mantel_correlates_the_residuals_of_a_regression(case: dict[str, Any]) -> None:
    first, second, control = (case[name] for name in ("first", "second", "control"))
    found = mantel(first, second, controls=[control], permutations=99)
    assert found.r == pytest.approx(case["partial_r"], abs=1e-12)
    repeated = mantel(first, second, controls=[control, np.array(control) * 2, np.ones_like(control)], permutations=99)
    assert repeated.r == pytest.approx(found.r, abs=1e-9)  # what is said twice, or says nothing, changes nothing
    assert repeated.p_value == pytest.approx(found.p_value, abs=0.011)


def test_controls_take_a_confound_away() -> None:
    generator = np.random.default_rng(5)
    plain, partial = [], []
    for _ in range(40):
        control, first, second = (draw_distances(generator, 25) for _ in range(3))
        first, second = control + 0.3 * first, control + 0.3 * second
        plain.append(mantel(first, second, permutations=19).r)
        partial.append(mantel(first, second, controls=[control], permutations=19).r)
    assert min(plain) > 0.7
    assert abs(np.mean(partial)) < 0.03
    assert max(map(abs, partial)) < 0.4


@pytest.mark.parametrize("controlled", [False, True])
def test_mantel_is_calibrated(controlled: bool) -> None:
    generator = np.random.default_rng(11)
    p_values = []
    for seed in range(300):
        control, first, second = (draw_distances(generator, 15) for _ in range(3))
        if controlled:
            first, second = first + control, second + control
        p_values.append(mantel(first, second, controls=[control] * controlled, permutations=199, seed=seed).p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_mantel_finds_what_is_there_on_either_side() -> None:
    generator = np.random.default_rng(2)
    first = draw_distances(generator, 15)
    second = first + 0.5 * draw_distances(generator, 15)
    assert mantel(first, second).p_value < 0.01
    assert mantel(first, 1 - second).p_value > 0.99  # similarities are negative distances
    assert mantel(-first, 1 - second).p_value < 0.01


@given(SEEDS, st.permutations(range(6)))
@settings(max_examples=25)
def test_the_order_of_the_objects_does_not_matter(seed: int, order: list[int]) -> None:
    generator = np.random.default_rng(seed)
    matrices = [draw_distances(generator, 6) for _ in range(3)]
    moved = [matrix[np.ix_(order, order)] for matrix in matrices]
    groups = generator.integers(0, 3, 6)
    for method in ("pearson", "spearman"):
        before, after = (
            mantel(first, second, controls=[control], method=method, permutations=719)  # all orders: no chance
            for first, second, control in (matrices, moved)
        )
        assert after.r == pytest.approx(before.r, abs=1e-9)
        assert after.p_value == pytest.approx(before.p_value, abs=1e-9)
    before_groups, after_groups = (
        separate(matrix, list(names), permutations=719)
        for matrix, names in ((matrices[0], groups), (moved[0], groups[order]))
    )
    assert vars(after_groups) == pytest.approx(vars(before_groups), abs=1e-9, nan_ok=True)


@given(SEEDS, st.floats(0.1, 10), st.floats(-5, 5))
@settings(max_examples=25)
def test_scale_and_offset_do_not_matter_to_mantel(seed: int, scale: float, offset: float) -> None:
    generator = np.random.default_rng(seed)
    first, second = (draw_distances(generator, 8) for _ in range(2))
    one, other = (mantel(matrix, second, permutations=99) for matrix in (first, scale * first + offset))
    assert other.r == pytest.approx(one.r, abs=1e-9)
    assert other.p_value == one.p_value


def test_equal_seeds_give_equal_results_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    first, second = (draw_distances(generator, 12) for _ in range(2))
    groups = list("aaabbbcccddd")
    found = mantel(first, second), separate(first, groups, 999)
    assert (mantel(first, second), separate(first, groups, 999)) == found
    assert mantel(first, second, seed=1).p_value != found[0].p_value
    monkeypatch.setattr("neuronspec.statistics.permutation.BLOCK", 1_000)
    assert (mantel(first, second), separate(first, groups, 999)) == found


def test_unknown_objects_are_left_out() -> None:
    generator = np.random.default_rng(9)
    first, second, control = (draw_distances(generator, 9) for _ in range(3))
    known = [0, 1, 2, 4, 5, 6, 8]
    expected = mantel(*(matrix[np.ix_(known, known)] for matrix in (first, second)), permutations=99)
    second[3] = second[:, 3] = np.nan
    first[7, 7] = np.nan
    assert mantel(first, second, permutations=99) == expected
    assert expected.n == 7
    first[:, 7] = first[7] = np.nan
    assert mantel(second, control, controls=[first]).n == 7


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_objects_have_no_correlation(n: int) -> None:
    found = mantel(np.ones((n, n)), np.eye(n))
    assert (math.isnan(found.r), math.isnan(found.p_value), found.n) == (True, True, n)
    assert mantel(np.full((3, 3), np.nan), np.eye(3)).n == 0


def test_correlate_is_the_correlation_of_the_pairs() -> None:
    generator = np.random.default_rng(3)
    first, second = (draw_distances(generator, 8) for _ in range(2))
    rows, columns = np.tril_indices(8, k=-1)
    expected = float(np.corrcoef(first[rows, columns], second[rows, columns])[0, 1])
    assert correlate(first, second) == pytest.approx(expected, abs=1e-12)
    assert math.isnan(correlate(first, np.ones((8, 8))))


def test_a_constant_matrix_has_no_correlation() -> None:
    distances = draw_distances(np.random.default_rng(0), 6)
    constant = np.full((6, 6), 0.3)
    for found in (
        mantel(distances, constant),
        mantel(constant, distances),
        mantel(distances, distances.T, controls=[2 * distances + 1]),  # the control leaves nothing
    ):
        assert math.isnan(found.r)
        assert math.isnan(found.p_value)


@pytest.mark.parametrize(
    ("arguments", "options", "reason"),
    [
        ((np.eye(3), np.eye(4)), {}, r"shapes \(3, 3\), \(4, 4\), expected the same objects"),
        ((np.eye(3), np.eye(3)), {"controls": [np.eye(4)]}, r"\(3, 3\), \(3, 3\), \(4, 4\)"),
        ((np.ones((3, 4)),) * 2, {}, r"shape \(3, 4\)"),
        (([], []), {}, r"shape \(0,\)"),
        (([[0, 1, 2], [1, 0, np.nan], [2, np.nan, 0]], np.eye(3)), {}, "not finite"),
        (([[0, 1, 2], [1, 0, 3], [2, 4, 0]], np.eye(3)), {}, "not symmetric"),
        ((np.eye(3), np.eye(3)), {"method": "kendall"}, "method 'kendall', expected one of pearson, spearman"),
        ((np.eye(3), np.eye(3)), {"permutations": 0}, "permutations must be whole numbers from 1 on, not 0"),
        ((np.eye(3), np.eye(3)), {"permutations": 9.0}, "permutations must be whole numbers from 1 on, not 9.0"),
        ((np.eye(2), np.eye(2)), {"seed": -1}, "seed must be whole numbers from 0 on, not -1"),
        (([[0, "far"], ["far", 0]], np.eye(2)), {}, "a matrix must be numbers, found text"),
        ((np.eye(2), [[0, None], [None, 0]]), {}, "a matrix must be numbers"),
        ((np.eye(2), [[0, 1], [1]]), {}, "in rows of the same length"),
        ((np.eye(2), None), {}, "a matrix must be numbers"),
    ],
)
def test_mantel_refuses_what_it_cannot_compare(arguments: Any, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(NeuronspecError, match=reason):
        mantel(*arguments, **options)


@pytest.mark.parametrize("case", GROUPS["silhouettes"])
def test_silhouettes_agree_with_scikit_learn(case: dict[str, Any]) -> None:
    found = silhouette(case["distances"], case["groups"])
    np.testing.assert_allclose(found, case["silhouette"], rtol=0, atol=1e-12)


def test_silhouettes_do_not_look_at_the_diagonal() -> None:
    distances, groups = draw_distances(np.random.default_rng(1), 6), list("aabbbc")
    np.testing.assert_array_equal(silhouette(distances + 9 * np.eye(6), groups), silhouette(distances, groups))


@pytest.mark.parametrize("groups", ["aaaa", "abcd"])
def test_one_group_or_only_single_objects_have_no_silhouette(groups: str) -> None:
    distances = draw_distances(np.random.default_rng(1), 4)
    assert np.isnan(silhouette(distances, list(groups))).all()
    found = separate(distances, list(groups))
    assert all(map(math.isnan, (found.silhouette, found.p_value, found.least_p_value)))


def test_separate_leaves_single_objects_out_of_the_mean() -> None:
    distances = draw_distances(np.random.default_rng(3), 7)
    groups = list("aabbbcd")
    assert separate(distances, groups).silhouette == pytest.approx(silhouette(distances, groups)[:5].mean(), abs=1e-12)


def test_separate_counts_every_grouping_of_few_objects() -> None:
    points = np.array([0.0, 0.1, 0.2, 5.0, 5.1, 5.2])
    distances = np.abs(points[:, None] - points)
    found = separate(distances, list("aaabbb"))
    assert found.p_value == pytest.approx(2 * 36 / 720)  # of 6! orders, those that keep the groups or swap them
    assert found.least_p_value == found.p_value


@pytest.mark.parametrize(
    ("groups", "least"), [("aabbcc", 1 / 15), ("aaabbb", 1 / 10), ("aaaaab", 1 / 6), ("aabcd", 1 / 10)]
)
def test_few_objects_in_few_groups_can_show_little(groups: str, least: float) -> None:
    generator = np.random.default_rng(12)
    for _ in range(5):
        found = separate(draw_distances(generator, len(groups)), list(groups))
        assert found.least_p_value == pytest.approx(least)
        assert found.p_value >= found.least_p_value
    together = np.equal.outer(list(groups), list(groups))
    assert separate(1 - 0.5 * together, list(groups)).p_value == pytest.approx(least)


def test_the_least_p_value_of_more_objects_is_that_of_the_orders_tried() -> None:
    distances = draw_distances(np.random.default_rng(13), 20)
    found = separate(distances, ["lone", *["related"] * 19])  # one order in twenty keeps the lone one where it is
    assert found.least_p_value == pytest.approx(1 / 20, abs=4 * math.sqrt(0.05 * 0.95 / 9_999))
    assert separate(distances, list("abcde" * 4), 99).least_p_value == 1 / 100


def test_separate_finds_groups_that_are_there_and_is_calibrated_where_none_are() -> None:
    generator = np.random.default_rng(4)
    groups = list("aaaabbbbccccde")
    p_values = [separate(draw_distances(generator, 14), groups, 199, seed).p_value for seed in range(300)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    together = np.equal.outer(groups, groups)
    assert separate(draw_distances(generator, 14) + 1 - 0.9 * together, groups).p_value < 0.01


@pytest.mark.parametrize(
    ("distances", "groups", "reason"),
    [
        ([[0, 1], [1, 0]], ["a"], "found 1 groups for 2 objects"),
        ([[0, -1], [-1, 0]], ["a", "b"], r"found the distance -1\.0, expected 0 or more"),
        ([[0, 1, 2]], ["a"], r"shape \(1, 3\)"),
        ([], [], "shape"),
        ([[0, 1], [1, 0]], None, "found no groups for 2 objects"),
        ([[0, 1], [1, 0]], ["a", None], "found None for a group"),
        ([[0, "far"], ["far", 0]], ["a", "b"], "the distances must be numbers, found text"),
        ([[0, None], [None, 0]], ["a", "b"], "the distances must be numbers"),
    ],
)
def test_groups_that_do_not_fit_are_refused(distances: Any, groups: list[str], reason: str) -> None:
    for function in (silhouette, separate):
        with pytest.raises(NeuronspecError, match=reason):
            function(distances, groups)


@pytest.mark.parametrize("options", [{"seed": -1}, {"seed": 1.5}, {"permutations": 0}, {"permutations": math.nan}])
@pytest.mark.parametrize("groups", [["a", "a", "b"], ["a", "a", "a"]])
def test_separate_refuses_what_is_no_number_of_draws_or_seed(options: dict[str, Any], groups: list[str]) -> None:
    with pytest.raises(NeuronspecError, match=f"{next(iter(options))} must be whole numbers from"):
        separate(1 - np.eye(3), groups, **options)


def is_vacuous(grouping: Sequence[object]) -> bool:
    """Every object is alone, or all are together."""
    return len(set(grouping)) in (1, len(grouping))


@pytest.mark.parametrize(
    "case", [one for one in GROUPS["groupings"] if not (is_vacuous(one["first"]) or is_vacuous(one["second"]))]
)
def test_adjusted_rand_agrees_with_scikit_learn(case: dict[str, Any]) -> None:
    assert adjusted_rand(case["first"], case["second"]) == pytest.approx(case["adjusted_rand"], abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_adjusted_rand_is_symmetric_at_most_one_and_blind_to_names(pairs: list[tuple[int, int]]) -> None:
    first, second = zip(*pairs, strict=True)
    score = adjusted_rand(first, second)
    assert math.isnan(score) == (is_vacuous(first) or is_vacuous(second))
    assert not score > 1
    assert adjusted_rand(second, first) == pytest.approx(score, nan_ok=True)
    assert adjusted_rand([f"group {9 - group}" for group in first], second) == pytest.approx(score, nan_ok=True)
    assert is_vacuous(first) or adjusted_rand(first, first) == 1


def test_adjusted_rand_refuses_groupings_of_other_objects() -> None:
    with pytest.raises(NeuronspecError, match="groups for 2 and 1 objects"):
        adjusted_rand("ab", "a")


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
    """The 29 % and 5 % of docs/analysis.md."""
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
