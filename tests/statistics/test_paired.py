from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest as SacrebleuTest
from scipy.stats import kstest, ttest_1samp

from neuronspec.comparison.outcomes import count_outcomes
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.metric import mean_score, mean_statistics
from neuronspec.evaluation.metrics import METRICS
from neuronspec.statistics import trials as trials_module
from neuronspec.statistics.corrections import benjamini_hochberg, holm
from neuronspec.statistics.numbers import FloatArray
from neuronspec.statistics.paired import PairedTest, compare_groups, paired_approximate_randomization, paired_bootstrap

WORDS = "the a cat dog sat ran on under mat tree and then slowly away"


TESTS = [paired_approximate_randomization, paired_bootstrap]


NAMES = ["bleu", "chrf", "ter"]


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
@pytest.mark.parametrize("name", NAMES)
def test_r12_identical_systems_give_p_1(compare: Callable[..., PairedTest], name: str) -> None:
    references, hypotheses = make_translations(0, [0.3])
    rows = METRICS[name].statistics(hypotheses, references, "en")
    comparison = compare(rows, rows.copy(), METRICS[name].score, trials=500)
    assert comparison.p_value == 1.0
    assert comparison.difference == 0.0
    assert comparison.interval in (None, (0.0, 0.0))


@each_test
def test_r12_p_values_are_uniform_under_the_null(compare: Callable[..., PairedTest]) -> None:
    draw = np.random.default_rng(7)
    p_values = []
    for seed in range(200):
        shared = draw.normal(size=80)  # some sentences are hard for both systems
        baseline, system = (make_rows(shared + draw.normal(size=80)) for _ in range(2))
        p_values.append(compare(baseline, system, average, trials=499, seed=seed).p_value)
    assert kstest(p_values, "uniform").pvalue > 0.05
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.04)


@each_test
def test_r12_p_values_of_a_group_are_uniform_under_the_null(compare: Callable[..., PairedTest]) -> None:
    draw = np.random.default_rng(8)
    p_values = []
    for seed in range(200):
        sizes, scales = [40, 90, 60], [1.0, 5.0, 0.2]
        baselines, systems = (
            [make_rows(scale * draw.normal(size=n)) for n, scale in zip(sizes, scales, strict=True)] for _ in range(2)
        )
        p_values.append(compare(baselines, systems, average, trials=299, seed=seed).p_value)
    assert kstest(p_values, "uniform").pvalue > 0.05


def make_null_pairs(name: str, count: int, sentences: int) -> list[tuple[FloatArray, FloatArray]]:
    """Pairs of systems that are equally good: which one a translation belongs to is a coin's decision."""
    references, one, other = make_translations(12, [0.3, 0.3], sentences=600)
    rows = np.stack([METRICS[name].statistics(h, references, "en") for h in (one, other)])  # (2, 600, S)
    draw = np.random.default_rng(13)
    pairs = []
    for _ in range(count):
        chosen, first = draw.choice(600, size=sentences, replace=False), draw.integers(2, size=sentences)
        pairs.append((rows[first, chosen], rows[1 - first, chosen]))
    return pairs


@each_test
@pytest.mark.parametrize("name", NAMES)
def test_r12_p_values_of_corpus_scores_are_uniform_under_the_null(
    compare: Callable[..., PairedTest], name: str
) -> None:
    p_values = [
        compare(baseline, system, METRICS[name].score, trials=399, seed=seed).p_value
        for seed, (baseline, system) in enumerate(make_null_pairs(name, 300, sentences=120))
    ]
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.04)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_r12_a_grid_of_equal_directions_is_seldom_significant(adjust: Callable[[FloatArray], FloatArray]) -> None:
    draw = np.random.default_rng(14)
    found = []
    for grid in range(100):
        tests = [
            paired_approximate_randomization(
                make_rows(draw.normal(size=40)), make_rows(draw.normal(size=40)), average, 499, seed=6 * grid + number
            )
            for number in range(6)
        ]
        outcomes = count_outcomes(tests, adjust=adjust)
        found.append(outcomes.significantly_better + outcomes.significantly_worse > 0)
    assert np.mean(found) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)


