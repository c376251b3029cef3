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
) -> dict[str, str]:
    """Draw heat maps and a tree for every layer, and the figures over layers (paper Figures 1, 2, 6 to 10).

    Args:
        measures: Measures of a set of masks.
        directory: Existing directory to write to.
        ablations: Ablation of each stack whose neurons were switched off.
        released: Draw the heat maps also as the released code does.

    Returns:
        A title for each figure, by its file name without a suffix.
    """
    layers = measures.layers

    # Over layers
    drawn = _draw_progress(measures, directory)

    # What the overlaps follow, and how reliable they are
    if curves := _list_curves(measures):
        drawn["sentences"] = "IoU of the neurons found in fewer sentences with those found in all"
        draw_learning_curve(curves, directory / "sentences", title=drawn["sentences"])
    if correlations := _correct_correlations(measures):
        drawn["correlations"] = "Correlation of the overlaps with distances between languages"
        draw_correlations(correlations, directory / "correlations", title=drawn["correlations"])

    # Whose text needs whose neurons
    for stack, ablation in (ablations or {}).items():
        drawn |= _draw_ablation(stack, ablation, directory)

    # Heat maps and trees, layer by layer
    for one in layers.values():
        drawn |= _draw_layer_figures(one, directory, released)
    return drawn


def _draw_progress(measures: Measures, directory: Path) -> dict[str, str]:
    """Draw sparsity and overlaps over layers and k; return the titles by name."""
    drawn = {"sparsity": "Sparsity over layers"}
    draw_sparsity(_list_sparsity(measures), directory / "sparsity", title=drawn["sparsity"])

    # A single task has no pairs
    pairs = {layer: one.pairs for layer, one in measures.layers.items()}
    if all(map(len, pairs.values())):
        drawn["progression"] = "IoU of neurons over layers"
        draw_progression(pairs, directory / "progression", title=drawn["progression"])
    if measures.by_share:
        drawn["shares"] = "Sparsity by the share k of the activation that is covered"
        points = [SharePoint(k, masks.sparsity_by_layer(), None) for k, masks in measures.by_share.items()]
        draw_shares(points, directory / "shares", title=drawn["shares"])
    return drawn


def _draw_ablation(stack: str, ablation: Ablation, directory: Path) -> dict[str, str]:
    """Draw the ablation of one stack; return its title by its name."""
    name = f"ablation.{stack}"
    title = f"Change of {ablation.metric} when neurons of the {stack} are switched off"

    # The last column is the mean of random neurons
    draw_ablation(
        ablation.matrix,
        texts=ablation.tasks,
        switched=[*ablation.tasks, "random"],
        path_stem=child(directory, name),
        metric=ablation.metric,
        title=title,
    )
    return {name: title}


def _draw_layer_figures(one: LayerMeasures, directory: Path, released: bool) -> dict[str, str]:
    """Draw the heat maps of one layer, in the order of the families and of the tree, and the tree; return titles."""
    compared, layer, tree = one.compared, one.layer, one.structure.tree
    labels, families = compared.labels, compared.families
    place = f"{layer} ({compared.title})"

    # Relatives stand next to each other
    drawn = {f"iou.{layer}": f"IoU of neurons, {place}"}
    stem = child(directory, f"iou.{layer}")
    draw_heatmap(one.iou, labels, families, path_stem=stem, title=drawn[f"iou.{layer}"])
    if released:
        drawn[f"released.{layer}"] = f"Overlap of neurons as the released code draws it, {place}"
        stem = child(directory, f"released.{layer}")
        draw_heatmap(one.iou, labels, families, path_stem=stem, title=f"Neurons, {place}", released=True)
    if tree is None:
        return drawn

    # The same overlaps again, with neighbors in the tree next to each other
    leaves = list(tree.leaves)
    by_tree = f"iou.{layer}.by-tree"
    drawn |= {by_tree: f"IoU of neurons, {place}, in the order of the tree", f"tree.{layer}": f"Language tree, {place}"}
    draw_heatmap(
        one.iou[np.ix_(leaves, leaves)],
        labels=[labels[leaf] for leaf in leaves],
        groups=[families[leaf] for leaf in leaves],
        path_stem=child(directory, by_tree),
        title=drawn[by_tree],
    )
    draw_tree(tree, families, child(directory, f"tree.{layer}"), title=drawn[f"tree.{layer}"])
    return drawn


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
