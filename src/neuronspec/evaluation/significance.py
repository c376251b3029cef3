"""Is the difference between two systems more than chance? Written once, for every metric.

The tests see only per-sentence statistics and a function from their sum to a score (see
`neuronspec.evaluation.metrics`; its `mean_statistics` and `mean_score` bring COMET's segment scores, or any
other number a sentence, into that form). Where a claim is about the average over many directions, give the
test sets of all directions as lists: the difference is then the mean over the test sets (macro average).
Where it is about how many directions got better, give their comparisons to `count_outcomes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.stats import false_discovery_control

from neuronspec.errors import NeuronspecError

FloatArray = npt.NDArray[np.float64]
MetricScore = Callable[[FloatArray], FloatArray]
Pair = tuple[FloatArray, FloatArray]  # the baseline's and the system's
Disturb = Callable[[Pair, int, np.random.Generator], Pair]

# Differences this close count as equal, so that rounding never breaks a tie.
TIE = 1e-12
# Trials are worked off in chunks of at most this many (trial, sentence) cells, which bounds the memory.
CHUNK_CELLS = 2**21


@dataclass(frozen=True)
class Comparison:
    """The outcome of a paired test of a system against a baseline.

    Attributes:
        baseline: the baseline's score; for several test sets, the mean of its scores.
        system: the same for the system.
        difference: `system - baseline`, in points of the metric.
        p_value: how probable a difference at least as large, either way, is if the systems are equally good.
        interval: the confidence interval of the difference, where the test gives one.
        trials: how many times the statistics were shuffled or resampled.
        test: the name of the test.
        effect: the standardised effect, `difference` over its bootstrap standard error, where there is an
            interval. It has the sign of the difference and no unit, so that it compares metrics with each
            other: about 2 is the edge of what this test set can show. Infinite if the difference is the same
            in every resample, 0 if it is always 0.
    """

    baseline: float
    system: float
    difference: float
    p_value: float
    interval: tuple[float, float] | None
    trials: int
    test: str
    effect: float | None = None


class Compared(Protocol):
    """What `count_outcomes` reads of a comparison: its difference and its p-value before any correction."""

    @property
    def difference(self) -> float:
        """The system's score less the baseline's."""

    @property
    def p_value(self) -> float:
        """The test's own p-value."""


@dataclass(frozen=True)
class Outcomes:
    """In how many of a grid's directions a system wins, loses, or neither.

    Attributes:
        significantly_better: directions with an adjusted p-value up to `level` and a better score.
        significantly_worse: the same with a worse score.
        undecided: the rest.
        better: directions with a better score, significant or not.
        worse: the same with a worse score.
        equal: directions with the same score.
        level: of significance, for the whole grid.
        adjusted_p_values: one a direction, in the order of the comparisons.

    Example:
        >>> print(Outcomes(57, 2, 1, 58, 2, 0, 0.05, ()))
        57 of 60 significantly better, 2 worse, 1 undecided (adjusted p <= 0.05); 58 better, 2 worse, 0 equal in all
    """

    significantly_better: int
    significantly_worse: int
    undecided: int
    better: int
    worse: int
    equal: int
    level: float
    adjusted_p_values: tuple[float, ...]

    def __str__(self) -> str:
        tests = self.better + self.worse + self.equal
        return (
            f"{self.significantly_better} of {tests} significantly better, {self.significantly_worse} worse, "
            f"{self.undecided} undecided (adjusted p <= {self.level:g}); "
            f"{self.better} better, {self.worse} worse, {self.equal} equal in all"
        )


