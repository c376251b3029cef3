"""All figures of a set of masks, drawn from it at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuronspec.analysis.layer_figures import draw_progression, draw_sparsity
from neuronspec.analysis.overlap import progression, within_and_across
from neuronspec.analysis.overlap_figures import draw_heatmap, draw_tree
from neuronspec.analysis.tree import language_tree
from neuronspec.errors import NeuronspecError
from neuronspec.languages import find_language, split_direction
from neuronspec.neurons.masks import NeuronMasks


@dataclass(frozen=True)
class Panel:
    """The tasks that a stack's figures compare, by family, with the language that tells them apart."""

    tasks: list[str]
    labels: list[str]
    groups: list[str]


def choose_panel(tasks: Sequence[str], pivot: str, stack: str) -> Panel:
    """Choose which tasks to compare in a stack: x-pivot in the encoder, pivot-x in the decoder, as the paper does.

    Args:
        tasks: of the masks.
        pivot: the language that the others are paired with.
        stack: `encoder` or `decoder`.

    Returns:
        The tasks ordered by family and language; all of them, under their own names, where none is of that kind.
    """
    rows = []
    for task in tasks:
        try:
            source, target = split_direction(task)
        except NeuronspecError:
            continue  # any string may name a task
        language, other = (source, target) if stack == "encoder" else (target, source)
        if other == pivot:
            rows.append((find_language(language).family, language, task))
    if not rows:
        rows = [("", task, task) for task in tasks]
    families, labels, names = zip(*sorted(rows), strict=True)
    return Panel(list(names), list(labels), list(families))


def draw_figures(masks: NeuronMasks, directory: Path, pivot: str = "en") -> dict[str, tuple[float, float]]:
    """Draw a heat map and a tree for every layer, the progression of overlaps, and the sparsity.

    Args:
        masks: of at least two tasks.
        directory: where to write.
        pivot: the language that the others are paired with.

    Returns:
        For each layer the mean IoU within and across families (nan where there are none).
    """
    ious, summary = {}, {}
    for layer in masks.layers:
        panel = choose_panel(masks.tasks, pivot, layer.partition(".")[0])
        iou = masks.reorder(panel.tasks).iou(layer)
        ious[layer] = iou
        summary[layer] = within_and_across(iou, panel.groups)
        draw_heatmap(iou, panel.labels, panel.groups, directory / f"iou.{layer}", f"IoU of neurons, {layer}")
        if len(panel.tasks) > 1:
            tree = language_tree(iou, panel.labels)
            draw_tree(tree, panel.groups, directory / f"tree.{layer}", f"Language tree, {layer}")
    if all(len(iou) > 1 for iou in ious.values()):
        draw_progression(progression(ious), directory / "progression", title="IoU of neurons over layers")
    sparsity = masks.sparsity()
    lines = {}
    for name, tasks in _sides(masks.tasks, pivot).items():
        rows = [masks.task_index(task) for task in tasks]
        lines[name] = {layer: np.asarray(values)[rows].tolist() for layer, values in sparsity.items()}
    draw_sparsity(lines, directory / "sparsity", title="Sparsity over layers")
    return summary


def _sides(tasks: Sequence[str], pivot: str) -> dict[str, list[str]]:
    """Divide tasks into those from the pivot and those to it; all together where there are none."""
    sides: dict[str, list[str]] = {}
    for task in tasks:
        name = f"from {pivot}" if task.startswith(f"{pivot}-") else f"to {pivot}" if task.endswith(f"-{pivot}") else ""
        sides.setdefault(name, []).append(task)
    return sides if "" not in sides else {"all tasks": list(tasks)}
