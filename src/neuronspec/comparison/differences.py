"""Which systems differ from a baseline by more than chance, in groups of directions and in single ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from neuronspec.evaluation.metrics import find_scoring
from neuronspec.evaluation.results import Results
from neuronspec.progress import Advance
from neuronspec.statistics.corrections import CORRECTIONS, HOLM
from neuronspec.statistics.numbers import FloatArray
from neuronspec.statistics.paired import compare_groups

DIRECTIONS = "directions"  # the family of all single directions

TestSet = tuple[str, FloatArray, FloatArray]  # the task, the statistics of the baseline and of the system


@dataclass(frozen=True)
class SystemComparison:
    """Whether a system differs from a baseline on a set of tasks.

    Attributes:
        baseline: the other system's name.
        system: its name.
        family: the tests that the p-value is adjusted for: of the same systems and metric, on the other groups of
            the family. `directions` is that of the single tasks.
        tasks: one task, or the name of a group.
        metric: the display name.
        difference: the system's score less the baseline's; of a group, the mean over its tasks.
        p_value: of the paired test.
        adjusted_p_value: after the correction within the family.
        test: the test's name.
        trials: of the test.
        interval: of the difference, at 95 %, by the paired bootstrap.
        effect: the difference over its bootstrap standard error; None where no resample differs.
        correction: a name in `CORRECTIONS`.
        seed: of the random exchanges; None where it was not kept.
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
        """By how much the system is better, whatever the direction of the metric."""
        return self.difference if find_scoring(self.metric).higher_is_better else -self.difference


def compare_systems(
    results: Results,
    pairs: Sequence[tuple[str, str]],
    families: Mapping[str, Mapping[str, Sequence[str]]],
    trials: int = 10_000,
    seed: int = 0,
    advance: Advance | None = None,
    correction: str = HOLM,
) -> Iterator[SystemComparison]:
    """Yield the comparisons of systems with baselines, family by family, in the order given.

    Args:
        results: of all systems; a group with a task that one of a pair lacks is left out for that pair.
        pairs: (baseline, system).
        families: groups of tasks in families; within one, p-values are corrected together, for each pair of
            systems and each metric. The single tasks are a family that is always there.
        trials: of the paired approximate randomisation.
        seed: of the random exchanges.
        advance: is called after each pair and metric.
        correction: a name in `CORRECTIONS`.

    Raises:
        NeuronspecError: no correction has this name, or statistics are missing.
    """
    adjust = CORRECTIONS[correction].adjust
    everything = {**families, DIRECTIONS: {task: [task] for task in results.tasks}}
    for metric in results.metrics:
        score = find_scoring(metric).score
        for baseline, system in pairs:
            both = [task for task in results.tasks if all(results.has(one, metric, task) for one in (baseline, system))]
            groups = {
                label: tasks for family in everything.values() for label, tasks in family.items() if {*tasks} <= {*both}
            }

            def read(names: tuple[str, str], metric: str, tasks: Sequence[str]) -> Iterator[TestSet]:
                for task in tasks:
                    one, other = (results.statistics(name, metric, task) for name in names)
                    yield task, one, other

            grid = read((baseline, system), metric, both)
            found = compare_groups(grid, groups, score, trials, seed, confidence=0.95)
            if advance is not None:
                advance()
            for family, labels in everything.items():
                tests = {label: found[label] for label in labels if label in found}
                adjusted = adjust(np.array([test.p_value for test in tests.values()]))
                for (label, test), corrected in zip(tests.items(), adjusted, strict=True):
                    yield SystemComparison(
                        baseline,
                        system,
                        family,
                        label,
                        metric,
                        test.difference,
                        test.p_value,
                        float(corrected),
                        test.test,
                        test.trials,
                        test.interval,
                        None if test.effect is None or math.isinf(test.effect) else test.effect,
                        correction,
                        seed,
                    )


def correct_again(comparisons: Iterable[SystemComparison], correction: str) -> list[SystemComparison]:
    """Return comparisons with another correction of the same p-values; no test is made again.

    Args:
        comparisons: whole families of them.
        correction: a name in `CORRECTIONS`.

    Raises:
        NeuronspecError: no correction has this name.
    """
    adjust = CORRECTIONS[correction].adjust
    found = list(comparisons)
    families: dict[tuple[str, str, str, str], list[int]] = {}
    for number, one in enumerate(found):
        families.setdefault((one.baseline, one.system, one.metric, one.family), []).append(number)
    for members in families.values():
        adjusted = adjust(np.array([found[number].p_value for number in members]))
        for number, value in zip(members, adjusted.tolist(), strict=True):
            found[number] = replace(found[number], adjusted_p_value=value, correction=correction)
    return found
