"""Tables of what was measured of the neurons, layer by layer."""

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

Row = list[Cell]


def tabulate_measures(measures: Measures, ablations: Mapping[str, Ablation] | None = None) -> dict[str, Table]:
    """Return every table of the measures, by name.

    Args:
        measures: of a set of masks.
        ablations: by stack, where neurons were switched off.
    """
    tables = {"overlaps": tabulate_overlaps(measures)}
    if any(one.structure.correlations for one in measures.layers.values()):
        tables["distances"] = tabulate_distances(measures)
    if any(one.structure.families is not None for one in measures.layers.values()):
        tables["families"] = tabulate_families(measures)
    if any(one.resampled is not None for one in measures.layers.values()):
        tables["firmness"] = tabulate_reliability(measures)
    if any(not math.isnan(trend.slope) for trend in measures.trends.values()):
        tables["trends"] = tabulate_trends(measures)
    if ablations:
        tables["ablation"] = tabulate_ablations(ablations)
    return tables


def tabulate_overlaps(measures: Measures) -> Table:
    """Return for each layer how large the masks are and how far they overlap, beside chance."""
    header: list[ColumnTitle] = [
        "layer",
        "neurons",
        "off %",
        *(("IoU", word) for word in ("mean", "lowest", "highest")),
    ]
    header += [("by chance", "mean"), ("by chance", "lowest z")]
    rows, sections = _list_layers(measures, lambda one: _overlap_row(measures.masks, one))
    notes = [
        "By chance: the IoU of random sets of the same sizes; z: how many standard deviations the lowest pair is above."
    ]
    return Table("Overlap of neurons", header, rows, notes, sections)


def _overlap_row(masks: NeuronMasks, one: LayerMeasures) -> Row:
    layer = one.layer
    rows = [masks.task_index(task) for task in one.compared.tasks]
    off = 1 - float(masks.layer(layer)[rows].double().mean())
    numbers = [math.nan] * 4  # of one task, which overlaps with nothing
    if one.pairs.size:
        numbers = [one.pairs.mean(), one.pairs.min(), one.pairs.max(), above_diagonal(one.chance.mean).mean()]
    z = above_diagonal(one.chance.z(one.iou))
    finite = z[np.isfinite(z)]
    return [
        Cell(layer),
        Cell(masks.widths[layer], 0),
        Cell(100 * off),
        *(Cell(float(number), 3) for number in numbers),
        Cell(float(finite.min()) if finite.size else None),
    ]


def tabulate_distances(measures: Measures) -> Table:
    """Return for each layer how its overlaps go with distances between languages."""
    names = list(dict.fromkeys(name for one in measures.layers.values() for name in one.structure.correlations))
    rivals = list(dict.fromkeys(name for one in measures.layers.values() for name in one.structure.partial))
    columns = [(name, "correlations", "") for name in names]
    columns += [(name, "partial", ", the others fixed") for name in rivals]
    header: list[ColumnTitle] = ["layer", *((f"{name}{rest}", "r") for name, _, rest in columns)]
    marked: dict[str, Row] = {}
    for layers in measures.stacks.values():
        cells = [
            _mark([getattr(one.structure, kind).get(name) for one in layers], lambda one: one.r)
            for name, kind, _ in columns
        ]
        marked |= {one.layer: row for one, *row in zip(layers, *cells, strict=True)}
    rows, sections = _list_layers(measures, lambda one: [Cell(one.layer), *marked[one.layer]])
    notes = [
        f"Mantel's correlation of 1 - IoU with each distance; * p <= {ALPHA} after Holm's correction over the layers "
        "of a stack. The others fixed: the partial Mantel test, with the others held fixed."
    ]
    return Table("What the overlaps follow", header, rows, notes, sections)


Test = TypeVar("Test", Correlation, Separation)


def _mark(found: Sequence[Test | None], value: Callable[[Test], float]) -> Row:
    """Return the values of tests of several layers, those with a star that are significant among all of them."""
    corrected = holm_known([math.nan if one is None else one.p_value for one in found])
    return [
        Cell(None if one is None else value(one), 2, mark="*" if p <= ALPHA else "")
        for one, p in zip(found, corrected, strict=True)
    ]


