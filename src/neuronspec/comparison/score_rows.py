"""Rows of scores: a baseline's scores and the differences of other systems to them, in bold or in shades."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from neuronspec.comparison.cells import Cell
from neuronspec.comparison.cost_table import show_increase
from neuronspec.comparison.groups import BY_SIDE
from neuronspec.comparison.study import Study
from neuronspec.comparison.tables import ColumnTitle, Table, TableRows
from neuronspec.evaluation.metrics import find_scoring
from neuronspec.languages import split_direction

MAX_SHADE_POINTS = 10.0  # larger differences get no darker shade


class ScoreColumn(NamedTuple):
    """A column that shows the mean score over directions.

    Attributes:
        tasks: Directions of the mean.
        label: Name of the directions in the comparisons, where they have one.
    """

    tasks: Sequence[str]
    label: str = ""


class PivotSide(NamedTuple):
    """The directions from the pivot, or those to it.

    Attributes:
        title: Title of their section in tables.
        tasks: Directions.
        label: Name of their group in the comparisons.
    """

    title: str
    tasks: list[str]
    label: str


def sort_systems(study: Study, first: str = "") -> list[str]:
    """Return the systems, those that others are compared with first."""
    # Each name keeps its first place; an empty `first` is dropped.
    systems = dict.fromkeys([first, study.baseline, *study.results.systems])
    return list(filter(None, systems))


def list_sides(study: Study) -> list[PivotSide]:
    """Return the directions from the pivot and those to it, where there are any."""
    pivot, groups = study.pivot, study.families[BY_SIDE]
    titles = {f"from {pivot}": f"One-to-Many ({pivot}-X)", f"to {pivot}": f"Many-to-One (X-{pivot})"}

    sides = []
    for label, title in titles.items():
        if label in groups:
            sides.append(PivotSide(title, groups[label], label))
    return sides


def find_other_language(study: Study, task: str) -> str:
    """Return the language of a direction that is not the pivot."""
    source, target = split_direction(task)
    return target if source == study.pivot else source


def list_study_languages(study: Study) -> list[str]:
    """Return the languages of the trained directions from and to the pivot, in the order of the tasks."""
    # The directions that tables by language show.
    wanted: set[str] = set()
    for side in list_sides(study):
        wanted.update(side.tasks)

    own = [task for task in study.results.tasks if task in wanted]
    return list(dict.fromkeys(find_other_language(study, task) for task in own))


def split_by_language(study: Study, tasks: Iterable[str], languages: Iterable[str]) -> list[ScoreColumn]:
    """Return a column for each language: its direction, or nothing."""
    # All tasks are of one side, so each language has one direction.
    own = {find_other_language(study, task): task for task in tasks}
    columns = []
    for language in languages:
        task = own.get(language)
        columns.append(ScoreColumn([]) if task is None else ScoreColumn([task], task))
    return columns


def compare_rows(
    study: Study,
    metric: str,
    columns: Sequence[ScoreColumn],
    *,
    baseline: str = "",
    bold: bool = True,
    costs: bool = False,
) -> TableRows:
    """Return a row of a baseline's scores, and a row of differences to it for every other system that has any.

    Args:
        study: Study of the results.
        metric: Display name of the metric.
        columns: Columns of scores.
        baseline: Name of the baseline, by default that of the study.
        bold: True to set the best of each column in bold.
        costs: True for a column with the increase in parameters (Δθ) after the names.
    """
    systems = sort_systems(study, baseline)
    cells = [_compare_column(study, metric, column, systems=systems, bold=bold) for column in columns]

    # From columns to rows, without those of systems that have no score.
    rows: TableRows = []
    for system, own in zip(systems, zip(*cells, strict=True), strict=False):  # without columns, no rows
        if not has_content(own):
            continue

        # Names first, then costs, then scores.
        start = [Cell(study.title(system))]
        if costs:
            start.append(show_increase(study, system))
        rows.append([*start, *own])
    return rows


def _compare_column(
    study: Study, metric: str, column: ScoreColumn, *, systems: Sequence[str], bold: bool
) -> list[Cell]:
    """Return the first system's score, and the differences of the others to it."""
    baseline = systems[0]
    # A system that lacks one of the directions has the score nan, and an empty cell.
    scores = [study.results.score(system, metric, column.tasks) for system in systems]

    # The baseline's own difference is 0: its score is in bold where no system is better.
    differences = [score - scores[0] for score in scores]

    # The baseline's row is its scores; marks compare the others with it.
    cells = [Cell(scores[0])]
    for system, difference in zip(systems[1:], differences[1:], strict=True):
        mark = study.mark(system, metric, column.label, baseline=baseline)
        test = study.test(system, metric, column.label, baseline=baseline)
        cells.append(Cell(difference, mark=mark, signed=True, test=test))
    return embolden(cells, differences, metric) if bold else cells


def embolden(cells: Sequence[Cell], values: Sequence[float], metric: str) -> list[Cell]:
    """Return cells with the best, and those that look the same, in bold; none if there is nothing to compare."""
    # What looks the same is equally good: values are compared as they are shown.
    rounded = [float(f"{value:.{cell.decimals}f}") for cell, value in zip(cells, values, strict=True)]
    known = [value for value in rounded if not math.isnan(value)]
    if len(known) < 2:
        return list(cells)

    # For error rates, the lowest value is the best, also among differences.
    best = max(known) if find_scoring(metric).higher_is_better else min(known)
    return [replace(cell, bold=value == best) for cell, value in zip(cells, rounded, strict=True)]


def shade_differences(blocks: Mapping[str, TableRows], metric: str) -> dict[str, TableRows]:
    """Return rows whose differences are shaded by how much better or worse they are."""
    cells = chain(*chain(*blocks.values()))
    differences = [_find_difference(cell) or 0.0 for cell in cells]

    # The largest difference has the darkest shade; for error rates, a fall is a gain.
    unit = min(MAX_SHADE_POINTS, max(map(abs, differences), default=0.0)) or 1.0
    if not find_scoring(metric).higher_is_better:
        unit = -unit

    # The shades of all sections have the same unit, so that they can be compared.
    shaded = {}
    for name, rows in blocks.items():
        shaded[name] = [[_shade_cell(cell, unit) for cell in row] for row in rows]
    return shaded


def _shade_cell(cell: Cell, unit: float) -> Cell:
    difference = _find_difference(cell)
    return cell if difference is None else replace(cell, shade=max(-1.0, min(1.0, difference / unit)))


def _find_difference(cell: Cell) -> float | None:
    """Return the difference that a cell shows; None if it shows none."""
    return cell.content if cell.signed and isinstance(cell.content, float) else None


def has_content(cells: Iterable[Cell]) -> bool:
    """Return whether a row has anything to show."""
    return any(cell.content is not None for cell in cells)


def stack(title: str, header: Sequence[ColumnTitle], blocks: Mapping[str, TableRows], notes: Sequence[str]) -> Table:
    """Return a table with a section for each block.

    Args:
        title: Title of the table.
        header: Titles of the columns.
        blocks: Rows of each section, by its subtitle; an empty one for no subtitle.
        notes: Sentences below the table.
    """
    rows: TableRows = []
    sections = {}
    for subtitle, block in blocks.items():
        # A section starts at the number of its first row.
        if subtitle and block:
            sections[len(rows)] = subtitle
        rows += block
    return Table(title, header, rows, notes=notes, sections=sections)
