"""Tables of what averages hide: single directions, how many got worse, and broken translations; and all tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product

from neuronspec.comparison.groups import ALL
from neuronspec.comparison.outcomes import count_outcomes
from neuronspec.comparison.paper_tables import (
    MOST_LANGUAGES,
    cite,
    explain,
    explain_p_values,
    is_any,
    list_languages,
    list_systems,
    tabulate_efficiency,
    tabulate_languages,
    tabulate_levels,
    tabulate_thresholds,
    tabulate_zero_shot,
)
from neuronspec.comparison.quality_table import tabulate_quality
from neuronspec.comparison.study import SIDES, Study
from neuronspec.comparison.tables import Cell, Table, Title, show_p_value
from neuronspec.evaluation.metrics import find_scoring
from neuronspec.statistics.corrections import CORRECTIONS

SIGNIFICANCE = "significance"  # the tables of all tests, too long for a terminal unless asked for


def tabulate_outcomes(study: Study) -> Table:
    """Return how many directions got better, and how many worse: "59 of 60 are significant" may hide 2 that got worse.

    Rows: every system, metric and set of directions (from the pivot, to it, ...; all). Columns: how many directions
    were compared with the baseline; how many are better, worse, equal; how many significantly so, with p-values
    corrected over the directions of the set; the one that changed for the worst, and for the best.
    """
    baseline, results = study.title(study.baseline), study.results
    sides = study.families[SIDES]
    sets = {**sides, ALL: results.tasks} if len(sides) > 1 else sides
    rows = []
    for system, metric, (name, tasks) in product(list_systems(study), results.metrics, sets.items()):
        compared = [one for task in tasks if (one := study.comparison(system, metric, task)) is not None]
        if compared:
            higher = find_scoring(metric).higher_is_better
            adjust = CORRECTIONS[study.correction].adjust
            found = count_outcomes(compared, study.significance, adjust, higher_is_better=higher)
            counts = [len(compared), found.better, found.worse, found.equal]
            counts += [found.significantly_better, found.significantly_worse]
            ends = (min(compared, key=lambda one: one.gain), max(compared, key=lambda one: one.gain))
            extremes = [cell for one in ends for cell in (Cell(one.difference, signed=True), Cell(one.tasks))]
            names = [Cell(study.title(system)), Cell(metric), Cell(name)]
            rows.append([*names, *(Cell(count, 0) for count in counts), *extremes])
    header: list[Title] = ["system", "metric", "set", "directions", "better", "worse", "equal"]
    header += [("significantly", "better"), ("significantly", "worse")]
    header += [(end, part) for end in ("worst", "best") for part in ("change", "direction")]
    correction = CORRECTIONS[study.correction].wording
    notes = [f"Significantly: p <= {study.significance:g} {correction} over the directions of the set."]
    own = [one for one in study.comparisons if one.baseline == study.baseline]
    notes += [explain_p_values(own)] if own else []
    return Table(f"Directions that are better or worse than with {baseline}", header, rows, notes)


def tabulate_directions(study: Study) -> Table:
    """Return the scores of all systems in every direction: a row a direction and metric, a column a system."""
    systems, results = study.results.systems, study.results
    rows = []
    for task, metric in product(results.tasks, results.metrics):
        cells = [_score(study, one, metric, task) for one in systems]
        if is_any(cells):
            rows.append([Cell(task), Cell(metric), *cells])
    header = ["direction", "metric", *(study.title(system) for system in systems)]
    return Table("Every direction", header, rows, explain([study], results.metrics))


def _score(study: Study, system: str, metric: str, task: str) -> Cell:
    score = study.results.score(system, metric, [task])
    return Cell(score, mark=study.mark(system, metric, task), test=study.test(system, metric, task))


def tabulate_significance(study: Study, metric: str) -> Table:
    """Return every comparison by a metric, with what its test found; to cite a p-value or to count again.

    Rows: single directions and groups of directions, by the family that their p-values are corrected in. Columns: the
    difference in points of the metric, its 95 % interval, and the effect (the difference over its bootstrap standard
    error); the p-value before and after the correction; what it takes to make them again.
    """
    rows = []
    for one in study.comparisons:
        if one.metric == metric:
            low, high = one.interval or (None, None)
            names = [Cell(text) for text in (study.title(one.system), study.title(one.baseline), one.family, one.tasks)]
            sizes = [Cell(value, 2, signed=True) for value in (one.difference, low, high)]
            p_values = [Cell(p, text=show_p_value(p)) for p in (one.p_value, one.adjusted_p_value)]
            made = [Cell(one.correction), Cell(one.trials, 0), Cell(one.seed, 0)]
            mark = study.mark(one.system, metric, one.tasks, one.baseline)
            sizes[0] = replace(sizes[0], mark=mark)
            rows.append([*names, *sizes, Cell(one.effect, 1, signed=True), *p_values, *made])
    header: list[Title] = ["system", "against", "family", "directions", "difference"]
    header += [("95 % interval", "low"), ("95 % interval", "high"), "effect", "p", "adjusted p"]
    header += ["correction", "trials", "seed"]
    tests = " or ".join(dict.fromkeys(one.test for one in study.comparisons))
    notes = [
        f"p: {tests}; adjusted: corrected within a family, for each pair of systems. The interval is that of the "
        "paired bootstrap.",
        *cite([study], [metric]),
    ]
    return Table(f"{metric}: every test", header, rows, notes)


def name_table(kind: str, metric: str) -> str:
    """Return the name of a table of one metric, and of its files: `levels.bleu`."""
    return f"{kind}.{re.sub(r'[^a-z0-9+]+', '_', metric.lower())}"


def tabulate_all(study: Study) -> dict[str, Table]:
    """Return every table of one study that it has the data for, by a name for its files.

    Languages have columns of their own up to `MOST_LANGUAGES`; thresholds are for BLEU, whose scale they are made for.
    """

    def tabulate(kind: str, table: Callable[[Study, str], Table], wanted: str = "") -> dict[str, Table]:
        return {name_table(kind, one): table(study, one) for one in study.results.metrics if one.endswith(wanted)}

    tables = tabulate("languages", tabulate_languages) if len(list_languages(study)) <= MOST_LANGUAGES else {}
    tables |= tabulate("levels", tabulate_levels) | tabulate("zero_shot", tabulate_zero_shot)
    tables |= tabulate("thresholds", tabulate_thresholds, "BLEU")
    tables |= {"efficiency": tabulate_efficiency(study), "outcomes": tabulate_outcomes(study)}
    tables |= {"quality": tabulate_quality(study), "directions": tabulate_directions(study)}
    return {name: table for name, table in tables.items() if table.rows}


def tabulate_tests(study: Study) -> dict[str, Table]:
    """Return the tables of all tests, one a metric, by a name for their files."""
    tables = {name_table(SIGNIFICANCE, one): tabulate_significance(study, one) for one in study.results.metrics}
    return {name: table for name, table in tables.items() if table.rows}
