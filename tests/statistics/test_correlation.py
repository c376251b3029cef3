import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.correlation import correlate, mantel
from neuronspec.statistics.separation import separate

GOLDEN = Path(__file__).parent / "golden"


MANTEL = json.loads((GOLDEN / "mantel.json").read_text(encoding="utf-8"))["cases"]


SEEDS = st.integers(0, 2**32 - 1)


def draw_distances(generator: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Euclidean distances of random points in the plane."""
    points = generator.normal(size=(n, 2))
    return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=-1))


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
    monkeypatch.setattr("neuronspec.statistics.draws.BLOCK", 1_000)
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
