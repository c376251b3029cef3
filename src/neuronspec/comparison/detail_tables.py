"""Tables of what averages hide: single directions, how many got worse, and every test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from neuronspec.comparison.cells import Cell
from neuronspec.comparison.differences import SystemComparison
from neuronspec.comparison.groups import ALL, BY_SIDE
from neuronspec.comparison.notes import cite, explain, explain_p_values
from neuronspec.comparison.outcomes import count_outcomes
from neuronspec.comparison.score_rows import has_content, sort_systems
from neuronspec.comparison.study import Study
from neuronspec.comparison.tables import ColumnTitle, Table
from neuronspec.evaluation.metrics import find_scoring
from neuronspec.statistics.corrections import CORRECTIONS
from neuronspec.statistics.numbers import show_p_value


def tabulate_outcomes(study: Study) -> Table:
    """Return how many directions got better, and how many worse: "59 of 60 are significant" may hide 2 that got worse.

    Rows: every system, metric and set of directions (from the pivot, to it, ...; all). Columns: how many directions
    were compared with the baseline; how many are better, worse, equal; how many significantly so, with p-values
    corrected over the directions of the set; the directions with the worst and the best change.
    """
    # A row for each system, metric and set of directions that was compared with the baseline.
    rows = []
    for system, metric, (name, tasks) in product(sort_systems(study), study.results.metrics, _list_sets(study).items()):
        compared = _list_comparisons(study, system, metric=metric, tasks=tasks)
        if compared:
            names = [Cell(study.title(system)), Cell(metric), Cell(name)]
            rows.append([*names, *_show_outcomes(study, metric, compared)])

    header: list[ColumnTitle] = ["system", "metric", "set", "directions", "better", "worse", "equal"]
    header += product(["significantly"], ["better", "worse"])
    header += product(["worst", "best"], ["change", "direction"])

    # Counts are corrected over the directions of their set, marks elsewhere over the whole family.
    correction = CORRECTIONS[study.correction].wording
    notes = [f"Significantly: p <= {study.significance:g} {correction} over the directions of the set."]

    # Comparisons with other baselines are not part of this table.
    own = [one for one in study.comparisons if one.baseline == study.baseline]
    if own:
        notes.append(explain_p_values(own))

    title = f"Directions that are better or worse than with {study.title(study.baseline)}"
    return Table(title, header, rows, notes=notes)


def _list_sets(study: Study) -> Mapping[str, Sequence[str]]:
    """Return the directions of each side; of all sides together, if there are several."""
    sides = study.families[BY_SIDE]
    # With a single side, the set of all directions would repeat it.
    return {**sides, ALL: study.results.tasks} if len(sides) > 1 else sides


def _list_comparisons(study: Study, system: str, *, metric: str, tasks: Sequence[str]) -> list[SystemComparison]:
    """Return the comparisons of a system with the baseline on single tasks, where there are any."""
    found = [study.comparison(system, metric, task) for task in tasks]
    return [one for one in found if one is not None]


def _show_outcomes(study: Study, metric: str, compared: Sequence[SystemComparison]) -> list[Cell]:
    """Return the numbers of better and worse directions, and the worst and the best change."""
    outcomes = count_outcomes(
        compared,
        level=study.significance,
        adjust=CORRECTIONS[study.correction].adjust,
        higher_is_better=find_scoring(metric).higher_is_better,
    )

    # In the order of the columns.
    counts = [len(compared), outcomes.better, outcomes.worse, outcomes.equal]
    counts += [outcomes.significantly_better, outcomes.significantly_worse]
    cells = [Cell(count, 0) for count in counts]

    # The ends of the list, by the gain: for error rates, a fall is a gain.
    worst = min(compared, key=lambda one: one.gain)
    best = max(compared, key=lambda one: one.gain)
    for one in (worst, best):
        cells += [Cell(one.difference, signed=True), Cell(one.tasks)]
    return cells


def tabulate_directions(study: Study) -> Table:
    """Return the scores of all systems in every direction: a row for each direction and metric."""
    systems, results = study.results.systems, study.results

    # Directions that a metric was not computed for have no row.
    rows = []
    for task, metric in product(results.tasks, results.metrics):
        cells = [_show_score(study, system, metric=metric, task=task) for system in systems]
        if has_content(cells):
            rows.append([Cell(task), Cell(metric), *cells])

    header = ["direction", "metric", *(study.title(system) for system in systems)]
    return Table("Every direction", header, rows, notes=explain([study], results.metrics))


def _show_score(study: Study, system: str, *, metric: str, task: str) -> Cell:
    score = study.results.score(system, metric, [task])
    return Cell(score, mark=study.mark(system, metric, task), test=study.test(system, metric, task))


def tabulate_significance(study: Study, metric: str) -> Table:
    """Return every test by a metric with its results, to cite a p-value or to count again.

    Rows: single directions and groups of directions, by the family that their p-values are corrected in. Columns: the
    difference in points of the metric, its 95 % interval, and the effect (the difference over its bootstrap standard
    error); the p-value before and after the correction; what is needed to repeat the test.
    """
    # Comparisons are stored family by family, metric by metric.
    rows = [_show_test(study, one) for one in study.comparisons if one.metric == metric]

    header: list[ColumnTitle] = ["system", "against", "family", "directions", "difference"]
    header += [("95 % interval", "low"), ("95 % interval", "high"), "effect", "p", "adjusted p"]
    header += ["correction", "trials", "seed"]

    tests = " or ".join(dict.fromkeys(one.test for one in study.comparisons))
    notes = [
        f"p: {tests}; adjusted: corrected within a family, for each pair of systems. The interval is that of the "
        "paired bootstrap.",
        *cite([study], [metric]),
    ]
    return Table(f"{metric}: every test", header, rows, notes=notes)


def _show_test(study: Study, one: SystemComparison) -> list[Cell]:
    """Return the row of one test."""
    names = (study.title(one.system), study.title(one.baseline), one.family, one.tasks)

    # The mark is that of this very pair of systems, whatever the baseline of the study is.
    mark = study.mark(one.system, one.metric, one.tasks, baseline=one.baseline)

    # People read p-values with three digits; data files hold all of them.
    low, high = one.interval or (None, None)
    return [
        *(Cell(name) for name in names),
        Cell(one.difference, 2, signed=True, mark=mark),
        Cell(low, 2, signed=True),
        Cell(high, 2, signed=True),
        Cell(one.effect, 1, signed=True),
        Cell(one.p_value, text=show_p_value(one.p_value)),
        Cell(one.adjusted_p_value, text=show_p_value(one.adjusted_p_value)),
        Cell(one.correction),
        Cell(one.trials, 0),
        Cell(one.seed, 0),
    ]
