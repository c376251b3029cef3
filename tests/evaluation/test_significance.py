from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest
from scipy.stats import kstest, ttest_1samp

from neuronspec.errors import NeuronspecError
from neuronspec.evaluation import significance
from neuronspec.evaluation.metrics import METRICS
from neuronspec.evaluation.significance import (
    Comparison,
    FloatArray,
    benjamini_hochberg,
    holm,
    paired_approximate_randomization,
    paired_bootstrap,
)

WORDS = "the a cat dog sat ran on under mat tree and then slowly away"
TESTS = [paired_approximate_randomization, paired_bootstrap]
each_test = pytest.mark.parametrize("compare", TESTS)


def average(sums: FloatArray) -> FloatArray:
    """The simplest metric: rows are (value, 1), the score is the mean value."""
    return sums[..., 0] / sums[..., 1]


def make_rows(values: FloatArray) -> FloatArray:
    return np.stack([values, np.ones_like(values)], axis=1)


def make_translations(seed: int, noises: list[float], sentences: int = 60) -> list[list[str]]:
    """References, and for each noise a system that garbles that share of the words."""
    draw, vocabulary = random.Random(seed), WORDS.split()
    references = [" ".join(draw.choices(vocabulary, k=draw.randint(5, 15))) for _ in range(sentences)]
    return [references] + [
        [" ".join(draw.choice(vocabulary) if draw.random() < n else w for w in r.split()) for r in references]
        for n in noises
    ]


@each_test
@pytest.mark.parametrize("name", METRICS)
def test_r12_identical_systems_give_p_1(compare: Callable[..., Comparison], name: str) -> None:
    references, hypotheses = make_translations(0, [0.3])
    rows = METRICS[name].statistics(hypotheses, references, "en")
    comparison = compare(rows, rows.copy(), METRICS[name].score, trials=500)
    assert comparison.p_value == 1.0
    assert comparison.difference == 0.0
    assert comparison.interval in (None, (0.0, 0.0))


@each_test
def test_r12_p_values_are_uniform_under_the_null(compare: Callable[..., Comparison]) -> None:
    draw = np.random.default_rng(7)
    p_values = []
    for seed in range(200):
        shared = draw.normal(size=80)  # some sentences are hard for both systems
        baseline, system = (make_rows(shared + draw.normal(size=80)) for _ in range(2))
        p_values.append(compare(baseline, system, average, trials=499, seed=seed).p_value)
    assert kstest(p_values, "uniform").pvalue > 0.05
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.04)


@each_test
def test_r12_p_values_of_a_group_are_uniform_under_the_null(compare: Callable[..., Comparison]) -> None:
    draw = np.random.default_rng(8)
    p_values = []
    for seed in range(200):
        sizes, scales = [40, 90, 60], [1.0, 5.0, 0.2]
        baselines, systems = (
            [make_rows(scale * draw.normal(size=n)) for n, scale in zip(sizes, scales, strict=True)] for _ in range(2)
        )
        p_values.append(compare(baselines, systems, average, trials=299, seed=seed).p_value)
    assert kstest(p_values, "uniform").pvalue > 0.05


@each_test
@pytest.mark.parametrize("name", METRICS)
def test_a_clear_difference_is_significant(compare: Callable[..., Comparison], name: str) -> None:
    references, poor, good = make_translations(1, [0.6, 0.1])
    metric = METRICS[name]
    baseline, system = (metric.statistics(h, references, "en") for h in (poor, good))
    comparison = compare(baseline, system, metric.score, trials=999)
    assert comparison.p_value == 1 / 1000
    assert (comparison.difference > 0) == metric.higher_is_better
    assert comparison.baseline == pytest.approx(float(metric.score(baseline.sum(axis=0))))
    assert comparison.system == pytest.approx(float(metric.score(system.sum(axis=0))))
    assert comparison.difference == comparison.system - comparison.baseline


@each_test
def test_p_values_agree_with_the_t_test_on_normal_data(compare: Callable[..., Comparison]) -> None:
    draw = np.random.default_rng(3)
    gains = draw.normal(size=400)
    gains += 0.08 - gains.mean()
    values = draw.normal(size=400)
    comparison = compare(make_rows(values), make_rows(values + gains), average, trials=20_000)
    golden = float(ttest_1samp(gains, 0).pvalue)
    assert 0.05 < golden < 0.2
    assert comparison.p_value == pytest.approx(golden, abs=0.01)