def _list_layers(measures: Measures, describe: Callable[[LayerMeasures], Row]) -> tuple[list[Row], dict[int, str]]:
    """Return a row for every layer, and the title above those of each stack."""
    rows: list[Row] = []
    sections = {}
    for stack, layers in measures.stacks.items():
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
    marked: dict[str, Row] = {}
    for layers in measures.stacks.values():
        found = [[one.structure.families for one in layers], [one.structure.scripts for one in layers]]
        cells = (_mark(column, lambda one: one.silhouette) for column in found)
        marked |= {one.layer: row for one, *row in zip(layers, *cells, strict=True)}

    def describe(one: LayerMeasures) -> Row:
        structure = one.structure
        fit = None if structure.tree is None else structure.tree.cophenetic_correlation
        means = [Cell(structure.within, 3), Cell(structure.across, 3)]
        return [Cell(one.layer), *means, *marked[one.layer], Cell(structure.rand, 2), Cell(fit, 2)]

    rows, sections = _list_layers(measures, describe)
    notes = [f"* p <= {ALPHA} against random groups of the same sizes, after Holm's correction over a stack's layers."]
    return Table("Families and scripts", header, rows, notes, sections)


def tabulate_reliability(measures: Measures) -> Table:
    """Return for each layer how far other sentences would have given the same."""
    header: list[ColumnTitle] = [
        "layer",
        ("95 % interval", "mean width"),
        ("shuffled sentences", "mean IoU"),
        ("shuffled sentences", "p"),
        ("two halves", "IoU of masks"),
        ("two halves", "r of overlaps"),
    ]
    rows, sections = _list_layers(measures, _reliability_row)
    return Table("Other sentences of the same languages", header, rows, (), sections)


def _reliability_row(one: LayerMeasures) -> Row:
    if one.resampled is None:
        return [Cell(one.layer), *[Cell(None)] * 5]
    interval, null, halves = one.resampled.interval, one.resampled.null, one.resampled.halves
    width = above_diagonal(interval.high - interval.low)
    numbers = [width.mean(), above_diagonal(null.mean).mean()] if width.size else [math.nan, math.nan]
    numbers += [null.p_value, float(np.mean(halves.iou)), halves.correlation]
    return [Cell(one.layer), *(Cell(float(number), 3) for number in numbers)]


def tabulate_trends(measures: Measures) -> Table:
    """Return for each stack whether overlaps rise or fall over its layers."""
    header: list[ColumnTitle] = ["stack", "of", "a layer", ("95 %", "low"), ("95 %", "high"), "p", "rising", "tasks"]
    rows: list[Row] = [
        [
            Cell(stack),
            Cell(what),
            Cell(trend.slope, 4, signed=True),
            Cell(trend.interval[0], 4, signed=True),
            Cell(trend.interval[1], 4, signed=True),
            Cell(trend.p_value, 3),
            Cell(trend.rising, 0),
            Cell(trend.units, 0),
        ]
        for stack in measures.trends
        for what, trend in (("IoU", measures.trends[stack]), ("IoU above chance", measures.corrected[stack]))
    ]
    notes = [
        "The slope over layers; its interval leaves out one task at a time (jackknife). Above chance: (IoU - chance) / "
        "(1 - chance), since larger masks overlap more, whatever their tasks."
    ]
    return Table("Do overlaps rise or fall", header, rows, notes)


def tabulate_ablations(ablations: Mapping[str, Ablation]) -> Table:
    """Return for each stack what texts lose without their own neurons, others' and random ones."""
    header: list[ColumnTitle] = [
        "stack",
        ("harm without", "own"),
        ("harm without", "others'"),
        ("harm without", "random"),
        ("p own >", "others'"),
        ("p own >", "random"),
        "own is worst",
        "tasks",
    ]
    rows: list[Row] = []
    notes = []
    for stack, ablation in ablations.items():
        test = ablation.test()
        rows.append(
            [
                Cell(stack),
                *(Cell(value, 4, signed=True) for value in (test.own, test.others, test.random)),
                *(Cell(value, 3) for value in (test.p_others, test.p_random)),
                Cell(test.strongest, 0),
                Cell(test.tasks, 0),
            ]
        )
        notes.append(
            f"{stack}: {100 * ablation.share:.3g} % of the neurons off; harm: how much worse {ablation.metric} gets."
        )
    return Table("Switching neurons off", header, rows, notes)
