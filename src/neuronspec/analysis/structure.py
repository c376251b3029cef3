"""What the overlaps of one layer follow: families, scripts, shared words, and distances of the user's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neuronspec.analysis.compared_tasks import ComparedTasks
from neuronspec.analysis.distance_tables import read_distances
from neuronspec.analysis.distances import family_distances, script_distances, vocabulary_distances
from neuronspec.analysis.overlap import above_diagonal, within_and_across
from neuronspec.analysis.tree import Tree, language_tree
from neuronspec.analysis.uriel import uriel_distances
from neuronspec.config.sections import Analysis
from neuronspec.languages import UNKNOWN
from neuronspec.statistics.correlation import Correlation, mantel
from neuronspec.statistics.separation import Separation, adjusted_rand, separate

Matrix = NDArray[np.float64]

ALPHA = 0.05  # tests with a p-value of at most this count as significant
FAMILY, SCRIPT, VOCABULARY, SIZE = "family", "script", "vocabulary", "mask size"
CONFOUNDERS = (FAMILY, SCRIPT, VOCABULARY, SIZE)
"""Explanations of an overlap that go together in the world: each is also tested with the others held fixed. Masks of
unlike sizes cannot overlap fully, whatever their languages."""


@dataclass(frozen=True)
class Structure:
    """What the overlaps of one layer follow.

    Attributes:
        within: mean IoU of two languages of one family; nan where there is no such pair.
        across: mean IoU of two languages of two families.
        tree: of the tasks, by complete linkage; None of one task.
        families: how far families keep apart; None where the tasks stand for no languages. Languages of unknown
            family are left out of this, of `within`, `across` and `rand`, and those in an unknown script of `scripts`.
        scripts: how far scripts keep apart.
        rand: adjusted Rand index between the families and the tree cut into as many groups.
        correlations: by the name of a distance between languages, its Mantel correlation with 1 - IoU.
        partial: the same for each of `CONFOUNDERS` that differs between tasks at all, with the other ones held fixed.
    """

    within: float
    across: float
    tree: Tree | None
    families: Separation | None = None
    scripts: Separation | None = None
    rand: float = float("nan")
    correlations: Mapping[str, Correlation] = field(default_factory=dict)
    partial: Mapping[str, Correlation] = field(default_factory=dict)


def find_distances(panel: ComparedTasks, words: NDArray[np.int64] | None, options: Analysis) -> dict[str, Matrix]:
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
    panel: ComparedTasks,
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
    tree = language_tree(iou, panel.labels) if len(iou) > 1 else None
    apart = 1.0 - iou
    distances = {**distances, SIZE: np.abs(sizes[:, None] - sizes[None]).astype(np.float64)}
    rivals = {name: distances[name] for name in CONFOUNDERS if name in distances and _varies(distances[name])}
    partial = {}
    for name, distance in rivals.items():
        controls = [other for rival, other in rivals.items() if rival != name and _is_mostly_known(other)]
        if controls:
            partial[name] = mantel(apart, distance, controls=controls, permutations=permutations, seed=seed)
    correlations = {
        name: mantel(apart, distance, permutations=permutations, seed=seed) for name, distance in distances.items()
    }
    if not panel.languages:
        return Structure(math.nan, math.nan, tree, correlations=correlations, partial=partial)

    related, relatives = _choose_known(iou, panel.relatives, panel.families)
    written, scripts = _choose_known(iou, panel.scripts, panel.scripts)
    within, across = within_and_across(related, relatives) if relatives else (math.nan, math.nan)
    return Structure(
        within,
        across,
        tree,
        _separate(related, relatives, permutations, seed),
        _separate(written, scripts, permutations, seed),
        _compare_with_tree(related, relatives),
        correlations,
        partial,
    )


def _choose_known(iou: Matrix, groups: Sequence[str], facts: Sequence[str]) -> tuple[Matrix, list[str]]:
    """Return the overlaps and the groups of the languages of which a fact is known."""
    known = [place for place, fact in enumerate(facts) if fact != UNKNOWN]
    return iou[np.ix_(known, known)], [groups[place] for place in known]


def _separate(iou: Matrix, groups: Sequence[str], permutations: int, seed: int) -> Separation:
    if not groups:
        return Separation(math.nan, math.nan)
    return separate(1 - iou, groups, permutations=permutations, seed=seed)


def _compare_with_tree(iou: Matrix, relatives: Sequence[str]) -> float:
    """Return the adjusted Rand index between groups of relatives and a tree cut into as many groups."""
    if len(iou) < 2:
        return math.nan
    cut = language_tree(iou, [str(number) for number in range(len(iou))]).cut(len(set(relatives)))
    return adjusted_rand(cut, relatives)


def _is_mostly_known(distance: Matrix) -> bool:
    """Tell whether a distance is known of most languages: a test with it as a control leaves out all others."""
    return 2 * int(np.isnan(np.diagonal(distance)).sum()) < len(distance)


def _varies(distance: Matrix) -> bool:
    values = above_diagonal(distance)
    values = values[~np.isnan(values)]
    return bool(values.size) and bool(values.max() > values.min())