def test_randomization_agrees_with_all_exchanges() -> None:
    draw = np.random.default_rng(11)
    baseline, system = draw.integers(0, 10, size=(2, 9)).astype(float)
    observed = abs((system - baseline).mean())
    exact = np.mean(
        [abs(np.mean(np.array(signs) * (system - baseline))) >= observed - 1e-12
         for signs in itertools.product([1, -1], repeat=9)]
    )  # fmt: skip
    comparison = paired_approximate_randomization(make_rows(baseline), make_rows(system), average, trials=40_000)
    assert comparison.p_value == pytest.approx(float(exact), abs=4 * np.sqrt(0.25 / 40_000))


def test_ties_count_as_reaching_the_difference() -> None:
    # Exchanging the only sentence gives +1 or -1, never less than the observed 1: sacrebleu's strict rule
    # would give the smallest p-value here.
    comparison = paired_approximate_randomization(
        make_rows(np.array([0.0])), make_rows(np.array([1.0])), average, trials=99
    )
    assert comparison.p_value == 1.0


@pytest.mark.parametrize("seed", [5, 8, 11, 13])
def test_randomization_agrees_with_sacrebleu(seed: int) -> None:
    references, one, other = make_translations(seed, [0.30, 0.33], sentences=80)
    systems = [("baseline", one), ("system", other)]
    trials = 2_000
    scorer = {"BLEU": BLEU()}
    _, results = PairedTest(systems, scorer, [references], test_type="ar", n_samples=trials)()
    golden = results["BLEU"][1].p_value
    bleu = METRICS["bleu"]
    comparison = paired_approximate_randomization(
        bleu.statistics(one, references, "en"), bleu.statistics(other, references, "en"), bleu.score, trials
    )
    assert 0.01 < golden < 0.99
    error = np.sqrt(2 * golden * (1 - golden) / trials)  # of the difference of two Monte-Carlo estimates
    assert comparison.p_value == pytest.approx(golden, abs=4 * error)


def test_bootstrap_interval_is_that_of_the_normal_distribution() -> None:
    draw = np.random.default_rng(4)
    gains = draw.normal(0.5, 2.0, size=500)
    values = draw.normal(size=500)
    for confidence, z in [(0.95, 1.959964), (0.68, 0.994458)]:
        comparison = paired_bootstrap(
            make_rows(values), make_rows(values + gains), average, trials=20_000, confidence=confidence
        )
        half = z * gains.std() / np.sqrt(500)
        assert comparison.interval == pytest.approx((gains.mean() - half, gains.mean() + half), abs=0.01)


def test_a_group_is_compared_by_the_mean_over_its_test_sets() -> None:
    draw = np.random.default_rng(5)
    baselines = [make_rows(draw.normal(size=n)) for n in (10, 200)]
    systems = [rows + np.array([gain, 0.0]) for rows, gain in zip(baselines, (3.0, 1.0), strict=True)]
    comparison = paired_approximate_randomization(baselines, systems, average, trials=999)
    assert comparison.difference == pytest.approx(2.0)  # not the 1.1 of the pooled sentences
    assert comparison.baseline == pytest.approx(np.mean([rows[:, 0].mean() for rows in baselines]))
    assert comparison.p_value == 1 / 1000


def test_a_group_finds_what_no_single_test_set_can_show() -> None:
    draw = np.random.default_rng(6)
    baselines = [make_rows(draw.normal(size=50)) for _ in range(20)]
    systems = [rows + make_rows(draw.normal(0.2, 1.0, size=50)) * [1, 0] for rows in baselines]
    singly = [
        paired_approximate_randomization(one, other, average, trials=999).p_value
        for one, other in zip(baselines, systems, strict=True)
    ]
    together = paired_approximate_randomization(baselines, systems, average, trials=999).p_value
    assert np.median(singly) > 0.05
    assert together < 0.01


@each_test
def test_a_group_of_one_is_the_test_set_itself(compare: Callable[..., Comparison]) -> None:
    draw = np.random.default_rng(9)
    baseline, system = (make_rows(draw.normal(size=30)) for _ in range(2))
    assert compare([baseline], [system], average, 200) == compare(baseline, system, average, 200)


@each_test
def test_the_seed_decides_the_outcome(compare: Callable[..., Comparison]) -> None:
    draw = np.random.default_rng(10)
    baseline, system = (make_rows(draw.normal(size=50)) for _ in range(2))
    first = compare(baseline, system, average, 500)
    assert compare(baseline, system, average, 500, seed=0) == first
    assert len({compare(baseline, system, average, 500, seed=seed).p_value for seed in range(5)}) > 1