@pytest.mark.parametrize("name", NAMES)
def test_r12_randomization_agrees_with_all_exchanges_of_translations(name: str) -> None:
    references, one, other = make_translations(21, [0.2, 0.4], sentences=8)
    score = METRICS[name].score
    rows = [METRICS[name].statistics(h, references, "en") for h in (one, other)]

    def differ(exchanged: tuple[bool, ...]) -> float:
        first, second = (np.where(np.array(exchanged)[:, None], *pair) for pair in (rows, rows[::-1]))
        return abs(float(score(first.sum(axis=0)) - score(second.sum(axis=0))))

    exchanges = list(itertools.product([False, True], repeat=8))
    exact = float(np.mean([differ(exchange) >= differ(exchanges[0]) - 1e-12 for exchange in exchanges]))
    assert 0.01 < exact < 0.9
    comparison = paired_approximate_randomization(rows[0], rows[1], score, trials=20_000)
    assert comparison.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))


def test_r12_randomization_of_a_group_agrees_with_all_exchanges() -> None:
    draw = np.random.default_rng(22)
    gains = [draw.integers(-4, 7, size=n).astype(float) for n in (4, 5)]
    exact = np.mean(
        [
            abs(np.mean(np.array(signs[:4]) * gains[0]) + np.mean(np.array(signs[4:]) * gains[1]))
            >= abs(gains[0].mean() + gains[1].mean()) - 1e-12
            for signs in itertools.product([1, -1], repeat=9)
        ]
    )
    baselines = [make_rows(np.zeros_like(gain)) for gain in gains]
    systems = [make_rows(gain) for gain in gains]
    comparison = paired_approximate_randomization(baselines, systems, average, trials=20_000)
    assert 0.01 < exact < 0.9
    assert comparison.p_value == pytest.approx(float(exact), abs=4 * np.sqrt(0.25 / 20_000))


def test_r12_where_sacrebleu_gives_identical_systems_its_smallest_p_value() -> None:
    references, hypotheses, better = make_translations(23, [0.3, 0.3])
    one_sentence = [better[0], *hypotheses[1:]]  # differs in a single sentence: every exchange ties
    assert one_sentence != hypotheses
    bleu, trials = METRICS["bleu"], 199
    for system in (list(hypotheses), one_sentence):
        named = [("baseline", hypotheses), ("system", system)]
        _, results = SacrebleuTest(named, {"BLEU": BLEU()}, [references], test_type="ar", n_samples=trials)()
        rows = [bleu.statistics(h, references, "en") for h in (hypotheses, system)]
        assert results["BLEU"][1].p_value == 1 / (trials + 1)
        assert paired_approximate_randomization(rows[0], rows[1], bleu.score, trials).p_value == 1.0


@each_test
@pytest.mark.parametrize("name", NAMES)
def test_a_clear_difference_is_significant(compare: Callable[..., PairedTest], name: str) -> None:
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
def test_p_values_agree_with_the_t_test_on_normal_data(compare: Callable[..., PairedTest]) -> None:
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
    _, results = SacrebleuTest(systems, scorer, [references], test_type="ar", n_samples=trials)()
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
def test_a_group_of_one_is_the_test_set_itself(compare: Callable[..., PairedTest]) -> None:
    draw = np.random.default_rng(9)
    baseline, system = (make_rows(draw.normal(size=30)) for _ in range(2))
    assert compare([baseline], [system], average, 200) == compare(baseline, system, average, 200)


@each_test
def test_the_seed_decides_the_outcome(compare: Callable[..., PairedTest]) -> None:
    draw = np.random.default_rng(10)
    baseline, system = (make_rows(draw.normal(size=50)) for _ in range(2))
    first = compare(baseline, system, average, 500)
    assert compare(baseline, system, average, 500, seed=0) == first
    assert len({compare(baseline, system, average, 500, seed=seed).p_value for seed in range(5)}) > 1