def paired_approximate_randomization(
    baseline: FloatArray | Sequence[FloatArray],
    system: FloatArray | Sequence[FloatArray],
    metric_score: MetricScore,
    trials: int = 10_000,
    seed: int = 0,
    confidence: float | None = None,
) -> Comparison:
    """Test whether two systems differ by exchanging their translations at random (Appendix A.4.2).

    Under the null hypothesis it does not matter which system translated a sentence. Each trial exchanges the
    two translations of every sentence with probability 1/2; the p-value is the share of trials whose
    difference is at least as large as the observed one, either way. Prefer this test for p-values, and
    `paired_bootstrap` for confidence intervals (Riezler and Maxwell, 2005); `confidence` gives both.

    The test is sacrebleu's `--paired-ar`, with the same p-values up to their Monte-Carlo error, but for two
    things. Ties count here, so identical systems give 1; sacrebleu leaves ties out, which gives identical
    systems the smallest p-value there is, `1 / (trials + 1)`, and too small a one to systems that differ in
    few sentences. And the seed 0 is a seed; `SACREBLEU_SEED=0` draws anew each time.

    Args:
        baseline: per-sentence statistics, (sentences, S); or a list of such arrays, one a test set.
        system: the same for the system, over the same sentences.
        metric_score: maps summed statistics (..., S) to scores (...); `METRICS["bleu"].score`.
        trials: how many exchanges to try; the smallest possible p-value is `1 / (trials + 1)`.
        seed: of the random exchanges, 0 or more; the same seed gives the same p-value.
        confidence: the coverage of the interval to give, between 0 and 1, or None for no interval. The interval
            and the effect are those of `paired_bootstrap` with the same trials and seed; the p-value stays.

    Returns:
        The comparison; with its interval and effect if `confidence` is given.

    Raises:
        NeuronspecError: the two do not fit together, there is nothing to compare, a score is not finite, or
            `confidence` is not between 0 and 1.

    Example:
        >>> rows = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])  # (correct, total) of each sentence
        >>> paired_approximate_randomization(rows, rows, lambda total: total[..., 0] / total[..., 1]).p_value
        1.0
    """
    pairs = _pair(baseline, system, trials, seed)
    _check_confidence(confidence)
    baseline_score, system_score = _observe(pairs, metric_score)
    shuffled = _collect_differences(pairs, metric_score, trials, seed, _shuffle)
    difference = system_score - baseline_score
    p_value = _find_p_value(shuffled, difference)
    interval, effect = None, None
    if confidence is not None:
        resampled = _collect_differences(pairs, metric_score, trials, seed, _resample)
        interval, effect = _find_interval(resampled, confidence), _find_effect(resampled, difference)
    test = "paired approximate randomization"
    return Comparison(baseline_score, system_score, difference, p_value, interval, trials, test, effect)