@each_test
def test_chunks_cover_every_trial(compare: Callable[..., Comparison], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(significance, "CHUNK_CELLS", 100)  # 30 sentences: 3 trials a chunk, the last has 1
    seen = []

    def watched(sums: FloatArray) -> FloatArray:
        seen.append(sums.shape)
        return average(sums)

    rows = make_rows(np.random.default_rng(0).normal(size=30))
    comparison = compare(rows, rows + np.array([5.0, 0.0]), watched, trials=100)
    assert comparison.p_value == 1 / 101
    assert max(shape[0] for shape in seen if len(shape) == 2) == 3
    assert sum(shape[0] for shape in seen if len(shape) == 2) == 2 * 100


@each_test
def test_ten_thousand_trials_take_seconds(compare: Callable[..., Comparison]) -> None:
    draw = np.random.default_rng(0)
    chrf = METRICS["chrf"]
    references, one, other = make_translations(2, [0.2, 0.25])
    rows = [np.tile(chrf.statistics(h, references, "en"), (34, 1))[:2000] for h in (one, other)]
    shuffled = [r[draw.permutation(2000)] for r in rows]
    start = time.perf_counter()
    comparison = compare(shuffled[0], shuffled[1], chrf.score)
    assert comparison.trials == 10_000
    assert time.perf_counter() - start < 10


values = st.integers(min_value=1, max_value=30).flatmap(
    lambda n: st.tuples(*[arrays(np.float64, n, elements=st.integers(-9, 9).map(float))] * 2)
)


@each_test
@settings(max_examples=40, deadline=None)
@given(pair=values)
def test_properties_of_a_comparison(compare: Callable[..., Comparison], pair: tuple[FloatArray, FloatArray]) -> None:
    baseline, system = (make_rows(v) for v in pair)
    there, back = compare(baseline, system, average, 50), compare(system, baseline, average, 50)
    assert 1 / 51 <= there.p_value <= 1.0
    assert there.difference == -back.difference
    assert there.p_value == back.p_value  # two-sided
    if there.interval is not None and back.interval is not None:
        assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]), abs=1e-12)


def test_comparisons_refuse_what_does_not_fit() -> None:
    rows = make_rows(np.arange(4.0))
    for baseline, system in [(rows, rows[:3]), (rows[:, 0], rows[:, 0]), (rows[:0], rows[:0])]:
        with pytest.raises(NeuronspecError, match=r"both must be \(sentences, S\)"):
            paired_approximate_randomization(baseline, system, average)
    with pytest.raises(NeuronspecError, match="2 test sets and the system 1"):
        paired_bootstrap([rows, rows], [rows], average)
    with pytest.raises(NeuronspecError, match="0 test sets"):
        paired_bootstrap([], [], average)
    with pytest.raises(NeuronspecError, match="trials is 0"):
        paired_approximate_randomization(rows, rows, average, trials=0)
    with pytest.raises(NeuronspecError, match=r"confidence is 95"):
        paired_bootstrap(rows, rows, average, confidence=95)


@each_test
def test_nan_is_refused_rather_than_significant(compare: Callable[..., Comparison]) -> None:
    rows = make_rows(np.array([1.0, np.nan, 2.0]))
    with pytest.raises(NeuronspecError, match="not a finite number"):
        compare(rows, rows, average, trials=10)


# Adjusted by hand, in the order given.
P_VALUES = [0.01, 0.02, 0.03, 0.04, 0.05]


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm(P_VALUES), [0.05, 0.08, 0.09, 0.09, 0.09])
    np.testing.assert_allclose(holm([0.04, 0.5, 0.001, 0.6]), [0.12, 1.0, 0.004, 1.0])


def test_benjamini_hochberg_by_hand() -> None:
    np.testing.assert_allclose(benjamini_hochberg(P_VALUES), [0.05] * 5)
    np.testing.assert_allclose(benjamini_hochberg([0.04, 0.5, 0.001, 0.6]), [0.08, 0.6, 0.004, 0.6])


@given(p=st.lists(st.floats(0, 1), max_size=20))
def test_properties_of_adjusted_p_values(p: list[float]) -> None:
    raw, family_wise, false_discovery = np.array(p), holm(p), benjamini_hochberg(p)
    assert family_wise.shape == false_discovery.shape == (len(p),)
    # Never below the raw value, never above Bonferroni's; Holm is the stricter of the two.
    slack = 1e-12
    assert (raw <= false_discovery + slack).all()
    assert (false_discovery <= family_wise + slack).all()
    assert (family_wise <= np.minimum(1, raw * len(p)) + slack).all()
    order = np.argsort(raw, kind="stable")
    assert (np.diff(family_wise[order]) >= 0).all()
    assert (np.diff(false_discovery[order]) >= -slack).all()


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
@pytest.mark.parametrize("p", [[0.1, 1.2], [-0.1], [float("nan")], [[0.1, 0.2]]])
def test_adjustments_refuse_what_is_no_p_value(adjust: Callable[..., FloatArray], p: list[float]) -> None:
    with pytest.raises(NeuronspecError, match="numbers between 0 and 1"):
        adjust(p)
