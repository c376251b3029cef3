"""The paper's tables of scores: by language, level and model, against bilingual models, zero-shot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, product

import numpy as np

from neuronspec.comparison.cells import Cell
from neuronspec.comparison.groups import ALL, BETWEEN_LEVELS, BY_LEVEL
from neuronspec.comparison.notes import BOLD, cite, explain
from neuronspec.comparison.score_rows import (
    ScoreColumn,
    compare_rows,
    embolden,
    find_other_language,
    has_content,
    list_sides,
    list_study_languages,
    shade_differences,
    sort_systems,
    split_by_language,
    stack,
)
from neuronspec.comparison.study import Study
from neuronspec.comparison.tables import ColumnTitle, Table
from neuronspec.evaluation.metrics import find_scoring


def tabulate_languages(study: Study, metric: str) -> Table:
    """Return the scores of each language, from the pivot and to it (the paper's Table 1).

    Columns: Δθ, the relative increase in parameters; every language, as the tasks write it; the average. The
    baseline's row holds scores, the others differences to it; the best of a column is bold.

    Example:
        >>> from neuronspec.evaluation import Results, SystemScore
        >>> found = {"base en-de": 20.64, "base en-nl": 17.0, "ours en-de": 21.0, "ours en-nl": 17.0}
        >>> scores = [SystemScore(*name.split(), "BLEU", score, "", 100) for name, score in found.items()]
        >>> table = tabulate_languages(Study(Results(tuple(scores)), "base"), "BLEU")
        >>> for row in table.rows:
        ...     print(" | ".join(str(cell) for cell in row))
        base | - | 20.6 | 17.0 | 18.8
        ours |  | +0.4 | 0.0 | +0.2
    """
    # A section for each side: a column for each language, and the average over the whole side.
    languages = list_study_languages(study)
    blocks = {}
    for side in list_sides(study):
        columns = [*split_by_language(study, side.tasks, languages), ScoreColumn(side.tasks, side.label)]
        blocks[side.title] = compare_rows(study, metric, columns, costs=True)

    title = f"{metric} by language: {study.title(study.baseline)}, and differences to it"
    header = ["system", "Δθ", *languages, "Avg"]
    return stack(title, header, blocks, notes=explain([study], [metric], BOLD))


def tabulate_levels(study: Study, metric: str) -> Table:
    """Return average scores by resource level (the paper's Tables 2 and 14).

    Columns: Δθ; for each level, and for all directions with the pivot: from it (O2M), to it (M2O), and both (Avg).
    """
    groups, pivot = study.families[BY_LEVEL], study.pivot

    # A column for each group that has directions.
    columns: dict[tuple[str, str], ScoreColumn] = {}
    for level in [*study.levels, ALL]:
        for kind, label in {"O2M": f"{level} from {pivot}", "M2O": f"{level} to {pivot}", "Avg": level}.items():
            if label in groups:
                columns[level, kind] = ScoreColumn(groups[label], label)
    rows = compare_rows(study, metric, [*columns.values()], costs=True)

    title = f"{metric} by resource level: {study.title(study.baseline)}, and differences to it"
    intro = f"O2M: from {pivot}; M2O: to {pivot}; Avg: the mean over the directions of both. {BOLD}"
    return Table(title, ["system", "Δθ", *columns], rows, notes=explain([study], [metric], intro))


def tabulate_models(studies: Mapping[str, Study], metrics: Sequence[str]) -> Table:
    """Return average scores over all directions with the pivot, for several models (the paper's Tables 3 and 6).

    Args:
        studies: Studies by what distinguishes them: `{"Big": ..., "Wide": ...}`, `{"relu": ..., "gelu": ...}`.
        metrics: Display names of the metrics.

    Returns:
        A row for each system, by its title; a group of columns for each metric, a column for each study. All cells
        are scores, none differences.
    """
    # Systems of several studies are the same system if they have the same title.
    titles: dict[str, None] = {}
    for study in studies.values():
        titles |= dict.fromkeys(map(study.title, study.results.systems))

    # A column for each metric and study, with the systems in the same order in all of them.
    columns = []
    for metric, study in product(metrics, studies.values()):
        columns.append(_average_systems(study, metric, list(titles)))

    # From columns to rows, without systems that have no score in any study.
    rows = []
    for title, *cells in zip(titles, *columns, strict=True):
        if has_content(cells):
            rows.append([Cell(title), *cells])

    pivots = " / ".join(dict.fromkeys(study.pivot for study in studies.values()))
    intro = f"Averages over all directions from and to {pivots}. {BOLD}"
    header: list[ColumnTitle] = ["system", *product(metrics, studies)]
    notes = explain(studies.values(), metrics, intro)
    return Table(f"Average {' and '.join(metrics)}", header, rows, notes=notes)


def _average_systems(study: Study, metric: str, titles: Sequence[str]) -> list[Cell]:
    """Return the average score of the system with each title, over all directions with the pivot."""
    tasks = study.families[BY_LEVEL].get(ALL, [])

    # Reversed, so that the first of several systems with one title counts.
    names = {study.title(system): system for system in reversed(study.results.systems)}

    # An unknown title has the score nan, and an empty cell.
    cells, scores = [], []
    for title in titles:
        system = names.get(title, "")
        score = study.results.score(system, metric, tasks)
        cells.append(Cell(score, mark=study.mark(system, metric, ALL)))
        scores.append(score)
    return embolden(cells, scores, metric)


def tabulate_interference(study: Study, metric: str, bilingual: str) -> Table:
    """Return the gains and losses of one model for all languages against bilingual models (the paper's Table 4).

    Columns: every language with a bilingual model, level by level; the average of each level. The row of the
    bilingual models holds scores, the others differences to them, in shades of blue for gains, of red for losses.

    Args:
        study: Study of the results.
        metric: Display name of the metric.
        bilingual: Name of the system that consists of one model for each direction.

    Raises:
        NeuronspecError: If there is no such system.
    """
    study.results.select(bilingual)  # raises an error if it does not exist

    # The directions of each side that have a bilingual model.
    sides: dict[str, list[str]] = {}
    for side in list_sides(study):
        sides[side.title] = [task for task in side.tasks if study.results.has(bilingual, metric, task)]

    # Their languages, level by level; at the end those without a level.
    modeled = {find_other_language(study, task) for task in chain(*sides.values())}
    known = [language for language in list_study_languages(study) if language in modeled]
    levels = _find_known_levels(study, known)
    languages = list(dict.fromkeys([*chain(*levels.values()), *known]))

    # A section for each side: its languages, then the averages of the levels. Shades take the place of bold.
    blocks = {}
    for title, tasks in sides.items():
        columns = split_by_language(study, tasks, languages) + _average_levels(study, tasks, levels)
        blocks[title] = compare_rows(study, metric, columns, baseline=bilingual, bold=False)

    intro = "Red: worse for sharing a model with other languages; blue: better; the darker, the more."
    header = ["system", *languages, *(f"{level} Avg".strip() for level in levels)]
    title = f"{metric}: {study.title(bilingual)}, and differences to it"
    notes = explain([study], [metric], intro, baseline=bilingual)
    return stack(title, header, shade_differences(blocks, metric), notes=notes)


def _average_levels(study: Study, tasks: Sequence[str], levels: Mapping[str, Sequence[str]]) -> list[ScoreColumn]:
    """Return a column for each level: the mean over its directions."""
    columns = []
    for members in levels.values():
        own = [task for task in tasks if find_other_language(study, task) in members]
        columns.append(ScoreColumn(own))
    return columns


def _find_known_levels(study: Study, known: Sequence[str]) -> dict[str, list[str]]:
    """Return the languages of each level that are known; one level without a name if no level has any."""
    levels = {}
    for level, members in study.levels.items():
        own = [language for language in known if language in members]
        if own:
            levels[level] = own
    return levels or {"": list(known)}


def tabulate_zero_shot(study: Study, metric: str) -> Table:
    """Return average scores of the directions without the pivot, by level of either side (the paper's Table 15)."""
    groups = study.families[BETWEEN_LEVELS]

    # A column for each pair of levels that has directions, and one for all directions.
    labels: dict[ColumnTitle, str] = {}
    for source, target in product(study.levels, repeat=2):
        if f"{source} to {target}" in groups:
            labels[f"{source} to", target] = f"{source} to {target}"
    labels[ALL] = f"{ALL} without {study.pivot}"
    columns = [ScoreColumn(groups.get(label, []), label) for label in labels.values()]

    # Each column shows the baseline's mean score, and the differences of the others to it.
    rows = compare_rows(study, metric, columns)

    title = f"{metric} without {study.pivot}: {study.title(study.baseline)}, and differences to it"
    return Table(title, ["system", *labels], rows, notes=explain([study], [metric], BOLD))


def tabulate_thresholds(study: Study, metric: str, thresholds: Sequence[float] = (5, 10)) -> Table:
    """Return how many directions without the pivot reach a score (the paper's Table 16), of how many."""
    tasks = study.families[BETWEEN_LEVELS].get(f"{ALL} without {study.pivot}", [])
    higher_is_better = find_scoring(metric).higher_is_better

    rows = []
    for system in sort_systems(study):
        found = np.array([study.results.score(system, metric, [task]) for task in tasks])
        scores = found[~np.isnan(found)]  # only directions that the system was scored on
        if not len(scores):
            continue

        row = [Cell(study.title(system)), Cell(len(scores), 0)]
        for limit in thresholds:
            # Error rates reach a limit from above.
            reached = scores >= limit if higher_is_better else scores <= limit
            row.append(Cell(int(reached.sum()), 0))
        rows.append(row)

    sign = "≥" if higher_is_better else "≤"
    header = ["system", "directions", *(f"Num. {sign} {limit:g}" for limit in thresholds)]
    title = f"Directions without {study.pivot} that reach a {metric} score"
    return Table(title, header, rows, notes=cite([study], [metric]))
