"""Tree of languages by the overlaps of their neurons."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from neuronspec.analysis.overlap import check_iou
from neuronspec.errors import NeuronspecError
from neuronspec.statistics.numbers import check_number


@dataclass(frozen=True, eq=False)
class Tree:
    """A hierarchical clustering of tasks or languages, as `language_tree` builds it.

    Attributes:
        labels: Name of each leaf, in the order of the rows that were clustered.
        linkage: (leaves - 1, 4) scipy's matrix of merges: two nodes, their distance (1 - IoU), leaves below.
        leaves: Indices of the leaves from one end of the drawn tree to the other; similar leaves are close.
        cophenetic_correlation: Correlation of the tree's distances with the real ones; 1 where the
            overlaps are a perfect tree, nan where all distances are equal.
    """

    labels: tuple[str, ...]
    linkage: NDArray[np.float64]
    leaves: tuple[int, ...]
    cophenetic_correlation: float

    def cut(self, groups: int) -> tuple[int, ...]:
        """Return the group of each leaf when the tree is cut into groups.

        Args:
            groups: Largest number of groups, from 1.

        Raises:
            NeuronspecError: If the number is no integer from 1.

        Example:
            >>> language_tree([[1, 0.2, 0.7], [0.2, 1, 0.3], [0.7, 0.3, 1]], ["de", "ru", "nl"]).cut(2)
            (1, 2, 1)
        """
        check_number("groups", groups, 1)
        return tuple(int(group) for group in hierarchy.fcluster(self.linkage, groups, criterion="maxclust"))

    def newick(self) -> str:
        """Return the tree in the Newick format, which every phylogenetics program reads.

        The way from one leaf to another is as long as the distance (1 - IoU) at which the tree joins them.

        Returns:
            One line that ends in `;`. A label with anything but ASCII letters, digits, `.` and `-` is quoted
            (an unquoted underscore would be read as a blank).

        Example:
            >>> iou = [[1, 0.75, 0.5], [0.75, 1, 0.625], [0.5, 0.625, 1]]
            >>> language_tree(iou, ["deu_Latn", "nl", "ru"]).newick()
            "(ru:0.25,(nl:0.125,'deu_Latn':0.125):0.125);"
        """
        # Leaves first, then the node of each merge, in scipy's numbering
        nodes = [_escape(label) for label in self.labels]
        heights = [0.0] * len(nodes)  # half the distance at which a node's leaves are joined
        for first, second, distance in self.linkage[:, :3].tolist():
            # A branch is as long as the merge is above the node below it
            parts = [f"{nodes[int(n)]}:{distance / 2 - heights[int(n)]:.10g}" for n in (first, second)]
            nodes.append(f"({','.join(parts)})")
            heights.append(distance / 2)
        return nodes[-1] + ";"


def language_tree(iou: ArrayLike, labels: Sequence[str]) -> Tree:
    """Cluster tasks by the overlap of their neurons (paper A.9.1, Figure 7).

    Complete linkage on the distance 1 - IoU; the leaves are ordered so that neighbors are as similar as the
    tree allows. Compare the tree with the known families of the languages.

    Args:
        iou: (tasks, tasks) IoU, as from `pairwise_iou`.
        labels: Distinct name of every row.

    Returns:
        The tree.

    Raises:
        NeuronspecError: If there are fewer than two tasks, a label is repeated, or this is no IoU matrix.

    Example:
        >>> tree = language_tree([[1, 0.2, 0.7], [0.2, 1, 0.3], [0.7, 0.3, 1]], ["de", "ru", "nl"])
        >>> [tree.labels[leaf] for leaf in tree.leaves]
        ['ru', 'nl', 'de']
    """
    matrix = check_iou(iou, labels)
    if len(matrix) < 2:
        raise NeuronspecError("found one task, expected two or more: one leaf makes no tree")

    # Of two leaves with one name, nobody could know which is which
    repeated = sorted({label for label in labels if list(labels).count(label) > 1})
    if repeated:
        raise NeuronspecError(f"found the label {repeated[0]!r} twice or more, expected distinct labels")

    # Complete linkage: two groups are as far apart as their most different members
    distances = squareform(1.0 - matrix, checks=False)  # (tasks * (tasks - 1) / 2,)
    linkage = hierarchy.linkage(distances, method="complete", optimal_ordering=True)
    with np.errstate(invalid="ignore"):  # equal distances have no correlation: nan
        correlation, _ = hierarchy.cophenet(linkage, distances)
    leaves = tuple(int(leaf) for leaf in hierarchy.leaves_list(linkage))
    return Tree(tuple(labels), linkage=linkage, leaves=leaves, cophenetic_correlation=float(correlation))


def _escape(label: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9.\-]+", label):
        return label

    # Newick writes a quote inside quotes twice
    return "'" + label.replace("'", "''") + "'"
