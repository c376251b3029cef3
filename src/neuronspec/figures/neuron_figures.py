"""All figures of what was measured of the neurons, drawn at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from neuronspec.analysis.ablation import Ablation
from neuronspec.analysis.compared_tasks import split_by_side
from neuronspec.analysis.layer_measures import LayerMeasures
from neuronspec.analysis.measures import Measures
from neuronspec.figures.ablation_matrix import draw_ablation
from neuronspec.figures.correlations import LayerCorrelation, draw_correlations
from neuronspec.figures.heatmap import draw_heatmap
from neuronspec.figures.language_tree import draw_tree
from neuronspec.figures.learning_curve import draw_learning_curve
from neuronspec.figures.progression import draw_progression
from neuronspec.figures.shares import SharePoint, draw_shares
from neuronspec.figures.sparsity import draw_sparsity
from neuronspec.names import child
from neuronspec.statistics.corrections import holm_known


def draw_neuron_figures(
    measures: Measures, directory: Path, ablations: Mapping[str, Ablation] | None = None, *, released: bool = False
) -> None:
    """Draw heat maps and a tree for every layer, and what there is over layers (paper Figures 1, 2, 6 to 10).

    Args:
        measures: of a set of masks.
        directory: where to write.
        ablations: by stack, where neurons were switched off.
        released: draw the heat maps also as the released code does.
    """
    for one in measures.layers.values():
        _draw_layer_figures(one, directory, released)
    draw_sparsity(_list_sparsity(measures), directory / "sparsity", title="Sparsity over layers")
    pairs = {layer: one.pairs for layer, one in measures.layers.items()}
    if all(map(len, pairs.values())):
        draw_progression(pairs, directory / "progression", title="IoU of neurons over layers")
    if measures.by_share:
        points = [SharePoint(k, masks.sparsity_by_layer(), None) for k, masks in measures.by_share.items()]
        draw_shares(points, directory / "shares", title="Sparsity by the share k that is covered")
    curves = {
        layer: [(point.sentences, point.iou) for point in one.resampled.curve]
        for layer, one in measures.layers.items()
        if one.resampled is not None and one.resampled.curve
    }
    if curves:
        draw_learning_curve(curves, directory / "sentences", title="How many sentences are enough")
    if correlations := _correct_correlations(measures):
        draw_correlations(correlations, directory / "correlations", title="What the overlaps follow")
    for stack, ablation in (ablations or {}).items():
        draw_ablation(
            ablation.matrix,
            ablation.tasks,
            [*ablation.tasks, "random"],
            child(directory, f"ablation.{stack}"),
            metric=ablation.metric,
            title=f"Harm without neurons, {stack}",
        )


def _draw_layer_figures(one: LayerMeasures, directory: Path, released: bool) -> None:
    panel, layer = one.compared, one.layer
    what = f"{layer} ({panel.title})"
    draw_heatmap(one.iou, panel.labels, panel.families, child(directory, f"iou.{layer}"), f"IoU of neurons, {what}")
    if released:
        draw_heatmap(
            one.iou,
            panel.labels,
            panel.families,
            child(directory, f"released.{layer}"),
            f"Neurons, {what}",
            released=True,
        )
    tree = one.structure.tree
    if tree is None:
        return
    leaves = list(tree.leaves)
    labels, families = ([names[leaf] for leaf in leaves] for names in (panel.labels, panel.families))
    ordered = one.iou[np.ix_(leaves, leaves)]
    draw_heatmap(ordered, labels, families, child(directory, f"iou.{layer}.by-tree"), f"IoU of neurons, {what}")
    draw_tree(tree, panel.families, child(directory, f"tree.{layer}"), f"Language tree, {what}")


def _correct_correlations(measures: Measures) -> list[LayerCorrelation]:
    """Return every correlation, its p-value corrected over the layers of its stack."""
    rows = []
    for layers in measures.stacks.values():
        for name in layers[0].structure.correlations:
            found = [one.structure.correlations[name] for one in layers]
            corrected = holm_known([one.p_value for one in found])
            rows += [
                LayerCorrelation(one.layer, name, test.r, p)
                for one, test, p in zip(layers, found, corrected, strict=True)
                if not math.isnan(p)
            ]
    return rows


def _list_sparsity(measures: Measures) -> dict[str, dict[str, list[float]]]:
    """Return by the side of the pivot, for each layer, the sparsity of each task."""
    sparsity = measures.masks.sparsity()
    lines = {}
    for name, tasks in split_by_side(measures.masks.tasks, measures.pivot).items():
        rows = [measures.masks.task_index(task) for task in tasks]
        lines[name] = {layer: np.asarray(values)[rows].tolist() for layer, values in sparsity.items()}
    return lines
