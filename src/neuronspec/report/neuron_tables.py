"""Tables of the measures of neurons, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from neuronspec.analysis.ablation import Ablation
from neuronspec.analysis.layer_measures import LayerMeasures
from neuronspec.analysis.measures import Measures
from neuronspec.analysis.overlap import above_diagonal
from neuronspec.analysis.structure import ALPHA
from neuronspec.comparison.cells import Cell
from neuronspec.comparison.tables import ColumnTitle, Table
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.statistics.corrections import holm_known
from neuronspec.statistics.correlation import Correlation
from neuronspec.statistics.separation import Separation
from neuronspec.statistics.trends import Trend

Row = list[Cell]


def tabulate_measures(measures: Measures, ablations: Mapping[str, Ablation] | None = None) -> dict[str, Table]:
    """Return every table of the measures by its name.

    Args:
        measures: Measures of a set of masks.
        ablations: Ablation of each stack whose neurons were switched off.
    """
    # A table for what was measured: the overlaps are always there
    layers = list(measures.layers.values())
    tables = {"overlaps": tabulate_overlaps(measures)}

    if any(one.structure.correlations for one in layers):
        tables["distances"] = tabulate_distances(measures)
    if any(one.structure.families is not None for one in layers):
        tables["families"] = tabulate_families(measures)
    if any(one.resampled is not None for one in layers):
        tables["firmness"] = tabulate_reliability(measures)
    if any(not math.isnan(trend.slope) for trend in measures.trends.values()):
        tables["trends"] = tabulate_trends(measures)
    if ablations:
        tables["ablation"] = tabulate_ablations(ablations)
    return tables


def tabulate_overlaps(measures: Measures) -> Table:
    """Return for each layer the size of the masks and their overlap, compared with chance."""
    header: list[ColumnTitle] = [
        "layer",
        "neurons",
        "off %",
        ("IoU", "mean"),
        ("IoU", "lowest"),
        ("IoU", "highest"),
        ("chance", "mean IoU"),
        ("lowest z", "over chance"),
    ]
    rows, sections = _list_layers(measures, lambda one: _overlap_row(measures.masks, one))
    notes = [
        "Chance: the IoU of random sets of the same sizes. Lowest z: how many standard deviations the pair that "
        "overlaps least is above chance."
    ]
    return Table("Overlap of neurons", header, rows, notes=notes, sections=sections)


def _overlap_row(masks: NeuronMasks, one: LayerMeasures) -> Row:
    layer = one.layer

    # The mean of the compared tasks alone
    rows = [masks.task_index(task) for task in one.compared.tasks]
    off = 1 - float(masks.layer(layer)[rows].double().mean())

    overlaps = [math.nan] * 4  # a single task overlaps with nothing
    if one.pairs.size:
        chance = above_diagonal(one.chance.mean)
        overlaps = [one.pairs.mean(), one.pairs.min(), one.pairs.max(), chance.mean()]

    # Pairs whose overlap chance leaves no room for have no score
    z = above_diagonal(one.chance.z(one.iou))
    known = z[np.isfinite(z)]
    return [
        Cell(layer),
        Cell(masks.widths[layer], 0),
        Cell(100 * off),
        *(Cell(float(overlap), 3) for overlap in overlaps),
        Cell(float(known.min()) if known.size else None),
    ]


def tabulate_distances(measures: Measures) -> Table:
    """Return for each layer the correlation of its overlaps with distances between languages."""
    # Every distance of any layer, in the order of their first appearance
    names: dict[str, None] = {}
    controlled: dict[str, None] = {}
    for one in measures.layers.values():
        names |= dict.fromkeys(one.structure.correlations)
        controlled |= dict.fromkeys(one.structure.partial)

    header: list[ColumnTitle] = [
        "layer",
        *((name, "r") for name in names),
        *((f"{name}, the others fixed", "r") for name in controlled),
    ]

    # Tests are corrected over the layers of a stack, column by column.
    rows_by_layer: dict[str, Row] = {}
    for layers in measures.stacks.values():
        alone = [one.structure.correlations for one in layers]
        fixed = [one.structure.partial for one in layers]
        columns = [_mark_correlations(alone, name) for name in names]
        columns += [_mark_correlations(fixed, name) for name in controlled]
        rows_by_layer |= {one.layer: row for one, *row in zip(layers, *columns, strict=True)}

    rows, sections = _list_layers(measures, lambda one: [Cell(one.layer), *rows_by_layer[one.layer]])
    notes = [
        f"Mantel correlation of 1 - IoU with each distance; * p <= {ALPHA} after Holm's correction over the layers of "
        "a stack. The others fixed: partial Mantel test."
    ]
    return Table("What the overlaps follow", header, rows, notes=notes, sections=sections)


Test = TypeVar("Test", Correlation, Separation)


def _mark_correlations(layers: Sequence[Mapping[str, Correlation]], name: str) -> Row:
    """Return the correlations with one distance in several layers, with a star where they are significant."""
    return _mark_significant([one.get(name) for one in layers], lambda test: test.r)


def _mark_significant(found: Sequence[Test | None], value: Callable[[Test], float]) -> Row:
    """Return the values of tests in several layers, with a star where they are significant among all of them."""
    # Layers without the test do not count in the correction
    p_values = []
    for one in found:
        p_values.append(math.nan if one is None else one.p_value)

    cells = []
    for one, corrected in zip(found, holm_known(p_values), strict=True):
        mark = "*" if corrected <= ALPHA else ""
        cells.append(Cell(None if one is None else value(one), 2, mark=mark))
    return cells


def _list_layers(measures: Measures, describe: Callable[[LayerMeasures], Row]) -> tuple[list[Row], dict[int, str]]:
    """Return a row for every layer, and the title above the rows of each stack."""
    rows: list[Row] = []
    sections = {}
    for stack, layers in measures.stacks.items():
        # The title stands before the stack's first row
        sections[len(rows)] = f"{stack} ({layers[0].compared.title})"
        rows += map(describe, layers)
    return rows, sections


def tabulate_families(measures: Measures) -> Table:
    """Return for each layer how far families and scripts keep apart, and how well a tree fits."""
    header: list[ColumnTitle] = [
        "layer",
        ("IoU", "within families"),
        ("IoU", "across"),
        ("silhouette", "families"),
        ("silhouette", "scripts"),
        ("tree", "families, adjusted Rand"),
        ("tree", "cophenetic r"),
    ]

    # Tests are corrected over the layers of a stack.
    silhouettes: dict[str, Row] = {}
    for layers in measures.stacks.values():
        families = _mark_significant([one.structure.families for one in layers], lambda test: test.silhouette)
        scripts = _mark_significant([one.structure.scripts for one in layers], lambda test: test.silhouette)
        silhouettes |= {one.layer: row for one, *row in zip(layers, families, scripts, strict=True)}

    def describe(one: LayerMeasures) -> Row:
        structure = one.structure

        # A single task has no tree
        fit = None if structure.tree is None else structure.tree.cophenetic_correlation
        return [
            Cell(one.layer),
            Cell(structure.within, 3),
            Cell(structure.across, 3),
            *silhouettes[one.layer],
            Cell(structure.rand, 2),
            Cell(fit, 2),
        ]

    rows, sections = _list_layers(measures, describe)
    notes = [
        f"* p <= {ALPHA} compared with random groups of the same sizes, after Holm's correction over the layers of a "
        "stack."
    ]
    return Table("Families and scripts", header, rows, notes=notes, sections=sections)


def tabulate_reliability(measures: Measures) -> Table:
    """Return for each layer how far other sentences would show the same."""
    header: list[ColumnTitle] = [
        "layer",
        ("95 % interval", "mean width"),
        ("shuffled sentences", "mean IoU"),
        ("shuffled sentences", "p"),
        ("two halves", "IoU of masks"),
        ("two halves", "r of overlaps"),
    ]
    rows, sections = _list_layers(measures, _reliability_row)
    return Table("Reliability with other sentences", header, rows, sections=sections)


def _reliability_row(one: LayerMeasures) -> Row:
    if one.resampled is None:
        return [Cell(one.layer), *[Cell(None)] * 5]

    # Means over the pairs of tasks, of which a single task has none
    interval, null, halves = one.resampled.interval, one.resampled.null, one.resampled.halves
    widths = above_diagonal(interval.high - interval.low)
    shuffled = above_diagonal(null.mean)
    numbers = [
        widths.mean() if widths.size else math.nan,
        shuffled.mean() if shuffled.size else math.nan,
        null.p_value,
        float(np.mean(halves.iou)),
        halves.correlation,
    ]
    return [Cell(one.layer), *(Cell(float(number), 3) for number in numbers)]


def tabulate_trends(measures: Measures) -> Table:
    """Return for each stack the trend of its overlaps over the layers."""
    header: list[ColumnTitle] = ["stack", "of", "per layer", ("95 %", "low"), ("95 %", "high"), "p", "rising", "tasks"]
    rows: list[Row] = []
    for stack in measures.trends:
        # One below the other: what the overlaps do, and what is left of it without the sizes of the masks
        rows.append(_trend_row(stack, "IoU", measures.trends[stack]))
        rows.append(_trend_row(stack, "IoU corrected for chance", measures.corrected[stack]))

    notes = [
        "Slope over layers; its interval leaves out one task at a time (jackknife). Rising: number of tasks whose "
        "overlaps rise. Corrected for chance: (IoU - chance) / (1 - chance), since larger masks overlap more, whatever "
        "their tasks."
    ]
    return Table("Trends over layers", header, rows, notes=notes)


def _trend_row(stack: str, what: str, trend: Trend) -> Row:
    low, high = trend.interval
    return [
        Cell(stack),
        Cell(what),
        Cell(trend.slope, 4, signed=True),
        Cell(low, 4, signed=True),
        Cell(high, 4, signed=True),
        Cell(trend.p_value, 3),
        Cell(trend.rising, 0),
        Cell(trend.units, 0),
    ]


def tabulate_ablations(ablations: Mapping[str, Ablation]) -> Table:
    """Return for each stack how much worse texts get without their own neurons, others' and random ones."""
    header: list[ColumnTitle] = [
        "stack",
        ("worse without", "own"),
        ("worse without", "others'"),
        ("worse without", "random"),
        ("p own >", "others'"),
        ("p own >", "random"),
        "own is worst",
        "tasks",
    ]
    rows: list[Row] = []
    notes = []
    for stack, ablation in ablations.items():
        test = ablation.test()

        # The sizes of the effect, their p-values, and how many texts show it
        rows.append(
            [
                Cell(stack),
                Cell(test.own, 4, signed=True),
                Cell(test.others, 4, signed=True),
                Cell(test.random, 4, signed=True),
                Cell(test.p_others, 3),
                Cell(test.p_random, 3),
                Cell(test.strongest, 0),
                Cell(test.tasks, 0),
            ]
        )
        notes.append(
            f"{stack}: {_describe_share(ablation)} of the neurons off; worse: increase of the loss or decrease of the "
            f"score, {ablation.metric}."
        )
    return Table("Ablation", header, rows, notes=notes)


def _describe_share(ablation: Ablation) -> str:
    """Return the share of neurons that were off, and where they come from."""
    share = f"{100 * ablation.share:.3g} %"
    return f"on average {share} (given masks: {ablation.given})" if ablation.given else share
