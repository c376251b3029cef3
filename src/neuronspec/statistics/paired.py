"""Is the difference between two systems significant? Paired tests, written once for every metric.

The tests need only per-sentence statistics and a function from their sum to a score (see
`neuronspec.evaluation.metrics`; its `mean_statistics` and `mean_score` bring COMET's segment scores, or any other
number for each sentence, into that form). For a claim about the average over many directions, give the test sets of
all directions as lists: the difference is then the mean over the test sets (macro average). For a claim about how
many directions got better, give their tests to `neuronspec.comparison.outcomes.count_outcomes`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.numbers import FloatArray
from neuronspec.statistics.permutation import TIE, count_reached, find_p_value
from neuronspec.statistics.score_intervals import find_interval
from neuronspec.statistics.trials import GroupTotals, MetricScore, StatisticsPair, try_test_set


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """The outcome of a paired test of a system against a baseline.

    Attributes:
        baseline: Score of the baseline; for several test sets, the mean of its scores.
        system: Score of the system, likewise.
        difference: `system - baseline`, in points of the metric.
        p_value: Probability of a difference at least as large, in either direction, if the systems are equally good.
        interval: Confidence interval of the difference; None if the test gives none.
        trials: Number of times that the statistics were shuffled or resampled.
        test: Name of the test.
        effect: Standardized effect, `difference` over its bootstrap standard error; None where there is no interval.
            It has the sign of the difference and no unit, so that metrics can be compared: a value of about 2 is the
            smallest that this test set can show. Infinite if the difference is the same in every resample, 0 if it
            is always 0.
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
) -> PairedTest:
    """Test whether two systems differ by exchanging their translations at random (Appendix A.4.2).

    Under the null hypothesis it does not matter which system translated a sentence. Each trial exchanges the
    two translations of every sentence with probability 1/2; the p-value is the share of trials whose
    difference is at least as large as the observed one, in either direction. Prefer this test for p-values, and
    `paired_bootstrap` for confidence intervals (Riezler and Maxwell, 2005); `confidence` gives both.

    The test is sacrebleu's `--paired-ar`, with the same p-values up to their Monte Carlo error, except for two
    things. First, ties count here, so identical systems give 1. sacrebleu leaves ties out, which gives identical
    systems the smallest possible p-value, `1 / (trials + 1)`, and a p-value that is too small to systems that differ
    in few sentences. Second, the seed 0 is a seed like any other; `SACREBLEU_SEED=0` gives another draw each time.

    Args:
        baseline: Per-sentence statistics of the baseline, (sentences, S); or a list of such arrays, one for each test
            set.
        system: Per-sentence statistics of the system, over the same sentences.
        metric_score: Function from summed statistics (..., S) to scores (...), such as `METRICS["bleu"].score`.
        trials: Number of exchanges to try; the smallest possible p-value is `1 / (trials + 1)`.
        seed: Seed of the random exchanges, 0 or more; the same seed gives the same p-value.
        confidence: Coverage of the confidence interval, between 0 and 1; None for no interval. The interval and the
            effect are those of `paired_bootstrap` with the same trials and seed; the p-value does not change.

    Returns:
        The test; with its interval and effect if `confidence` is given.

    Raises:
        NeuronspecError: If the two do not fit together, there is nothing to compare, a score is not finite, or
            `confidence` is not between 0 and 1.

    Example:
        >>> rows = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])  # (correct, total) of each sentence
        >>> paired_approximate_randomization(rows, rows, lambda total: total[..., 0] / total[..., 1]).p_value
        1.0
    """
    pairs = _read_pairs(baseline, system, trials=trials, seed=seed)
    _check_confidence(confidence)
    # Only the interval and the effect need resamples, which take as long as the exchanges.
    resamples = 0 if confidence is None else trials
    return _test_together(pairs, metric_score, trials=trials, resamples=resamples, seed=seed, confidence=confidence)


