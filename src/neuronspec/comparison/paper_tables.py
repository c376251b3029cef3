"""The paper's tables of a study: by language, level, model and cost, against bilingual models, zero-shot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, product
from typing import NamedTuple

from neuronspec.comparison.differences import SystemComparison
from neuronspec.comparison.groups import ALL
from neuronspec.comparison.study import BETWEEN, FINE_TUNE, LEVELS, SIDES, Cost, Study
from neuronspec.comparison.tables import Cell, Table, Title
from neuronspec.evaluation.metrics import find_scoring
from neuronspec.languages import split_direction
from neuronspec.statistics.corrections import CORRECTIONS

MOST_LANGUAGES = 16  # that fit as columns on a page
DARKEST = 10.0  # points of difference, beyond which a shade gets no darker
SECONDS = {"h": 3600.0, "min": 60.0, "s": 1.0}
BYTES = {"GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1.0}
BOLD = "Bold: the best of a column."

Rows = list[list[Cell]]


class _Column(NamedTuple):
    """Directions whose mean is one column, with their name in the comparisons where they have one."""

    tasks: Sequence[str]
    label: str = ""


def tabulate_languages(study: Study, metric: str) -> Table:
    """Return the scores of each language, from the pivot and to it (the paper's Table 1).

    Columns: Δθ, the relative increase in parameters; every language, as the tasks write it; the average. The
    baseline's row holds scores, the others differences to it; the best of a column is bold.

    Example:
        >>> from neuronspec.evaluation.results import Results, SystemScore
        >>> found = {"base en-de": 20.64, "base en-nl": 17.0, "ours en-de": 21.0, "ours en-nl": 17.0}
        >>> scores = [SystemScore(*name.split(), "BLEU", score, "", 100) for name, score in found.items()]
        >>> table = tabulate_languages(Study(Results(tuple(scores)), "base"), "BLEU")
        >>> for row in table.rows:
        ...     print(" | ".join(str(cell) for cell in row))
        base | - | 20.6 | 17.0 | 18.8
        ours |  | +0.4 | 0.0 | +0.2
    """
    languages = list_languages(study)
    blocks = {
        name: _compare(study, metric, [*_split(study, tasks, languages), _Column(tasks, label)], costs=True)
        for name, tasks, label in _sides(study)
    }
    title = f"{metric} by language: {study.title(study.baseline)}, and differences to it"
    return stack(title, ["system", "Δθ", *languages, "Avg"], blocks, explain([study], [metric], BOLD))


def tabulate_levels(study: Study, metric: str) -> Table:
    """Return average scores by resource level (the paper's Tables 2 and 14).

    Columns: Δθ; for each level, and for all directions with the pivot: from it (O2M), to it (M2O), and both (Avg).
    """
    groups, pivot = study.families[LEVELS], study.pivot
    kinds = {"O2M": "{} from " + pivot, "M2O": "{} to " + pivot, "Avg": "{}"}
    labels = {(level, kind): kinds[kind].format(level) for level, kind in product([*study.levels, ALL], kinds)}
    columns = {title: _Column(groups[label], label) for title, label in labels.items() if label in groups}
    title = f"{metric} by resource level: {study.title(study.baseline)}, and differences to it"
    told = f"O2M: from {pivot}; M2O: to {pivot}; Avg: the mean over the directions of both. {BOLD}"
    rows = _compare(study, metric, [*columns.values()], costs=True)
    return Table(title, ["system", "Δθ", *columns], rows, explain([study], [metric], told))


def tabulate_models(studies: Mapping[str, Study], metrics: Sequence[str]) -> Table:
    """Return average scores over all directions with the pivot, for several models (the paper's Tables 3 and 6).

    Args:
        studies: by what tells them apart: `{"Big": ..., "Wide": ...}`, `{"relu": ..., "gelu": ...}`.
        metrics: display names.

    Returns:
        A row a system, by its title; a group of columns a metric, a column a study. Scores, none as a difference.
    """
    titles = dict.fromkeys(study.title(system) for study in studies.values() for system in study.results.systems)
    columns = []
    for metric, study in product(metrics, studies.values()):
        tasks = study.families[LEVELS].get(ALL, [])
        names = {study.title(system): system for system in reversed(study.results.systems)}
        systems = [names.get(title, "") for title in titles]
        scores = [study.results.score(system, metric, tasks) for system in systems]
        cells = [Cell(x, mark=study.mark(one, metric, ALL)) for one, x in zip(systems, scores, strict=True)]
        columns.append(_embolden(cells, scores, metric))
    rows = [[Cell(title), *cells] for title, *cells in zip(titles, *columns, strict=True) if is_any(cells)]
    pivots = " / ".join(dict.fromkeys(study.pivot for study in studies.values()))
    told = f"Averages over all directions from and to {pivots}. {BOLD}"
    notes = explain(studies.values(), metrics, told)
    return Table(f"Average {' and '.join(metrics)}", ["system", *product(metrics, studies)], rows, notes)


def tabulate_interference(study: Study, metric: str, bilingual: str) -> Table:
    """Return what one model for all languages gains and loses by it (the paper's Table 4).

    Columns: every language that there is a bilingual model of, level by level; the average of each level. The row of
    the bilingual models holds scores, the others differences to them, in shades of blue for gains, of red for losses.

    Args:
        study: of the results.
        metric: the display name.
        bilingual: the system of the results that is made of one model a direction.

    Raises:
        NeuronspecError: there is no such system.
    """
    study.results.select(bilingual)  # which says so where it is not there
    has = study.results.has
    sides = {name: [t for t in tasks if has(bilingual, metric, t)] for name, tasks, _ in _sides(study)}
    modelled = {_language(study, task) for tasks in sides.values() for task in tasks}
    known = [language for language in list_languages(study) if language in modelled]
    levels = {level: [one for one in known if one in members] for level, members in study.levels.items()}
    levels = {level: members for level, members in levels.items() if members} or {"": known}
    shown = list(dict.fromkeys([*chain.from_iterable(levels.values()), *known]))
    blocks = {}
    for name, tasks in sides.items():
        means = [_Column([t for t in tasks if _language(study, t) in members]) for members in levels.values()]
        blocks[name] = _compare(study, metric, [*_split(study, tasks, shown), *means], bilingual, best=False)
    told = "Red: worse for sharing a model with other languages; blue: better; the darker, the more."
    header = ["system", *shown, *(f"{level} Avg".strip() for level in levels)]
    title = f"{metric}: {study.title(bilingual)}, and differences to it"
    return stack(title, header, _shade(blocks, metric), explain([study], [metric], told, bilingual))


def tabulate_efficiency(study: Study) -> Table:
    """Return what each system added and took (the paper's Table 5), as its run measured it.

    Columns: Δθ, the relative increase in parameters, and the increase; the time to find sub-networks; what is kept
    beside the model; the training: seconds, updates, tokens of the target language, and its speed over fine-tuning's.
    Data formats hold plain seconds and bytes. Systems whose costs are not known are left out.
    """
    rows = []
    tuned = _speed(study.costs.get(FINE_TUNE))
    for system in study.results.systems:
        if (cost := study.costs.get(system)) is not None:
            search, took = _measure(cost.search_seconds, SECONDS, 1.5, "-"), _measure(cost.seconds, SECONDS, 1.5)
            counts = [Cell(cost.updates, 0), Cell(cost.target_tokens, 0)]
            if tuned:
                speed = _speed(cost)
                counts.append(Cell(speed / tuned if speed else None, 2))
            sizes = [Cell(cost.parameters_added, 0), search, _measure(cost.extra_bytes, BYTES, 0.1)]
            rows.append([Cell(study.title(system)), _increase(study, system), *sizes, took, *counts])
    header: list[Title] = ["system", "Δθ", "parameters added", "finding sub-networks", "extra memory"]
    header += [("training", "time"), ("training", "updates"), ("training", "target tokens")]
    header += [("training", "speed")] if tuned else []
    notes = [f"Δθ: the relative increase in parameters over {study.title(study.baseline)}. Times are of these runs."]
    if tuned:
        notes.append(f"Speed: target tokens a second, relative to {study.title(FINE_TUNE)}.")
    return Table("Cost", header, rows, notes)


def tabulate_zero_shot(study: Study, metric: str) -> Table:
    """Return average scores of the directions without the pivot, by level of either side (the paper's Table 15)."""
    groups = study.families[BETWEEN]
    names = {(f"{source} to", target): f"{source} to {target}" for source, target in product(study.levels, repeat=2)}
    names = {title: label for title, label in names.items() if label in groups}
    labels = [*names.values(), f"{ALL} without {study.pivot}"]
    columns = [_Column(groups.get(label, []), label) for label in labels]
    title = f"{metric} without {study.pivot}: {study.title(study.baseline)}, and differences to it"
    rows = _compare(study, metric, columns)
    return Table(title, ["system", *names, ALL], rows, explain([study], [metric], BOLD))


def tabulate_thresholds(study: Study, metric: str, thresholds: Sequence[float] = (5, 10)) -> Table:
    """Return how many directions without the pivot reach a score (the paper's Table 16), of how many."""
    tasks = study.families[BETWEEN].get(f"{ALL} without {study.pivot}", [])
    higher = find_scoring(metric).higher_is_better
    rows = []
    for system in list_systems(study):
        found = [study.results.score(system, metric, [task]) for task in tasks]
        scores = [score for score in found if not math.isnan(score)]
        counts = [sum(score >= limit if higher else score <= limit for score in scores) for limit in thresholds]
        if scores:
            rows.append([Cell(study.title(system)), Cell(len(scores), 0), *(Cell(count, 0) for count in counts)])
    header = ["system", "directions", *(f"Num. {'≥' if higher else '≤'} {limit:g}" for limit in thresholds)]
    title = f"Directions without {study.pivot} that reach a {metric} score"
    return Table(title, header, rows, cite([study], [metric]))


def list_systems(study: Study, first: str = "") -> list[str]:
    """Return the systems, those that others are compared with first."""
    return list(dict.fromkeys(one for one in (first, study.baseline, *study.results.systems) if one))


def _sides(study: Study) -> list[tuple[str, list[str], str]]:
    """Return the directions from the pivot and those to it: their title, the directions, their name as a group."""
    pivot, groups = study.pivot, study.families[SIDES]
    names = {f"from {pivot}": f"One-to-Many ({pivot}-X)", f"to {pivot}": f"Many-to-One (X-{pivot})"}
    return [(name, groups[label], label) for label, name in names.items() if label in groups]


def _language(study: Study, task: str) -> str:
    source, target = split_direction(task)
    return target if source == study.pivot else source


def list_languages(study: Study) -> list[str]:
    """Return the languages of the trained directions from and to the pivot, in the order of the tasks."""
    wanted = {task for _, tasks, _ in _sides(study) for task in tasks}
    return list(dict.fromkeys(_language(study, task) for task in study.results.tasks if task in wanted))


def _split(study: Study, tasks: Iterable[str], languages: Iterable[str]) -> list[_Column]:
    """Return a column a language: its direction, or nothing."""
    own = {_language(study, task): task for task in tasks}
    return [_Column([own[one]], own[one]) if one in own else _Column([]) for one in languages]


def stack(title: str, header: Sequence[Title], blocks: Mapping[str, Rows], notes: Sequence[str]) -> Table:
    """Return a table with a section a block."""
    rows: Rows = []
    sections = {}
    for name, block in blocks.items():
        if name and block:
            sections[len(rows)] = name
        rows += block
    return Table(title, header, rows, notes, sections)


def _compare(
    study: Study, metric: str, columns: Sequence[_Column], baseline: str = "", best: bool = True, costs: bool = False
) -> Rows:
    """Return a row of a baseline's scores, and a row of differences to it for every other system that has any."""
    systems = list_systems(study, baseline)
    shown = []
    for column in columns:
        scores = [study.results.score(system, metric, column.tasks) for system in systems]
        gains = [score - scores[0] for score in scores]
        cells = [Cell(scores[0])]
        for system, gain in zip(systems[1:], gains[1:], strict=True):
            mark = study.mark(system, metric, column.label, systems[0])
            test = study.test(system, metric, column.label, systems[0])
            cells.append(Cell(gain, mark=mark, signed=True, test=test))
        shown.append(_embolden(cells, gains, metric) if best else cells)
    rows = zip(systems, zip(*shown, strict=True), strict=False)  # no columns, no rows
    return [
        [Cell(study.title(system)), *([_increase(study, system)] if costs else []), *cells]
        for system, cells in rows
        if is_any(cells)
    ]


def _embolden(cells: Sequence[Cell], values: Sequence[float], metric: str) -> list[Cell]:
    """Return cells with the best in bold, and those that look the same; none where there is nothing to compare."""
    rounded = [float(f"{value:.{cell.decimals}f}") for cell, value in zip(cells, values, strict=True)]
    known = [value for value in rounded if not math.isnan(value)]
    if len(known) < 2:
        return list(cells)
    best = max(known) if find_scoring(metric).higher_is_better else min(known)
    return [replace(cell, bold=value == best) for cell, value in zip(cells, rounded, strict=True)]


def _shade(blocks: Mapping[str, Rows], metric: str) -> dict[str, Rows]:
    """Return rows whose differences are shaded by how much better or worse they are."""
    cells = [cell for rows in blocks.values() for row in rows for cell in row if cell.signed]
    sizes = [abs(cell.content) for cell in cells if isinstance(cell.content, float)]
    unit = min(DARKEST, max(sizes, default=0.0)) or 1.0
    unit = unit if find_scoring(metric).higher_is_better else -unit

    def shade(cell: Cell) -> Cell:
        if not cell.signed or not isinstance(cell.content, float):
            return cell
        return replace(cell, shade=max(-1.0, min(1.0, cell.content / unit)))

    return {name: [[shade(cell) for cell in row] for row in rows] for name, rows in blocks.items()}


def is_any(cells: Iterable[Cell]) -> bool:
    """Tell whether a row has anything to show."""
    return any(cell.content is not None for cell in cells)


def _increase(study: Study, system: str) -> Cell:
    """Return Δθ: a share; a dash for the baseline, nothing where it is not known."""
    cost, base = study.costs.get(system), study.costs.get(study.baseline)
    if system == study.baseline or cost is None:
        return Cell(None, text="-" if system == study.baseline else "")
    before = cost.parameters - cost.parameters_added if base is None else base.parameters
    percent = 100 * (cost.parameters / before - 1)
    text = f"{percent:+,.0f}%" if abs(percent) >= 10 else f"{percent:+.2g}%"
    return Cell(percent / 100, text=text if percent else "0%")


def _speed(cost: Cost | None) -> float | None:
    """Return the target tokens that a training saw in a second."""
    return cost.target_tokens / cost.seconds if cost and cost.target_tokens and cost.seconds else None


def _measure(amount: float | None, units: Mapping[str, float], least: float, missing: str = "") -> Cell:
    """Return an amount, shown in the first unit of which it is not less than `least`."""
    if amount is None:
        return Cell(None, text=missing)
    unit = next((unit for unit, size in units.items() if amount >= least * size), [*units][-1])
    number = amount / units[unit]
    return Cell(amount, text=f"{number:.{int(number < 10)}f}".removesuffix(".0") + f" {unit}")


def explain(studies: Iterable[Study], metrics: Sequence[str], told: str = "", baseline: str = "") -> list[str]:
    """Return what a table of scores needs to be understood: its conventions, tests and signatures."""
    pairs = [(study, baseline or study.baseline) for study in studies]
    lower = [f"{metric}: lower is better." for metric in metrics if not find_scoring(metric).higher_is_better]
    notes = [" ".join([told, *lower, "Differences and averages are of unrounded scores."]).strip()]
    compared = [
        (study, one)
        for study, against in pairs
        for one in study.comparisons
        if one.metric in metrics and one.baseline == against
    ]
    if compared:
        titles = dict.fromkeys(study.title(one.baseline) for study, one in compared)
        tests = dict.fromkeys(
            f"{one.test}, {one.trials:,} trials; p <= {study.significance:g} {CORRECTIONS[one.correction].wording}"
            for study, one in compared
        )
        notes.append(
            f"↑ ↓: significantly better or worse than {' or '.join(titles)} ({' or '.join(tests)}, over single "
            "directions or over groups of one kind)."
        )
    notes += cite([study for study, _ in pairs], metrics)
    return notes + ([explain_p_values([one for _, one in compared])] if compared else [])


def explain_p_values(comparisons: Sequence[SystemComparison]) -> str:
    """Return the note that says what the p-values are, to make them again."""
    corrections = dict.fromkeys(CORRECTIONS[one.correction].wording for one in comparisons)
    seeds = sorted({one.seed for one in comparisons if one.seed is not None})
    drawn = f"; seed {' and '.join(map(str, seeds))}" if seeds else ""
    return f"p: the p-value {' or '.join(corrections)}{drawn}."


def cite(studies: Sequence[Study], metrics: Sequence[str]) -> list[str]:
    """Return the note with the signatures of metrics."""
    known = dict.fromkeys(signature for study in studies for signature in study.results.signatures)
    own = [one for metric in metrics for one in known if one.startswith(f"{metric}: ") and not one.endswith(" ``")]
    warnings = dict.fromkeys(warning for study in studies for warning in study.results.warnings)
    about = [f"{warning}." for metric in metrics for warning in warnings if warning.startswith(f"{metric} ")]
    return [*about, *([f"Signatures: {'; '.join(own)}."] if own else [])]
