"""Is the difference between two systems more than chance? Written once, for every metric.

The tests see only per-sentence statistics and a function from their sum to a score (see
`neuronspec.evaluation.metrics`; its `mean_statistics` and `mean_score` bring COMET's segment scores, or any
other number a sentence, into that form). Where a claim is about the average over many directions, give the
test sets of all directions as lists: the difference is then the mean over the test sets (macro average).
Where it is about how many directions got better, give their comparisons to
`neuronspec.comparison.outcomes.count_outcomes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
    together = _Together(trials, 0 if confidence is None else trials)
    for number, pair in enumerate(pairs):
        together.add(_try(pair, metric_score, together, seed, number))
    return together.compare(confidence)


def compare_groups(
    test_sets: Iterable[tuple[str, FloatArray, FloatArray]],
    groups: Mapping[str, Collection[str]],
    metric_score: MetricScore,
    trials: int = 10_000,
    seed: int = 0,
    confidence: float | None = None,
    resamples: int = 1_000,
) -> dict[str, Comparison]:
    """Test every group of a grid of directions in one pass: each single one, those to English, all of them.

    Use it for many directions: each one's trials are made once, whatever the number of groups that it is in, and
    only one direction's statistics are in memory at a time. Each group is tested as
    `paired_approximate_randomization` tests a list of test sets: on the mean of its directions' differences.

    Args:
        test_sets: the name of each test set, the baseline's per-sentence statistics (sentences, S), the system's.
        groups: the names of the test sets of each group.
        metric_score: maps summed statistics (..., S) to scores (...).
        trials: how many exchanges to try.
        seed: of the random draws, 0 or more.
        confidence: the coverage of the intervals to give, or None for none.
        resamples: how many bootstrap samples give an interval.

    Returns:
        The comparison of each group that has a test set.

    Raises:
        NeuronspecError: as `paired_approximate_randomization`.

    Example:
        >>> rows = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
        >>> grid = [(task, rows, rows) for task in ("de-en", "en-de", "en-fr")]
        >>> groups = {"from en": ["en-de", "en-fr"], "all": ["de-en", "en-de", "en-fr"], "to fr": []}
        >>> found = compare_groups(grid, groups, lambda total: total[..., 0] / total[..., 1], trials=100)
        >>> {name: comparison.p_value for name, comparison in found.items()}
        {'from en': 1.0, 'all': 1.0}
    """
    _check_confidence(confidence)
    members = {label: frozenset(names) for label, names in groups.items()}
    found = {label: _Together(trials, 0 if confidence is None else resamples) for label in groups}
    for number, (name, baseline, system) in enumerate(test_sets):
        containing = [found[label] for label, names in members.items() if name in names]
        if containing:
            [pair] = _pair(baseline, system, trials, seed)
            tried = _try(pair, metric_score, containing[0], seed, number)
            for together in containing:
                together.add(tried)
    return {label: together.compare(confidence) for label, together in found.items() if together.test_sets}


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
    together = _Together(0, trials)
    for number, pair in enumerate(pairs):
        together.add(_try(pair, metric_score, together, seed, number))
    return together.compare(confidence)


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


Tried = tuple[float, float, FloatArray, FloatArray]  # both scores, the differences of all trials and of all resamples


class _Together:
    """The sums of scores and differences over the test sets of a group."""

    def __init__(self, trials: int, resamples: int) -> None:
        self.test_sets = 0
        self.baseline = self.system = 0.0
        self.shuffled, self.resampled = np.zeros(trials), np.zeros(resamples)

    def add(self, tried: Tried) -> None:
        baseline, system, shuffled, resampled = tried
        self.test_sets += 1
        self.baseline += baseline
        self.system += system
        self.shuffled += shuffled
        self.resampled += resampled

    def compare(self, confidence: float | None) -> Comparison:
        """Return the comparison of the means over the test sets."""
        baseline, system = self.baseline / self.test_sets, self.system / self.test_sets
        shuffled, resampled = self.shuffled / self.test_sets, self.resampled / self.test_sets
        difference = system - baseline
        interval, effect = None, None
        if confidence is not None:
            interval, effect = _find_interval(resampled, confidence), _find_effect(resampled, difference)
        if len(shuffled):
            p_value, trials, test = (
                _find_p_value(shuffled, difference),
                len(shuffled),
                "paired approximate randomization",
            )
        else:
            p_value = _find_p_value(resampled - resampled.mean(), difference)
            trials, test = len(resampled), "paired bootstrap"
        return Comparison(baseline, system, difference, p_value, interval, trials, test, effect)


def _try(pair: Pair, metric_score: MetricScore, sizes: _Together, seed: int, number: int) -> Tried:
    """Score a test set as it is, and make its trials and resamples, from draws of its own."""
    baseline, system = (metric_score(rows.sum(axis=0)) for rows in pair)
    shuffled = _collect_differences(pair, metric_score, len(sizes.shuffled), (seed, number), _shuffle)
    resampled = _collect_differences(pair, metric_score, len(sizes.resampled), (seed, number), _resample)
    _check_finite(baseline, system, shuffled, resampled)
    return float(baseline), float(system), shuffled, resampled


def _collect_differences(
    pair: Pair, metric_score: MetricScore, trials: int, seed: tuple[int, int], disturb: Disturb
) -> FloatArray:
    """Return the difference of the systems' scores in every trial, (trials,)."""
    random = np.random.default_rng(seed)
    differences = np.zeros(trials)
    step = max(1, CHUNK_CELLS // len(pair[0]))
    for start in range(0, trials, step):
        size = min(step, trials - start)
        baseline_sums, system_sums = disturb(pair, size, random)  # (size, S) each
        differences[start : start + size] = metric_score(system_sums) - metric_score(baseline_sums)
    return differences


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