def compare_groups(
    test_sets: Iterable[tuple[str, FloatArray, FloatArray]],
    groups: Mapping[str, Collection[str]],
    metric_score: MetricScore,
    trials: int = 10_000,
    seed: int = 0,
    confidence: float | None = None,
    resamples: int = 1_000,
) -> dict[str, PairedTest]:
    """Test every group of a grid of directions in one pass: each single direction, those to English, all of them.

    Use it for many directions: each direction's trials are made once, however many groups contain it, and only one
    direction's statistics are in memory at a time. Each group is tested as `paired_approximate_randomization` tests a
    list of test sets: on the mean of the differences of its directions.

    Args:
        test_sets: Name of each test set, with the per-sentence statistics of the baseline and of the system,
            (sentences, S) each.
        groups: Names of the test sets of each group.
        metric_score: Function from summed statistics (..., S) to scores (...).
        trials: Number of exchanges to try.
        seed: Seed of the random draws, 0 or more.
        confidence: Coverage of the confidence intervals; None for no intervals.
        resamples: Number of bootstrap samples for an interval.

    Returns:
        The test of each group that has a test set.

    Raises:
        NeuronspecError: As for `paired_approximate_randomization`.

    Example:
        >>> rows = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
        >>> grid = [(task, rows, rows) for task in ("de-en", "en-de", "en-fr")]
        >>> groups = {"from en": ["en-de", "en-fr"], "all": ["de-en", "en-de", "en-fr"], "to fr": []}
        >>> found = compare_groups(grid, groups, lambda total: total[..., 0] / total[..., 1], trials=100)
        >>> {name: test.p_value for name, test in found.items()}
        {'from en': 1.0, 'all': 1.0}
    """
    _check_confidence(confidence)
    resamples = 0 if confidence is None else resamples

    # Totals of every group grow while the test sets pass by, one at a time.
    members = {label: frozenset(names) for label, names in groups.items()}
    totals = {label: GroupTotals(trials, resamples) for label in groups}

    for number, (name, baseline, system) in enumerate(test_sets):
        containing = [totals[label] for label, names in members.items() if name in names]
        # No trials are made for a test set that no group contains.
        if not containing:
            continue

        # One test set's trials are made once, and added to every group that contains it.
        [pair] = _read_pairs(baseline, system, trials=trials, seed=seed)
        tried = try_test_set(pair, metric_score, trials=trials, resamples=resamples, seed=(seed, number))
        for group in containing:
            group.add(tried)

    # A group without any test set has no mean, and so no test.
    found = {}
    for label, group in totals.items():
        if group.test_sets:
            found[label] = _conclude(group, confidence)
    return found


