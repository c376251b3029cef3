"""Tests of systems against baselines, in groups of directions and in single ones."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import with_config

from neuronspec.artifacts.json_lines import LINE
from neuronspec.evaluation.metrics import find_scoring
from neuronspec.evaluation.results import Results
from neuronspec.executors import map_ordered, open_executor
from neuronspec.progress import Advance
from neuronspec.statistics.corrections import CORRECTIONS, HOLM
from neuronspec.statistics.numbers import FloatArray
from neuronspec.statistics.paired import PairedTest, compare_groups

DIRECTIONS = "directions"  # the family of all single directions

# Sentences in all trials for which one more worker is worth its start: some seconds of work
CELLS_PER_WORKER = 500_000_000

Job = tuple[str, str, str]  # the metric, the baseline and the system
TestSet = tuple[str, FloatArray, FloatArray]  # the task, the statistics of the baseline and of the system


@with_config(LINE)
@dataclass(frozen=True, kw_only=True)
class SystemComparison:
    """The test of a system against a baseline on a set of tasks.

    Attributes:
        baseline: Name of the baseline.
        system: Name of the system.
        family: Family of tests that the p-value is corrected in: tests of the same two systems and metric, on the
            other groups of the family. `directions` is the family of the single tasks.
        tasks: One task, or the name of a group.
        metric: Display name of the metric.
        difference: Score of the system minus that of the baseline; for a group, the mean over its tasks.
        p_value: P-value of the paired test.
        adjusted_p_value: P-value after the correction within the family.
        test: Name of the test.
        trials: Number of trials of the test.
        interval: 95 % confidence interval of the difference, by the paired bootstrap.
        effect: Difference over its bootstrap standard error; None if no resample differs.
        correction: Name of the correction, in `CORRECTIONS`.
        seed: Seed of the random exchanges; None if it was not kept.
    """

    baseline: str
    system: str
    family: str
    tasks: str
    metric: str
    difference: float
    p_value: float
    adjusted_p_value: float
    test: str
    trials: int
    interval: tuple[float, float] | None = None
    effect: float | None = None
    correction: str = HOLM
    seed: int | None = None

    @property
    def gain(self) -> float:
        """The difference, positive if the system is better, also for metrics where lower is better."""
        return self.difference if find_scoring(self.metric).higher_is_better else -self.difference

    def turn(self) -> SystemComparison:
        """Return the same test with the baseline in the place of the system."""
        low, high = self.interval or (0.0, 0.0)
        return replace(
            self,
            baseline=self.system,
            system=self.baseline,
            difference=-self.difference,
            interval=(-high, -low) if self.interval else None,
            effect=-self.effect if self.effect is not None else None,
        )


def compare_systems(
    results: Results,
    pairs: Sequence[tuple[str, str]],
    families: Mapping[str, Mapping[str, Sequence[str]]],
    *,
    trials: int = 10_000,
    seed: int = 0,
    correction: str = HOLM,
    advance: Advance | None = None,
) -> Iterator[SystemComparison]:
    """Yield the tests of systems against baselines, family by family, in the order given.

    Args:
        results: Results of all systems; a group with a task that one of a pair lacks is left out for that pair.
        pairs: Pairs of (baseline, system).
        families: Groups of tasks in families; within a family, p-values are corrected together, for each pair of
            systems and each metric. The family of the single tasks is always added.
        trials: Number of trials of the paired approximate randomization.
        seed: Seed of the random exchanges.
        correction: Name of the correction, in `CORRECTIONS`.
        advance: Function that is called after each pair and metric.

    Raises:
        NeuronspecError: If no correction has this name, or statistics are missing.
    """
    # An unknown correction is refused before the first test. A single task is a group of one.
    adjust = CORRECTIONS[correction].adjust
    families = {**families, DIRECTIONS: {task: [task] for task in results.tasks}}

    # Every metric and pair is a test of its own: several at the same time.
    jobs = [(metric, baseline, system) for metric in results.metrics for baseline, system in pairs]
    work = functools.partial(
        _test_pair, results=replace(results, outputs={}), families=families, trials=trials, seed=seed
    )
    with open_executor(most=_count_useful_workers(results, jobs, trials)) as executor:
        for (metric, baseline, system), found in zip(jobs, map_ordered(executor, work, jobs), strict=True):
            if advance is not None:
                advance()

            # Each family is a correction of its own; the single directions are the last.
            for family, labels in families.items():
                tests = {label: found[label] for label in labels if label in found}
                adjusted = adjust(np.array([test.p_value for test in tests.values()]))
                for (label, test), adjusted_p_value in zip(tests.items(), adjusted.tolist(), strict=True):
                    yield SystemComparison(
                        baseline=baseline,
                        system=system,
                        family=family,
                        tasks=label,
                        metric=metric,
                        difference=test.difference,
                        p_value=test.p_value,
                        adjusted_p_value=adjusted_p_value,
                        test=test.test,
                        trials=test.trials,
                        interval=test.interval,
                        effect=_keep_finite(test.effect),
                        correction=correction,
                        seed=seed,
                    )


def _count_useful_workers(results: Results, jobs: Sequence[Job], trials: int) -> int:
    """Return how many workers are worth their start: 1 where statistics would have to be sent to them."""
    # Workers read statistics from files, and know the metrics of neuronspec and of modules of `--import`.
    stored = all(isinstance(counted, Path) for counted in results.counted.values())
    known = all(find_scoring(metric).divisible for metric in results.metrics)
    if not stored or not known:
        return 1

    # A test takes as long as its trials have sentences; both systems have the same number of them.
    systems = {system for _, _, system in jobs}
    sentences = sum(one.sentences for one in results.scores if one.system in systems)
    return min(len(jobs), sentences * trials // CELLS_PER_WORKER)


def _test_pair(
    job: Job,
    *,
    results: Results,
    families: Mapping[str, Mapping[str, Sequence[str]]],
    trials: int,
    seed: int,
) -> dict[str, PairedTest]:
    """Test a system against a baseline on all groups of tasks that both were scored on."""
    metric, baseline, system = job

    # A test is paired: both systems must have translated the sentences.
    scored = [task for task in results.tasks if results.has(baseline, metric, task)]
    both = [task for task in scored if results.has(system, metric, task)]

    # Only groups that both systems have completely: a mean over other directions would not be comparable.
    complete = {}
    for family in families.values():
        for label, tasks in family.items():
            if {*tasks} <= {*both}:
                complete[label] = tasks

    # The statistics of one task at a time are in memory.
    test_sets = _read_test_sets(results, metric, both, baseline=baseline, system=system)
    score = find_scoring(metric).score
    return compare_groups(test_sets, complete, score, trials=trials, seed=seed, confidence=0.95)


def _read_test_sets(
    results: Results, metric: str, tasks: Iterable[str], *, baseline: str, system: str
) -> Iterator[TestSet]:
    """Yield the statistics of both systems, one task at a time."""
    for task in tasks:
        # Stored statistics are read here, when the test of this task begins.
        theirs = results.statistics(baseline, metric, task)
        ours = results.statistics(system, metric, task)
        yield task, theirs, ours


def _keep_finite(effect: float | None) -> float | None:
    # Comparisons are stored as JSON, which has no infinity.
    return None if effect is None or math.isinf(effect) else effect


def correct_again(comparisons: Iterable[SystemComparison], correction: str) -> list[SystemComparison]:
    """Return comparisons with another correction of the same p-values, without new tests.

    Args:
        comparisons: Comparisons of whole families.
        correction: Name of the correction, in `CORRECTIONS`.

    Raises:
        NeuronspecError: If no correction has this name.
    """
    adjust = CORRECTIONS[correction].adjust
    found = list(comparisons)

    # The places of the tests of each family, so that the order stays.
    families: dict[tuple[str, str, str, str], list[int]] = {}
    for number, one in enumerate(found):
        families.setdefault((one.baseline, one.system, one.metric, one.family), []).append(number)

    for members in families.values():
        # The p-values before the correction were kept, so each family is corrected from them.
        adjusted = adjust(np.array([found[number].p_value for number in members]))
        for number, value in zip(members, adjusted.tolist(), strict=True):
            found[number] = replace(found[number], adjusted_p_value=value, correction=correction)
    return found
