"""Structure of overlaps: whether they follow families, scripts, shared words, or other distances."""

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
"""Explanations of an overlap that usually occur together: each is also tested with the others held fixed. Masks of
different sizes cannot overlap fully, whatever their languages."""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Groups and distances that the overlaps of one layer follow.

    Languages of unknown family are left out of `within`, `across`, `families` and `rand`, languages in an unknown
    script out of `scripts`.

    Attributes:
        within: Mean IoU of two languages of one family; nan without such a pair.
        across: Mean IoU of two languages of two families; nan without such a pair.
        tree: Tree of the tasks by complete linkage; None for one task.
        families: Separation of the families; None where the tasks are not named after languages.
        scripts: Separation of the scripts; None where the tasks are not named after languages.
        rand: Adjusted Rand index between the families and the tree, cut into as many groups.
        correlations: For each distance between languages, its Mantel correlation with 1 - IoU.
        partial: The same for each of `CONFOUNDERS` that differs between tasks, with the others held fixed.
    """

    within: float
    across: float
    tree: Tree | None
    families: Separation | None = None
    scripts: Separation | None = None
    rand: float = float("nan")
    correlations: Mapping[str, Correlation] = field(default_factory=dict)
    partial: Mapping[str, Correlation] = field(default_factory=dict)


def find_distances(compared: ComparedTasks, words: NDArray[np.int64] | None, options: Analysis) -> dict[str, Matrix]:
    """Return every known distance between the languages of tasks, by name.

    Args:
        compared: Tasks that are compared.
        words: (tasks, vocabulary) how often each token occurs in each task's text; None where that is not known.
        options: Settings of the analysis, which choose distances from URIEL and from files.

    Returns:
        For each name a (tasks, tasks) matrix. Tasks that are not named after languages only have distances of words
        and from files.

    Raises:
        NeuronspecError: If a file cannot be read or lacks a language, or URIEL is not installed.
    """
    languages = compared.languages

    # What is known of the languages themselves, then of their words
    distances: dict[str, Matrix] = {}
    if languages:
        distances[FAMILY] = family_distances(languages)
        distances[SCRIPT] = script_distances(languages)
    if words is not None:
        distances[VOCABULARY] = vocabulary_distances(words)
    if languages:
        distances |= {kind: uriel_distances(languages, kind) for kind in options.uriel}

    # Last the tables of the user
    return distances | {name: read_distances(path, compared.labels) for name, path in options.distances.items()}


def find_structure(
    iou: Matrix,
    compared: ComparedTasks,
    distances: Mapping[str, Matrix],
    *,
    sizes: NDArray[np.int64],
    permutations: int,
    seed: int,
) -> Structure:
    """Test which groups and distances the overlaps of a layer follow.

    Args:
        iou: (tasks, tasks) IoU.
        compared: Tasks of the rows.
        distances: Distances between the tasks, from `find_distances`.
        sizes: (tasks,) number of neurons in each mask.
        permutations: Number of permutations of each test.
        seed: Seed of the permutations.
    """
    # Masks of different sizes cannot overlap fully, so their difference is a rival explanation
    distances = {**distances, SIZE: np.abs(sizes[:, None] - sizes[None]).astype(np.float64)}

    # Each distance by itself, and then with the others held fixed
    correlations = {}
    for name, distance in distances.items():
        correlations[name] = mantel(1.0 - iou, distance, permutations=permutations, seed=seed)
    partial = _hold_others_fixed(iou, distances, permutations=permutations, seed=seed)
    tree = language_tree(iou, compared.labels) if len(iou) > 1 else None

    if not compared.languages:
        return Structure(within=math.nan, across=math.nan, tree=tree, correlations=correlations, partial=partial)

    # Families and scripts, among the languages whose facts are known
    iou_related, relatives = _choose_known(iou, compared.relatives, compared.families)
    iou_written, scripts = _choose_known(iou, compared.scripts, compared.scripts)
    within, across = within_and_across(iou_related, relatives) if relatives else (math.nan, math.nan)

    return Structure(
        within=within,
        across=across,
        tree=tree,
        families=_separate_groups(iou_related, relatives, permutations=permutations, seed=seed),
        scripts=_separate_groups(iou_written, scripts, permutations=permutations, seed=seed),
        rand=_compare_with_tree(iou_related, relatives),
        correlations=correlations,
        partial=partial,
    )


def _hold_others_fixed(
    iou: Matrix, distances: Mapping[str, Matrix], *, permutations: int, seed: int
) -> dict[str, Correlation]:
    """Return for each confounder that varies its partial correlation, with the others held fixed."""
    # A distance that is the same for all pairs explains nothing and can control nothing
    varying = {name: distances[name] for name in CONFOUNDERS if name in distances and _varies(distances[name])}
    partial = {}
    for name, distance in varying.items():
        # The rivals, but not those that would leave out most of the languages
        others = [other for rival, other in varying.items() if rival != name]
        controls = [other for other in others if _is_mostly_known(other)]
        if controls:
            partial[name] = mantel(1.0 - iou, distance, controls=controls, permutations=permutations, seed=seed)
    return partial


def _choose_known(iou: Matrix, groups: Sequence[str], facts: Sequence[str]) -> tuple[Matrix, list[str]]:
    """Return the overlaps and the groups of the languages whose fact is known."""
    known = [place for place, fact in enumerate(facts) if fact != UNKNOWN]
    return iou[np.ix_(known, known)], [groups[place] for place in known]


def _separate_groups(iou: Matrix, groups: Sequence[str], *, permutations: int, seed: int) -> Separation:
    """Test how far groups keep apart; nan where there are none."""
    if not groups:
        return Separation(math.nan, math.nan)
    return separate(1 - iou, groups, permutations=permutations, seed=seed)


def _compare_with_tree(iou: Matrix, relatives: Sequence[str]) -> float:
    """Return the adjusted Rand index between groups of relatives and a tree cut into as many groups."""
    if len(iou) < 2:
        return math.nan

    # A tree of these languages alone; its labels do not matter here
    cut = language_tree(iou, [str(number) for number in range(len(iou))]).cut(len(set(relatives)))
    return adjusted_rand(cut, relatives)


def _is_mostly_known(distance: Matrix) -> bool:
    """Return whether a distance is known for most languages: a test that controls for it leaves out all others."""
    return 2 * int(np.isnan(np.diagonal(distance)).sum()) < len(distance)


def _varies(distance: Matrix) -> bool:
    # Unknown languages do not count
    values = above_diagonal(distance)
    values = values[~np.isnan(values)]
    return bool(values.size) and bool(values.max() > values.min())
