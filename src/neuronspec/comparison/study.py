"""A study: results, what they are compared with, and how directions are grouped; all that a table needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from neuronspec.comparison.differences import SystemComparison, compare_systems, correct_again
from neuronspec.comparison.groups import (
    Groups,
    Levels,
    find_levels,
    group_between_levels,
    group_by_level,
    group_by_side,
)
from neuronspec.comparison.tables import Tested
from neuronspec.evaluation.results import Results
from neuronspec.languages import spell_pivot
from neuronspec.progress import Advance
from neuronspec.statistics.corrections import HOLM

FINE_TUNE = "fine_tune"  # the training that the other methods are measured against
SIDES, LEVELS, BETWEEN = "sides", "levels", "between"  # the families of groups


@dataclass(frozen=True)
class Cost:
    """What a system took and added.

    Attributes:
        parameters: of the whole model.
        parameters_added: to the baseline's, of those.
        extra_bytes: of what is kept beside the model's own weights: masks, adapters.
        seconds: of the training.
        search_seconds: of finding the sub-networks, before the training; None where there are none.
        updates: of the training.
        target_tokens: that the training saw.
    """

    parameters: int
    parameters_added: int = 0
    extra_bytes: int = 0
    seconds: float | None = None
    search_seconds: float | None = None
    updates: int | None = None
    target_tokens: int | None = None


@dataclass(frozen=True)
class Study:
    """Results, and what the tables say of them.

    Attributes:
        results: of all systems.
        baseline: the system that the others are compared with.
        pivot: the language that most directions have in common.
        levels: the languages of each resource level, as the tasks write them.
        comparisons: of the systems with the baseline (and others), in the families of `group_families`.
        significance: an adjusted p-value up to it is marked.
        titles: what a system is called in tables, where that is not its name.
        costs: what systems took, where that is known.
        trials: of the tests, for the notes.
        correction: of the p-values of a family: `none`, `holm` or `bh`.
    """

    results: Results
    baseline: str
    pivot: str = "en"
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    comparisons: Sequence[SystemComparison] = ()
    significance: float = 0.05
    titles: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, Cost] = field(default_factory=dict)
    trials: int = 10_000
    correction: str = HOLM

    def title(self, system: str) -> str:
        """Return what a system is called in tables."""
        return self.titles.get(system, system)

    @cached_property
    def families(self) -> dict[str, Groups]:
        """The groups of directions, in families."""
        return group_families(self.results, self.pivot, self.levels)

    def comparison(self, system: str, metric: str, tasks: str, baseline: str | None = None) -> SystemComparison | None:
        """Return the comparison of a system with a baseline on a task or a group; None where there is none."""
        return self._comparisons.get((baseline or self.baseline, system, metric, tasks))

    def mark(self, system: str, metric: str, tasks: str, baseline: str | None = None) -> str:
        """Return `↑` or `↓` where a system is significantly better or worse than a baseline, else nothing."""
        one = self.comparison(system, metric, tasks, baseline)
        if one is None or one.adjusted_p_value > self.significance:
            return ""
        return "↑" if one.gain > 0 else "↓"

    def test(self, system: str, metric: str, tasks: str, baseline: str | None = None) -> Tested | None:
        """Return what a cell of a table shows of the comparison of a system with a baseline."""
        one = self.comparison(system, metric, tasks, baseline)
        if one is None:
            return None
        low, high = one.interval or (None, None)
        return Tested(one.difference, low, high, one.p_value, one.adjusted_p_value)

    @cached_property
    def _comparisons(self) -> dict[tuple[str, str, str, str], SystemComparison]:
        return {(one.baseline, one.system, one.metric, one.tasks): one for one in self.comparisons}


def group_families(results: Results, pivot: str, levels: Levels) -> dict[str, Groups]:
    """Return the groups that tables average over, in the families in which p-values are corrected together."""
    tasks = results.tasks
    return {
        SIDES: group_by_side(tasks, pivot, results.zero_shot),
        LEVELS: group_by_level(tasks, pivot, levels),
        BETWEEN: group_between_levels(tasks, pivot, levels),
    }


def make_study(
    results: Results,
    baseline: str,
    pivot: str = "en",
    levels: Levels | None = None,
    comparisons: Sequence[SystemComparison] = (),
    significance: float = 0.05,
    trials: int = 10_000,
    correction: str = HOLM,
) -> Study:
    """Return a study of some results, with the comparisons that are known of them.

    Args:
        results: of all systems.
        baseline: one of them.
        pivot: the language that most directions have in common.
        levels: the languages of each resource level; EC30's where not given and fitting.
        comparisons: of systems, made before.
        significance: an adjusted p-value up to it is marked.
        trials: of the tests.
        correction: of p-values: `none`, `holm` or `bh`. Known comparisons are corrected so.

    Raises:
        NeuronspecError: there is no such baseline or no such correction.
    """
    results.select(baseline)  # which says so where it is not there
    pivot = spell_pivot(results.tasks, pivot)
    found = find_levels(results.tasks, pivot, levels)
    if any(one.correction != correction for one in comparisons):
        comparisons = correct_again(comparisons, correction)
    return Study(results, baseline, pivot, found, comparisons, significance, trials=trials, correction=correction)


def compare(
    study: Study, pairs: Sequence[tuple[str, str]] | None = None, seed: int = 0, advance: Advance | None = None
) -> Study:
    """Return a study with its systems compared, in all groups of directions and in single ones.

    Args:
        study: of the results.
        pairs: (baseline, system) to compare, where that is not the baseline with every other one.
        seed: of the random exchanges.
        advance: is called after each pair and metric.

    Raises:
        NeuronspecError: statistics of a system are missing.
    """
    systems = [system for system in study.results.systems if system != study.baseline]
    chosen = pairs if pairs is not None else [(study.baseline, system) for system in systems]
    found = compare_systems(
        study.results, chosen, study.families, study.trials, seed, advance, correction=study.correction
    )
    return replace(study, comparisons=tuple(found))
