import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.separation import adjusted_rand, separate, silhouette

GOLDEN = Path(__file__).parent / "golden"


GROUPS = json.loads((GOLDEN / "groups.json").read_text(encoding="utf-8"))


def draw_distances(generator: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Euclidean distances of random points in the plane."""
    points = generator.normal(size=(n, 2))
    return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=-1))


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
