"""All figures of the measures of neurons, drawn at once."""

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
    """Draw heat maps and a tree for every layer, and the figures over layers (paper Figures 1, 2, 6 to 10).

    Args:
        measures: Measures of a set of masks.
        directory: Existing directory to write to.
        ablations: Ablation of each stack whose neurons were switched off.
        released: Draw the heat maps also as the released code does.
    """
    layers = measures.layers

    # Heat maps and trees, layer by layer
    for one in layers.values():
        _draw_layer_figures(one, directory, released)

    # Over layers
    draw_sparsity(_list_sparsity(measures), directory / "sparsity", title="Sparsity over layers")

    # A single task has no pairs
    pairs = {layer: one.pairs for layer, one in layers.items()}
    if all(map(len, pairs.values())):
        draw_progression(pairs, directory / "progression", title="IoU of neurons over layers")
    if measures.by_share:
        points = [SharePoint(k, masks.sparsity_by_layer(), None) for k, masks in measures.by_share.items()]
        draw_shares(points, directory / "shares", title="Sparsity by the share k that is covered")

    # What the overlaps follow, and how reliable they are
    if curves := _list_curves(measures):
        draw_learning_curve(curves, directory / "sentences", title="How many sentences are enough")
    if correlations := _correct_correlations(measures):
        draw_correlations(correlations, directory / "correlations", title="What the overlaps follow")

    # Whose text needs whose neurons; the last column is the mean of random ones
    for stack, ablation in (ablations or {}).items():
        draw_ablation(
            ablation.matrix,
            texts=ablation.tasks,
            switched=[*ablation.tasks, "random"],
            path_stem=child(directory, f"ablation.{stack}"),
            metric=ablation.metric,
            title=f"Ablation, {stack}",
        )


def _draw_layer_figures(one: LayerMeasures, directory: Path, released: bool) -> None:
    """Draw the heat maps of one layer, in the order of the families and of the tree, and the tree."""
    compared, layer, tree = one.compared, one.layer, one.structure.tree
    labels, families = compared.labels, compared.families
    place = f"{layer} ({compared.title})"

    # Relatives stand next to each other
    draw_heatmap(
        one.iou, labels, families, path_stem=child(directory, f"iou.{layer}"), title=f"IoU of neurons, {place}"
    )
    if released:
        stem = child(directory, f"released.{layer}")
        draw_heatmap(one.iou, labels, families, path_stem=stem, title=f"Neurons, {place}", released=True)
    if tree is None:
        return

    # The same overlaps again, with neighbors in the tree next to each other
    leaves = list(tree.leaves)
    draw_heatmap(
        one.iou[np.ix_(leaves, leaves)],
        labels=[labels[leaf] for leaf in leaves],
        groups=[families[leaf] for leaf in leaves],
        path_stem=child(directory, f"iou.{layer}.by-tree"),
        title=f"IoU of neurons, {place}",
    )
    draw_tree(tree, families, child(directory, f"tree.{layer}"), title=f"Language tree, {place}")


def _list_curves(measures: Measures) -> dict[str, list[tuple[int, float]]]:
    """Return the points of each layer's learning curve, where there are some."""
    curves = {}
    for layer, one in measures.layers.items():
        # Tasks of few sentences have no curve
        if one.resampled is not None and one.resampled.curve:
            curves[layer] = [(point.sentences, point.iou) for point in one.resampled.curve]
    return curves


def _correct_correlations(measures: Measures) -> list[LayerCorrelation]:
    """Return every correlation, its p-value corrected over the layers of its stack."""
    rows = []
    for layers in measures.stacks.values():
        for name in layers[0].structure.correlations:
            # The same distance in all layers of a stack: one family of tests
            tests = [one.structure.correlations[name] for one in layers]
            corrected = holm_known([test.p_value for test in tests])
            for one, test, p_value in zip(layers, tests, corrected, strict=True):
                if not math.isnan(p_value):
                    rows.append(LayerCorrelation(layer=one.layer, distance=name, r=test.r, p_value=p_value))
    return rows


def _list_sparsity(measures: Measures) -> dict[str, dict[str, list[float]]]:
    """Return by the side of the pivot, for each layer, the sparsity of each task."""
    masks = measures.masks
    sparsity = masks.sparsity()

    lines = {}
    for name, tasks in split_by_side(masks.tasks, measures.pivot).items():
        # A line for each side of the pivot, whose masks may differ in size
        rows = [masks.task_index(task) for task in tasks]
        lines[name] = {layer: np.asarray(values)[rows].tolist() for layer, values in sparsity.items()}
    return lines
