"""What the overlaps of one layer follow: families, scripts, shared words, and distances of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neuronspec.analysis.distances import (
    family_distances,
    read_distances,
    script_distances,
    uriel_distances,
    vocabulary_distances,
)
from neuronspec.analysis.overlap import above_diagonal, within_and_across
from neuronspec.analysis.panels import Panel
from neuronspec.analysis.statistics import Correlation, Separation, adjusted_rand, mantel, separate
from neuronspec.analysis.tree import Tree, language_tree
from neuronspec.sections import Analysis

Matrix = NDArray[np.float64]

FAMILY, SCRIPT, VOCABULARY, SIZE = "family", "script", "vocabulary", "mask size"
RIVALS = (FAMILY, SCRIPT, VOCABULARY, SIZE)
"""Explanations of an overlap that go together in the world: each is also tested with the others held fixed. Masks of
unlike sizes cannot overlap fully, whatever their languages."""


@dataclass(frozen=True)
class Structure:
    """What the overlaps of one layer follow.

    Attributes:
        within: mean IoU of two languages of one family; nan where there is no such pair.
        across: mean IoU of two languages of two families.
        tree: of the tasks, by complete linkage; None of one task.
        families: how far families keep apart; None where the tasks stand for no languages.
        scripts: how far scripts keep apart.
        rand: adjusted Rand index between the families and the tree cut into as many groups.
        correlations: by the name of a distance between languages, its Mantel correlation with 1 - IoU.
        partial: the same for each of `RIVALS` that differs between tasks at all, with the other ones held fixed.
    """

    within: float
    across: float
    tree: Tree | None
    families: Separation | None = None
    scripts: Separation | None = None
    rand: float = float("nan")
    correlations: Mapping[str, Correlation] = field(default_factory=dict)
    partial: Mapping[str, Correlation] = field(default_factory=dict)


def find_distances(panel: Panel, words: NDArray[np.int64] | None, options: Analysis) -> dict[str, Matrix]:
    """Return every distance between the languages of a panel that there is, by name.

    Args:
        panel: the tasks.
        words: (tasks, vocabulary) how often each token stands in each task's text; None where that is not known.
        options: which distances of URIEL and of files to take.

    Returns:
        For each name a (tasks, tasks) matrix; where the tasks stand for no languages, of words and files alone.

    Raises:
        NeuronspecError: a file cannot be read or lacks a language, or URIEL is not installed.
    """
    distances: dict[str, Matrix] = {}
    if panel.languages:
        distances[FAMILY] = family_distances(panel.languages)
        distances[SCRIPT] = script_distances(panel.languages)
    if words is not None:
        distances[VOCABULARY] = vocabulary_distances(words)
    if panel.languages:
        distances |= {kind: uriel_distances(panel.languages, kind) for kind in options.uriel}
    return distances | {name: read_distances(path, panel.labels) for name, path in options.distances.items()}


def find_structure(
    iou: Matrix,
    panel: Panel,
    distances: Mapping[str, Matrix],
    sizes: NDArray[np.int64],
    permutations: int,
    seed: int,
) -> Structure:
    """Test what the overlaps of a layer follow.

    Args:
        iou: (tasks, tasks) IoU, in the order of the panel.
        panel: the tasks.
        distances: from `find_distances`.
        sizes: (tasks,) how many neurons each mask holds.
        permutations: of each test.
        seed: of the permutations.
    """
    within, across = within_and_across(iou, panel.relatives) if panel.languages else (float("nan"), float("nan"))
    tree = language_tree(iou, panel.labels) if len(iou) > 1 else None
    apart = 1.0 - iou
    distances = {**distances, SIZE: np.abs(sizes[:, None] - sizes[None]).astype(np.float64)}
    rivals = {name: distances[name] for name in RIVALS if name in distances and _varies(distances[name])}
    partial = {
        name: mantel(
            apart,
            distance,
            controls=[other for rival, other in rivals.items() if rival != name],
            permutations=permutations,
            seed=seed,
        )
        for name, distance in rivals.items()
        if len(rivals) > 1
    }
    correlations = {
        name: mantel(apart, distance, permutations=permutations, seed=seed) for name, distance in distances.items()
    }
    if not panel.languages:
        return Structure(within, across, tree, correlations=correlations, partial=partial)
    return Structure(
        within,
        across,
        tree,
        separate(apart, panel.relatives, permutations=permutations, seed=seed),
        separate(apart, panel.scripts, permutations=permutations, seed=seed),
        float("nan") if tree is None else adjusted_rand(tree.cut(len(set(panel.relatives))), panel.relatives),
        correlations,
        partial,
    )


def _varies(distance: Matrix) -> bool:
    values = above_diagonal(distance)
    return bool(values.size) and bool(np.nanmax(values) > np.nanmin(values))
