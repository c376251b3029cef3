"""The table of average scores: a row for each system."""

from __future__ import annotations

from collections.abc import Callable

from neuronspec.comparison.cells import Cell
from neuronspec.comparison.groups import BY_SIDE
from neuronspec.comparison.notes import explain
from neuronspec.comparison.study import Study
from neuronspec.comparison.tables import Table, TableRows


def tabulate_averages(study: Study) -> Table:
    """Return the mean score of every system over each group of directions: from the pivot, into it, others."""
    groups, metrics = study.families[BY_SIDE], study.results.metrics
    header = ["system", *(f"{metric} {group}" for group in groups for metric in metrics)]
    rows = list_averages(study, lambda _: study.baseline)
    return Table("Averages over directions", header, rows, notes=explain([study], metrics))


def list_averages(study: Study, choose_baseline: Callable[[str], str]) -> TableRows:
    """Return a row for each system: its title, then a cell for each group of directions and each metric.

    Args:
        study: Study of the systems.
        choose_baseline: Function from a system to the one that its marks refer to.
    """
    rows = []
    for system in study.results.systems:
        baseline = choose_baseline(system)
        cells = [
            Cell(
                study.results.score(system, metric, tasks),
                mark=study.mark(system, metric, group, baseline),
                test=study.test(system, metric, group, baseline),
            )
            for group, tasks in study.families[BY_SIDE].items()
            for metric in study.results.metrics
        ]
        rows.append([Cell(study.title(system)), *cells])
    return rows
