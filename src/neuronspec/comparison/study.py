"""Studies: results, what they are compared with, and how directions are grouped; all that a table needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from neuronspec.comparison.cells import CellTest
from neuronspec.comparison.differences import SystemComparison, compare_systems, correct_again
from neuronspec.comparison.groups import Groups, Levels, find_levels, group_families
from neuronspec.evaluation.results import Results
from neuronspec.languages import spell_pivot
from neuronspec.progress import Advance
from neuronspec.statistics.corrections import HOLM


@dataclass(frozen=True)
class Cost:
    """The costs of a system: its parameters, memory and time.

    Attributes:
        parameters: Number of parameters of the whole model.
        parameters_added: Number of these that the baseline does not have.
        extra_bytes: Size of the files that are kept next to the model's own weights: masks, adapters.
        seconds: Duration of the training.
        search_seconds: Duration of the search for sub-networks, before the training; None if there are none.
        updates: Number of updates of the training.
        target_tokens: Number of target tokens that the training saw.
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
    """Results of systems, with everything that tables show of them.

    Attributes:
        results: Results of all systems.
        baseline: Name of the system that the others are compared with.
        pivot: Language that most directions have in common.
        levels: Languages of each resource level, as the tasks write them.
        comparisons: Tests of the systems against the baseline (and others), in the families of `families`.
        significance: Significance level; adjusted p-values up to it are marked.
        titles: Names of systems in tables, where they differ from the names in the results.
        costs: Costs of systems, where they are known.
        trials: Number of trials of the tests, for the notes.
        correction: Correction of the p-values of a family: `none`, `holm` or `bh`.
        fine_tuned: Name of the system that was trained without any method, if there is one: the speeds of other
            trainings, and their results over several seeds, are compared with it.
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
    fine_tuned: str = ""

    def title(self, system: str) -> str:
        """Return the name of a system in tables."""
        return self.titles.get(system, system)

    @cached_property
    def families(self) -> dict[str, Groups]:
        """The groups of directions, in families."""
        return group_families(self.results.tasks, self.pivot, self.levels, self.results.zero_shot)

    def comparison(self, system: str, metric: str, tasks: str, baseline: str | None = None) -> SystemComparison | None:
        """Return the test of a system against a baseline on a task or a group; None if there is none.

        Args:
            system: Name of the system.
            metric: Display name of the metric.
            tasks: One task, or the name of a group.
            baseline: Name of the baseline, by default that of the study.
        """
        return self._comparisons.get((baseline or self.baseline, system, metric, tasks))

    def against(self, baseline: str) -> Study:
        """Return the study with another baseline, so that all marks of a page mean the same.

        Systems that the baseline was compared with are compared with it: the test is the same in both directions.

        Args:
            baseline: Name of the new baseline.
        """
        turned = [one.turn() for one in self.comparisons if one.system == baseline]
        return replace(self, baseline=baseline, comparisons=[*self.comparisons, *turned])

    def mark(self, system: str, metric: str, tasks: str, baseline: str | None = None) -> str:
        """Return `↑` or `↓` if a system is significantly better or worse than a baseline, else nothing."""
        one = self.comparison(system, metric, tasks, baseline=baseline)
        if one is None or one.adjusted_p_value > self.significance:
            return ""
        # The gain, not the difference: for error rates, a fall is better.
        return "↑" if one.gain > 0 else "↓"

    def test(self, system: str, metric: str, tasks: str, baseline: str | None = None) -> CellTest | None:
        """Return what a cell of a table shows of the test of a system against a baseline."""
        one = self.comparison(system, metric, tasks, baseline=baseline)
        if one is None:
            return None
        low, high = one.interval or (None, None)
        return CellTest(difference=one.difference, low=low, high=high, p=one.p_value, adjusted_p=one.adjusted_p_value)

    @cached_property
    def _comparisons(self) -> dict[tuple[str, str, str, str], SystemComparison]:
        # Every cell of a table asks for its test: a search through all of them would be slow.
        return {(one.baseline, one.system, one.metric, one.tasks): one for one in self.comparisons}


def make_study(
    results: Results,
    baseline: str,
    *,
    pivot: str = "en",
    levels: Levels | None = None,
    comparisons: Sequence[SystemComparison] = (),
    significance: float = 0.05,
    trials: int = 10_000,
    correction: str = HOLM,
) -> Study:
    """Return a study of results, with the comparisons that are already known.

    Args:
        results: Results of all systems.
        baseline: Name of the system that the others are compared with.
        pivot: Language that most directions have in common, in any spelling.
        levels: Languages of each resource level; by default those of EC30 where they fit.
        comparisons: Tests of the systems that were made before; corrected again if their correction is another.
        significance: Significance level; adjusted p-values up to it are marked.
        trials: Number of trials of the tests.
        correction: Correction of p-values: `none`, `holm` or `bh`.

    Raises:
        NeuronspecError: If there is no such baseline or no such correction.
    """
    results.select(baseline)  # raises an error if it does not exist

    # Tests need not be made again for another correction of their p-values.
    if any(one.correction != correction for one in comparisons):
        comparisons = correct_again(comparisons, correction)

    # The pivot and the levels as the tasks spell them.
    pivot = spell_pivot(results.tasks, pivot)
    return Study(
        results=results,
        baseline=baseline,
        pivot=pivot,
        levels=find_levels(results.tasks, pivot, levels),
        comparisons=comparisons,
        significance=significance,
        trials=trials,
        correction=correction,
    )


def compare_study(
    study: Study, pairs: Sequence[tuple[str, str]] | None = None, seed: int = 0, advance: Advance | None = None
) -> Study:
    """Return a study with its systems tested, in all groups of directions and in single ones.

    Args:
        study: Study of the results.
        pairs: Pairs of (baseline, system) to test; by default the baseline with every other system.
        seed: Seed of the random exchanges.
        advance: Function that is called after each pair and metric.

    Raises:
        NeuronspecError: If statistics of a system are missing.
    """
    if pairs is None:
        pairs = [(study.baseline, system) for system in study.results.systems if system != study.baseline]

    # The settings of the tests are those of the study, so that its notes describe them.
    found = compare_systems(
        study.results,
        pairs,
        study.families,
        trials=study.trials,
        seed=seed,
        correction=study.correction,
        advance=advance,
    )
    return replace(study, comparisons=tuple(found))
