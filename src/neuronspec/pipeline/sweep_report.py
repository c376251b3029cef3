"""The report of a sweep: the tables of all its points together, and what each numeric key changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neuronspec.comparison.cells import Cell
from neuronspec.comparison.cost_table import tabulate_efficiency
from neuronspec.comparison.differences import SystemComparison
from neuronspec.comparison.groups import ALL, BY_SIDE
from neuronspec.comparison.tables import ColumnTitle, Table, write_tables
from neuronspec.config.sweeps import show_value
from neuronspec.errors import NeuronspecError, first_line
from neuronspec.evaluation.results import merge_results
from neuronspec.figures.key_gains import GainPoint, draw_key_gains
from neuronspec.files import publish, write_text
from neuronspec.names import child
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.layout import PRETRAINED
from neuronspec.pipeline.run_results import TABLES, RunResults, load_results, tabulate_averages
from neuronspec.pipeline.summary import SUMMARY_FILE
from neuronspec.pipeline.sweeps import Point, Sweep
from neuronspec.pipeline.systems import COPY

FIGURES = "figures"  # below the directory of the report


@dataclass(frozen=True)
class PointResults:
    """The results of a point of a sweep.

    Attributes:
        point: The point.
        results: The results of its run.
    """

    point: Point
    results: RunResults

    @property
    def sparsity(self) -> Mapping[str, float]:
        """Mean sparsity of the selected masks for each layer; empty without masks."""
        masks = self.point.run.layout.masks
        if not (masks / MASKS_FILE).is_file():
            return {}
        return NeuronMasks.from_pretrained(masks).sparsity_by_layer()


Failures = Mapping[str, NeuronspecError]
"""The error of each point that failed, by the name of the point."""


def load_sweep(sweep: Sweep, failures: Failures) -> list[PointResults]:
    """Read the results of every point of a finished sweep that did not fail."""
    finished = [point for point in sweep.points if point.name not in failures]
    return [PointResults(point, load_results(point.run.config, point.run.layout)) for point in finished]


def write_sweep_report(sweep: Sweep, failures: Failures) -> None:
    """Write the tables of a sweep, in every format, its figures and its summary."""
    results = load_sweep(sweep, failures)
    tables = tabulate_sweep(results, failures)

    paragraphs = [
        f"# {results[0].point.run.config.name}: {', '.join(sweep.keys)}",
        f"{len(results)} runs: {', '.join(f'`{one.point.name}`' for one in results)}.",
        *(table.to_markdown() for table in tables.values()),
        f"Each run is in the directory of its name. All tables are in `{TABLES}/`, figures in `{FIGURES}/`.",
    ]
    with publish(sweep.report) as temporary:
        write_text(temporary / SUMMARY_FILE, "\n\n".join(paragraphs) + "\n")
        write_tables(tables, temporary / TABLES)
        draw_sweep(results, temporary / FIGURES)


def tabulate_sweep(results: Sequence[PointResults], failures: Failures) -> dict[str, Table]:
    """Return the tables of a sweep by name: a row for each point and system.

    Args:
        results: Results of the points that are finished.
        failures: Errors of the others, which the notes of every table name.
    """
    note = (
        "Each system is compared with the baseline of its own point, on the same test text; p-values are corrected "
        "within a point, not over all points."
    )
    notes = [note, *_list_cautions(results)]
    tables = {
        "differences": _join("Differences to the baseline", results, _tabulate_differences, notes),
        "averages": _join("Averages over directions", results, lambda one: tabulate_averages(one.results)),
        "efficiency": _join("Cost", results, lambda one: tabulate_efficiency(one.results.study)),
    }
    missing = [f"{name} failed and is missing: {first_line(error)}." for name, error in failures.items()]
    return {name: replace(table, notes=[*table.notes, *missing]) for name, table in tables.items()}


def _list_cautions(results: Sequence[PointResults]) -> list[str]:
    """Return a caution if the points were not scored on the same directions and text with the same metrics."""
    if len({frozenset(one.results.study.results.tasks) for one in results}) > 1:
        return ["The points have other directions: their averages are over different test text."]

    # Merging refuses other references or signatures; the merged results are not needed.
    try:
        merge_results(
            one.results.study.results.select(system, f"{one.point.name}:{system}")
            for one in results
            for system in one.results.study.results.systems
        )
    except NeuronspecError:
        return ["The points have other test text or metrics: their scores cannot be compared with each other."]
    return []


def _tabulate_differences(one: PointResults) -> Table:
    """Return the difference of each system to its baseline, for each group of directions and each metric."""
    report = one.results
    study, groups = report.study, report.study.families[BY_SIDE]
    header: list[ColumnTitle] = ["system", "baseline"]
    header += [(metric, group) for group in groups for metric in study.results.metrics]

    rows = []
    for system in study.results.systems:
        if system in (PRETRAINED, COPY):
            continue
        baseline = report.baseline(system)
        row = [Cell(study.title(system)), Cell(study.title(baseline))]
        for group in groups:
            row += [_show_difference(report, system, metric, group) for metric in study.results.metrics]
        rows.append([*row, Cell(_percent_off(report, system))])
    return Table("Differences to the baseline", [*header, "sparsity %"], rows)


def _show_difference(report: RunResults, system: str, metric: str, group: str) -> Cell:
    study, baseline = report.study, report.baseline(system)
    test = study.test(system, metric, group, baseline)
    if test is None:
        return Cell(None)
    return Cell(test.difference, signed=True, mark=study.mark(system, metric, group, baseline), test=test)


def _percent_off(report: RunResults, system: str) -> float | None:
    masks = report.masks.get(system)
    return None if masks is None else 100 * masks.mean_sparsity()


def _join(
    title: str,
    results: Sequence[PointResults],
    tabulate: Callable[[PointResults], Table],
    notes: Sequence[str] | None = None,
) -> Table:
    """Return the rows of the tables of all points, with the values of the point in front."""
    tables = [(one.point.values, tabulate(one)) for one in results]
    keys = list(results[0].point.values)

    # Points can have other columns: other languages, other metrics.
    columns = list(dict.fromkeys(column for _, table in tables for column in table.header))
    rows = []
    for values, table in tables:
        start = [_show_key(values[key]) for key in keys]
        for row in table.rows:
            cells = dict(zip(table.header, row, strict=True))
            rows.append([*start, *(cells.get(column, Cell(None)) for column in columns)])

    joined = [note for _, table in tables for note in table.notes] if notes is None else notes
    return Table(title, [*keys, *columns], rows, list(dict.fromkeys(joined)))


def _show_key(value: Any) -> Cell:
    """Return the cell of a value: numbers stay numbers in data formats."""
    if _is_number(value):
        return Cell(value, text=show_value(value))
    return Cell(show_value(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def draw_sweep(results: Sequence[PointResults], directory: Path) -> list[Path]:
    """Draw, for each key whose values are numbers, how the gain of every method depends on it (paper Figure 5).

    The gain is that of the first metric, on average over the directions with the pivot.

    Args:
        results: Results of every point.
        directory: Directory of the figures.

    Returns:
        The paths of the written files.
    """
    written = []
    for key in results[0].point.values:
        if not all(_is_number(one.point.values[key]) for one in results):
            continue
        lines = _collect_lines(results, key)
        if lines:
            metric = results[0].results.study.results.metrics[0]
            stem = child(directory, f"gain_over_{key}")
            sparsity = _collect_sparsity(results, key)
            written += draw_key_gains(lines, stem, key=key, metric=metric, sparsity=sparsity)
    return written


def _collect_lines(results: Sequence[PointResults], key: str) -> dict[str, list[GainPoint]]:
    """Return the gain of every method at each value of a key; a line for each value of the other keys."""
    lines: dict[str, list[GainPoint]] = {}
    for one in results:
        study = one.results.study
        others = [f"{name}={show_value(value)}" for name, value in one.point.values.items() if name != key]
        for system in one.results.trained:
            if system == PRETRAINED:
                continue
            baseline = one.results.baseline(system)
            test = study.comparison(system, study.results.metrics[0], ALL, baseline)
            if test is None:
                continue
            name = ", ".join([f"{study.title(system)} - {study.title(baseline)}", *others])
            lines.setdefault(name, []).append(_make_point(one.point.values[key], test))
    return lines


def _make_point(value: float, test: SystemComparison) -> GainPoint:
    """Return a gain with its interval, positive where the system is better, also where a lower score is."""
    sign = 1 if test.gain == test.difference else -1
    low, high = (None, None) if test.interval is None else sorted(sign * end for end in test.interval)
    return GainPoint(value, test.gain, low=low, high=high, adjusted_p=test.adjusted_p_value)


def _collect_sparsity(results: Sequence[PointResults], key: str) -> dict[float, Mapping[str, float]]:
    """Return the sparsity of each layer at each value of a key; nothing if it depends on other keys as well."""
    found: dict[float, Mapping[str, float]] = {}
    for one in results:
        value, sparsity = one.point.values[key], one.sparsity
        if not sparsity or found.setdefault(value, sparsity) != sparsity:
            return {}
    return found