@each_test
@pytest.mark.parametrize("seed", [0, 1, 12345, 2**31, 2**64 + 1])
def test_every_seed_is_honoured(compare: Callable[..., PairedTest], seed: int) -> None:
    draw = np.random.default_rng(10)
    baseline, system = (make_rows(draw.normal(size=50)) for _ in range(2))
    first = compare(baseline, system, average, 500, seed=seed)
    assert all(compare(baseline, system, average, 500, seed=seed) == first for _ in range(3))
    others = [compare(baseline, system, average, 500, seed=seed + step).p_value for step in range(1, 4)]
    assert set(others) != {first.p_value}
    with pytest.raises(NeuronspecError, match="seed is -1"):
        compare(baseline, system, average, 500, seed=-1)


def test_randomization_gives_the_interval_of_the_bootstrap_when_asked() -> None:
    references, poor, good = make_translations(24, [0.4, 0.3])
    chrf = METRICS["chrf"]
    one, other = (chrf.statistics(h, references, "en") for h in (poor, good))
    for seed, confidence in [(0, 0.95), (3, 0.5)]:
        plain = paired_approximate_randomization([one, one[:20]], [other, other[:20]], chrf.score, 300, seed)
        asked = paired_approximate_randomization(
            [one, one[:20]], [other, other[:20]], chrf.score, 300, seed, confidence=confidence
        )
        bootstrap = paired_bootstrap([one, one[:20]], [other, other[:20]], chrf.score, 300, seed, confidence)
        assert (plain.interval, plain.effect) == (None, None)
        assert asked.p_value == plain.p_value  # the interval's draws are their own
        assert asked.interval is not None
        assert (asked.interval, asked.effect) == (bootstrap.interval, bootstrap.effect)
        assert asked.interval[0] < asked.difference < asked.interval[1]
    with pytest.raises(NeuronspecError, match="confidence is 1"):
        paired_approximate_randomization(one, other, chrf.score, confidence=1)


def test_the_effect_is_the_difference_in_standard_errors() -> None:
    draw = np.random.default_rng(25)
    gains, values = draw.normal(0.2, 2.0, size=400), draw.normal(size=400)
    comparison = paired_bootstrap(make_rows(values), make_rows(values + gains), average, trials=20_000)
    golden = gains.mean() / (gains.std() / np.sqrt(400))
    assert comparison.effect == pytest.approx(golden, rel=0.02)
    # It has no unit: percent in place of shares change nothing.
    in_percent = paired_bootstrap(make_rows(100 * values), make_rows(100 * (values + gains)), average, trials=20_000)
    assert in_percent.effect == pytest.approx(comparison.effect)
    steady = [paired_bootstrap(make_rows(values), make_rows(values + gain), average, 50).effect for gain in (0, 1, -1)]
    assert steady == [0.0, math.inf, -math.inf]


@each_test
def test_scores_of_another_tool_are_compared_sentence_by_sentence(compare: Callable[..., PairedTest]) -> None:
    draw = np.random.default_rng(26)
    comet = draw.beta(8, 2, size=300)
    better = np.clip(comet + draw.normal(0.01, 0.05, size=300), 0, 1)
    comparison = compare(mean_statistics(comet), mean_statistics(better), mean_score, trials=5_000)
    assert comparison.difference == pytest.approx(better.mean() - comet.mean())
    assert comparison.p_value == pytest.approx(float(ttest_1samp(better - comet, 0).pvalue), abs=0.01)
    assert compare(mean_statistics(comet), mean_statistics(comet), mean_score, trials=100).p_value == 1.0


@each_test
def test_chunks_cover_every_trial(compare: Callable[..., PairedTest], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials_module, "CHUNK_CELLS", 100)  # 30 sentences: 3 trials a chunk, the last has 1
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
def test_ten_thousand_trials_are_scored_in_blocks(compare: Callable[..., PairedTest]) -> None:
    draw = np.random.default_rng(0)
    chrf = METRICS["chrf"]
    references, one, other = make_translations(2, [0.2, 0.25])
    rows = [np.tile(chrf.statistics(h, references, "en"), (34, 1))[:2000] for h in (one, other)]
    shuffled = [r[draw.permutation(2000)] for r in rows]
    calls = []

    def watched(sums: FloatArray) -> FloatArray:
        calls.append(sums.shape)
        return chrf.score(sums)

    comparison = compare(shuffled[0], shuffled[1], watched)
    assert comparison.trials == 10_000
    assert len(calls) < 200  # one by one there would be 20,000