def paired_bootstrap(
    baseline: FloatArray | Sequence[FloatArray],
    system: FloatArray | Sequence[FloatArray],
    metric_score: MetricScore,
    trials: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Comparison:
    """Give the confidence interval of a difference by drawing the test sentences anew (Koehn, 2004).

    Each trial draws as many sentences as there are, with replacement, the same ones for both systems. The
    interval holds the middle `confidence` of the differences. For the p-value the differences are shifted to
    mean zero, the null hypothesis, and compared with the observed one, either way.

    Args:
        baseline: per-sentence statistics, (sentences, S); or a list of such arrays, one a test set.
        system: the same for the system, over the same sentences.
        metric_score: maps summed statistics (..., S) to scores (...); `METRICS["bleu"].score`.
        trials: how many resamples to draw.
        seed: of the random draws, 0 or more; the same seed gives the same outcome.
        confidence: the coverage of the interval, between 0 and 1.

    Returns:
        The comparison, with its interval and effect.

    Raises:
        NeuronspecError: the two do not fit together, there is nothing to compare, a score is not finite, or
            `confidence` is not between 0 and 1.

    Example:
        >>> rows = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
        >>> paired_bootstrap(rows, rows, lambda total: total[..., 0] / total[..., 1]).interval
        (0.0, 0.0)
    """
    pairs = _pair(baseline, system, trials, seed)
    _check_confidence(confidence)
    baseline_score, system_score = _observe(pairs, metric_score)
    resampled = _collect_differences(pairs, metric_score, trials, seed, _resample)
    difference = system_score - baseline_score
    p_value = _find_p_value(resampled - resampled.mean(), difference)
    interval, effect = _find_interval(resampled, confidence), _find_effect(resampled, difference)
    return Comparison(baseline_score, system_score, difference, p_value, interval, trials, "paired bootstrap", effect)


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Adjust p-values so that the chance of even one false discovery stays below the level (Holm, 1979).

    Use it where every single claim must hold ("better on these three directions").

    Args:
        p_values: the p-values of all tests of a family, (tests,).

    Returns:
        The adjusted p-values in the same order; those up to 0.05 are significant at the level of 0.05.

    Raises:
        NeuronspecError: a value is not a probability.

    Example:
        >>> holm([0.01, 0.04, 0.02]).tolist()
        [0.03, 0.04, 0.04]
    """
    values = _check_p_values(p_values)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return np.minimum(adjusted, 1.0)


def benjamini_hochberg(p_values: npt.ArrayLike) -> FloatArray:
    """Adjust p-values so that the expected share of false discoveries stays below the level.

    Use it for many directions at once, where a known share of false claims is acceptable (Benjamini and
    Hochberg, 1995). The tests must be independent or positively dependent.

    Args:
        p_values: the p-values of all tests of a family, (tests,).

    Returns:
        The adjusted p-values in the same order.

    Raises:
        NeuronspecError: a value is not a probability.

    Example:
        >>> benjamini_hochberg([0.01, 0.04, 0.02]).tolist()
        [0.03, 0.04, 0.03]
    """
    return np.asarray(false_discovery_control(_check_p_values(p_values), method="bh"), dtype=np.float64)


def count_outcomes(
    comparisons: Sequence[Compared],
    level: float = 0.05,
    adjust: Callable[[FloatArray], FloatArray] = holm,
    higher_is_better: bool = True,
) -> Outcomes:
    """Count the directions of a grid that got significantly better or worse, and those that did not.

    One test a direction at the level of 0.05 marks 3 of 60 equal directions by chance, so the p-values are
    adjusted for their number first.

    Args:
        comparisons: one a direction, of the same metric and the same two systems; the tests of a family.
        level: an adjusted p-value up to it is significant.
        adjust: `holm`, if every single claim must hold, or `benjamini_hochberg`, if a share of `level` of the
            claims may be false.
        higher_is_better: False for error rates such as TER (`Metric.higher_is_better`).

    Returns:
        The counts, and the adjusted p-values in the order given.

    Raises:
        NeuronspecError: `level` is not between 0 and 1, a p-value is no probability, or a difference is NaN.

    Example:
        >>> gains = {"en-de": (1.2, 0.001), "en-fr": (0.3, 0.04), "en-ti": (-2.0, 0.002), "en-am": (0.0, 1.0)}
        >>> tests = [Comparison(20.0, 20.0 + gain, gain, p, None, 10_000, "") for gain, p in gains.values()]
        >>> outcomes = count_outcomes(tests)
        >>> outcomes.significantly_better, outcomes.significantly_worse, outcomes.undecided
        (1, 1, 2)
        >>> outcomes.better, outcomes.worse, outcomes.equal
        (2, 1, 1)
    """
    if not 0 < level < 1:
        raise NeuronspecError(f"level is {level}, but must lie between 0 and 1; 0.05 is usual")
    adjusted = adjust(np.array([comparison.p_value for comparison in comparisons], dtype=np.float64))
    gains = np.array([comparison.difference for comparison in comparisons], dtype=np.float64)
    if np.isnan(gains).any():
        raise NeuronspecError(f"the differences {gains.tolist()} hold NaN, which is neither better nor worse")
    better, worse = (gains > TIE, gains < -TIE) if higher_is_better else (gains < -TIE, gains > TIE)
    significant = adjusted <= level
    won, lost = int((significant & better).sum()), int((significant & worse).sum())
    wins, losses = int(better.sum()), int(worse.sum())
    undecided, equal = len(gains) - won - lost, len(gains) - wins - losses
    return Outcomes(won, lost, undecided, wins, losses, equal, level, tuple(adjusted.tolist()))


def _pair(
    baseline: FloatArray | Sequence[FloatArray], system: FloatArray | Sequence[FloatArray], trials: int, seed: int
) -> list[Pair]:
    if trials < 1:
        raise NeuronspecError(f"trials is {trials}, but a test needs at least one; 10000 is usual")
    if seed < 0:
        raise NeuronspecError(f"seed is {seed}, but must be a whole number from 0 on")
    baselines = [baseline] if isinstance(baseline, np.ndarray) else list(baseline)
    systems = [system] if isinstance(system, np.ndarray) else list(system)
    if not baselines or len(baselines) != len(systems):
        raise NeuronspecError(
            f"the baseline has {len(baselines)} test sets and the system {len(systems)}; "
            "give the same test sets for both, at least one"
        )
    for one, other in zip(baselines, systems, strict=True):
        if one.shape != other.shape or one.ndim != 2 or not len(one):
            raise NeuronspecError(
                f"the statistics have shapes {one.shape} for the baseline and {other.shape} for the system; "
                "both must be (sentences, S) over the same sentences, at least one"
            )
    return [(one.astype(np.float64), other.astype(np.float64)) for one, other in zip(baselines, systems, strict=True)]


def _observe(pairs: list[Pair], metric_score: MetricScore) -> tuple[float, float]:
    baseline = np.mean([metric_score(baseline.sum(axis=0)) for baseline, _ in pairs])
    system = np.mean([metric_score(system.sum(axis=0)) for _, system in pairs])
    _check_finite(baseline, system)
    return float(baseline), float(system)


def _collect_differences(
    pairs: list[Pair], metric_score: MetricScore, trials: int, seed: int, disturb: Disturb
) -> FloatArray:
    """Return the mean difference over the test sets in every trial, (trials,)."""
    random = np.random.default_rng(seed)
    differences = np.zeros(trials)
    for pair in pairs:
        step = max(1, CHUNK_CELLS // len(pair[0]))
        for start in range(0, trials, step):
            size = min(step, trials - start)
            baseline_sums, system_sums = disturb(pair, size, random)  # (size, S) each
            differences[start : start + size] += metric_score(system_sums) - metric_score(baseline_sums)
    _check_finite(differences)
    return differences / len(pairs)


def _shuffle(pair: Pair, size: int, random: np.random.Generator) -> Pair:
    """Sum the statistics after `size` random exchanges of the systems' translations."""
    baseline, system = pair
    gain = system - baseline  # (sentences, S)
    exchanged = random.integers(2, size=(size, len(gain)), dtype=np.bool_).astype(np.float64)
    moved = exchanged @ gain  # (size, S)
    return baseline.sum(axis=0) + moved, system.sum(axis=0) - moved


def _resample(pair: Pair, size: int, random: np.random.Generator) -> Pair:
    """Sum the statistics of `size` samples of the sentences, drawn with replacement."""
    baseline, system = pair
    sentences = len(baseline)
    cells = random.integers(sentences, size=(size, sentences)) + sentences * np.arange(size)[:, None]
    times = np.bincount(cells.ravel(), minlength=size * sentences)  # how often each sentence was drawn
    weights = times.reshape(size, sentences).astype(np.float64)
    return weights @ baseline, weights @ system


def _find_p_value(differences: FloatArray, observed: float) -> float:
    """Return the share of `differences` (trials,) that reach `observed`, which counts as a trial itself."""
    reached = np.count_nonzero(np.abs(differences) >= abs(observed) - TIE)
    return (int(reached) + 1) / (len(differences) + 1)


def _find_interval(resampled: FloatArray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    return low, high


def _find_effect(resampled: FloatArray, difference: float) -> float:
    standard_error = float(resampled.std())
    if standard_error > TIE:
        return difference / standard_error
    return 0.0 if abs(difference) <= TIE else math.copysign(math.inf, difference)


def _check_finite(*scores: npt.ArrayLike) -> None:
    if not all(np.isfinite(score).all() for score in scores):
        raise NeuronspecError("a score is not a finite number; look for NaN in the per-sentence statistics")


def _check_confidence(confidence: float | None) -> None:
    if confidence is not None and not 0 < confidence < 1:
        raise NeuronspecError(f"confidence is {confidence}, but must lie between 0 and 1; 0.95 is usual")


def _check_p_values(p_values: npt.ArrayLike) -> FloatArray:
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise NeuronspecError(f"the p-values {values.tolist()} must be a flat list of numbers between 0 and 1")
    return values