def paired_bootstrap(
    baseline: FloatArray | Sequence[FloatArray],
    system: FloatArray | Sequence[FloatArray],
    metric_score: MetricScore,
    trials: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> PairedTest:
    """Return the confidence interval of a difference by resampling the test sentences (Koehn, 2004).

    Each trial draws as many sentences as there are, with replacement, the same ones for both systems. The
    interval holds the middle `confidence` of the differences. For the p-value, the differences are shifted to
    mean zero, the null hypothesis, and compared with the observed one, in either direction.

    Args:
        baseline: Per-sentence statistics of the baseline, (sentences, S); or a list of such arrays, one for each test
            set.
        system: Per-sentence statistics of the system, over the same sentences.
        metric_score: Function from summed statistics (..., S) to scores (...), such as `METRICS["bleu"].score`.
        trials: Number of resamples to draw.
        seed: Seed of the random draws, 0 or more; the same seed gives the same outcome.
        confidence: Coverage of the interval, between 0 and 1.

    Returns:
        The test, with its interval and effect.

    Raises:
        NeuronspecError: If the two do not fit together, there is nothing to compare, a score is not finite, or
            `confidence` is not between 0 and 1.

    Example:
        >>> rows = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
        >>> paired_bootstrap(rows, rows, lambda total: total[..., 0] / total[..., 1]).interval
        (0.0, 0.0)
    """
    pairs = _read_pairs(baseline, system, trials=trials, seed=seed)
    _check_confidence(confidence)
    return _test_together(pairs, metric_score, trials=0, resamples=trials, seed=seed, confidence=confidence)


def _read_pairs(
    baseline: FloatArray | Sequence[FloatArray], system: FloatArray | Sequence[FloatArray], *, trials: int, seed: int
) -> list[StatisticsPair]:
    """Return the statistics of both systems on each test set, checked."""
    if trials < 1:
        raise NeuronspecError(f"trials is {trials}, but a test needs at least one; 10000 is usual")
    if seed < 0:
        raise NeuronspecError(f"seed is {seed}, but must be a whole number from 0 on")

    # One test set is a list of one.
    baselines = [baseline] if isinstance(baseline, np.ndarray) else list(baseline)
    systems = [system] if isinstance(system, np.ndarray) else list(system)

    if not baselines or len(baselines) != len(systems):
        raise NeuronspecError(
            f"the baseline has {len(baselines)} test sets and the system {len(systems)}; "
            "give the same test sets for both, at least one"
        )
    return [_read_pair(one, other) for one, other in zip(baselines, systems, strict=True)]


def _read_pair(baseline: FloatArray, system: FloatArray) -> StatisticsPair:
    if baseline.shape != system.shape or baseline.ndim != 2 or not len(baseline):
        raise NeuronspecError(
            f"the statistics have shapes {baseline.shape} for the baseline and {system.shape} for the system; "
            "both must be (sentences, S) over the same sentences, at least one"
        )

    # As floats: differences of counts without a sign would wrap around below zero.
    return baseline.astype(np.float64), system.astype(np.float64)


def _test_together(
    pairs: Iterable[StatisticsPair],
    metric_score: MetricScore,
    *,
    trials: int,
    resamples: int,
    seed: int,
    confidence: float | None,
) -> PairedTest:
    """Test the mean difference over test sets."""
    totals = GroupTotals(trials, resamples)
    # The number of a test set is part of its seed: test sets are disturbed independently of each other.
    for number, pair in enumerate(pairs):
        totals.add(try_test_set(pair, metric_score, trials=trials, resamples=resamples, seed=(seed, number)))
    return _conclude(totals, confidence)


def _conclude(totals: GroupTotals, confidence: float | None) -> PairedTest:
    """Return the test of the means over the test sets of a group."""
    mean = totals.mean()
    difference = mean.system - mean.baseline

    # Exchanges decide the p-value; without any, the resamples do.
    if len(mean.shuffled):
        test, differences = "paired approximate randomization", mean.shuffled
    else:
        # The null hypothesis: differences like the resampled ones, with a mean of zero.
        test, differences = "paired bootstrap", mean.resampled - mean.resampled.mean()

    # The test is two-sided: a difference as large in the other direction counts, too.
    reached = count_reached(np.abs(differences), abs(difference))

    # The interval and the effect come from the resamples, whichever test gives the p-value.
    interval, effect = None, None
    if confidence is not None:
        interval = find_interval(mean.resampled, confidence)
        effect = _find_effect(mean.resampled, difference)

    return PairedTest(
        baseline=mean.baseline,
        system=mean.system,
        difference=difference,
        p_value=find_p_value(reached, len(differences)),
        interval=interval,
        trials=len(differences),
        test=test,
        effect=effect,
    )


def _find_effect(resampled: FloatArray, difference: float) -> float:
    # Resamples that never differ have no standard error: any difference is infinitely clear.
    standard_error = float(resampled.std())
    if standard_error > TIE:
        return difference / standard_error
    return 0.0 if abs(difference) <= TIE else math.copysign(math.inf, difference)


def _check_confidence(confidence: float | None) -> None:
    if confidence is not None and not 0 < confidence < 1:
        raise NeuronspecError(f"confidence is {confidence}, but must lie between 0 and 1; 0.95 is usual")