values = st.integers(min_value=1, max_value=30).flatmap(
    lambda n: st.tuples(*[arrays(np.float64, n, elements=st.integers(-9, 9).map(float))] * 2)
)


@each_test
@settings(max_examples=40)
@given(pair=values)
def test_properties_of_a_comparison(compare: Callable[..., PairedTest], pair: tuple[FloatArray, FloatArray]) -> None:
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
def test_nan_is_refused_rather_than_significant(compare: Callable[..., PairedTest]) -> None:
    rows = make_rows(np.array([1.0, np.nan, 2.0]))
    with pytest.raises(NeuronspecError, match="not a finite number"):
        compare(rows, rows, average, trials=10)


def make_grid(seed: int, tasks: list[str], shift: float = 0.0) -> list[tuple[str, FloatArray, FloatArray]]:
    draw = np.random.default_rng(seed)
    return [(task, make_rows(draw.normal(size=40)), make_rows(draw.normal(size=40) + shift)) for task in tasks]


def test_a_group_of_a_grid_is_tested_as_a_list_of_its_test_sets() -> None:
    tasks = ["a", "b", "c", "d"]
    grid = make_grid(3, tasks, shift=0.2)
    groups = {"all": tasks, "first": ["a"], "some": ["b", "d"], "none": []}
    found = compare_groups(iter(grid), groups, average, trials=999, seed=5, confidence=0.9, resamples=500)
    assert list(found) == ["all", "first", "some"]
    baselines, systems = [baseline for _, baseline, _ in grid], [system for _, _, system in grid]
    assert found["all"].p_value == paired_approximate_randomization(baselines, systems, average, 999, 5).p_value
    assert found["all"].interval == paired_bootstrap(baselines, systems, average, 500, 5, 0.9).interval
    assert found["first"].p_value == paired_approximate_randomization(baselines[0], systems[0], average, 999, 5).p_value
    # another place in the grid means other draws: the same up to their Monte-Carlo error
    alone = paired_approximate_randomization(baselines[1::2], systems[1::2], average, 999, 5)
    assert found["some"].difference == pytest.approx(alone.difference)
    assert found["some"].p_value == pytest.approx(alone.p_value, abs=0.08)
    assert 0 < found["some"].p_value < 1


def test_r12_p_values_of_the_groups_of_a_grid_are_uniform_under_the_null() -> None:
    groups = {"all": ["a", "b", "c"], "two": ["a", "c"], "one": ["b"]}
    found = [compare_groups(make_grid(seed, ["a", "b", "c"]), groups, average, 299, seed) for seed in range(200)]
    for group in groups:
        p_values = [comparisons[group].p_value for comparisons in found]
        assert kstest(p_values, "uniform").pvalue > 0.01
    identical = [(task, rows, rows) for task, rows, _ in make_grid(0, ["a", "b", "c"])]
    assert {one.p_value for one in compare_groups(identical, groups, average, 100).values()} == {1.0}


def test_the_test_sets_of_a_group_are_exchanged_independently() -> None:
    # Two sets whose gains cancel exactly under the same exchanges: only independent ones ever differ from zero.
    gains = np.random.default_rng(0).normal(size=50)
    grid = [("up", make_rows(np.zeros(50)), make_rows(gains)), ("down", make_rows(gains), make_rows(np.zeros(50)))]
    found = compare_groups(grid, {"both": ["up", "down"]}, average, 200, confidence=0.95)
    assert found["both"].difference == pytest.approx(0)
    assert found["both"].interval is not None
    assert found["both"].interval[1] - found["both"].interval[0] > 0.05


def test_a_test_set_that_does_not_fit_is_refused() -> None:
    rows = make_rows(np.zeros(5))
    with pytest.raises(NeuronspecError, match="both must be"):
        compare_groups([("a", rows, rows[:4])], {"a": ["a"]}, average)
    assert compare_groups([("a", rows, rows[:4])], {"b": ["b"]}, average) == {}  # no group looks at it
