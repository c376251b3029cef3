from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuronspec.analysis.tree import Tree, language_tree
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.mask_overlap import pairwise_iou


def plant_families(families: int = 3, members: int = 4, seed: int = 0) -> NDArray[np.float64]:
    """The IoU of masks that differ a little within a family and a lot between, in shuffled order."""
    random = np.random.default_rng(seed)
    roots = random.random((families, 400)) < 0.3
    masks = np.stack([roots[i % families] ^ (random.random(400) < 0.05) for i in range(families * members)])
    return pairwise_iou(masks)


def cluster_naively(distances: NDArray[np.float64]) -> list[tuple[frozenset[int], float]]:
    """Complete linkage by its definition: join the two clusters whose farthest members are nearest."""
    clusters = [frozenset([i]) for i in range(len(distances))]
    merges = []
    while len(clusters) > 1:
        pairs = [(a, b) for i, a in enumerate(clusters) for b in clusters[i + 1 :]]
        reach = {(a, b): max(float(distances[i, j]) for i in a for j in b) for a, b in pairs}
        a, b = min(pairs, key=reach.__getitem__)
        clusters = [cluster for cluster in clusters if cluster not in (a, b)] + [a | b]
        merges.append((a | b, reach[a, b]))
    return merges


def list_merges(tree: Tree) -> list[tuple[frozenset[int], float]]:
    nodes = [frozenset([i]) for i in range(len(tree.labels))]
    for first, second, _, _ in tree.linkage:
        nodes.append(nodes[int(first)] | nodes[int(second)])
    return list(zip(nodes[len(tree.labels) :], tree.linkage[:, 2].tolist(), strict=True))


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 9))
def test_is_complete_linkage_on_one_minus_iou(seed: int, size: int) -> None:
    upper = np.triu(np.random.default_rng(seed).random((size, size)), k=1)
    iou = upper + upper.T + np.eye(size)
    tree = language_tree(iou, [str(i) for i in range(size)])
    ours, naive = list_merges(tree), cluster_naively(1 - iou)
    assert [cluster for cluster, _ in ours] == [cluster for cluster, _ in naive]
    assert [height for _, height in ours] == pytest.approx([height for _, height in naive])
    assert sorted(tree.leaves) == list(range(size))


def test_planted_families_stay_together() -> None:
    tree = language_tree(plant_families(), [f"l{i}" for i in range(12)])
    families = [leaf % 3 for leaf in tree.leaves]
    assert sum(a != b for a, b in itertools.pairwise(families)) == 2
    assert tree.cophenetic_correlation > 0.95


def test_cophenetic_correlation_is_pearsons() -> None:
    iou = plant_families(seed=1)
    tree = language_tree(iou, [f"l{i}" for i in range(12)])
    merges = list_merges(tree)
    pairs = [(i, j) for i in range(12) for j in range(i + 1, 12)]
    joined = [min(height for cluster, height in merges if {i, j} <= cluster) for i, j in pairs]
    expected = np.corrcoef(joined, [1 - iou[pair] for pair in pairs])[0, 1]
    assert tree.cophenetic_correlation == pytest.approx(expected)


@pytest.mark.filterwarnings("error")
def test_equal_distances_have_no_correlation() -> None:
    assert math.isnan(language_tree([[1, 0.5], [0.5, 1]], ["a", "b"]).cophenetic_correlation)


def test_neighbours_are_as_similar_as_the_tree_allows() -> None:
    # {0, 1} joins first; 2 is nearer to 1, so 1 must lie beside 2.
    iou = [[1.0, 0.9, 0.1], [0.9, 1.0, 0.5], [0.1, 0.5, 1.0]]
    assert language_tree(iou, ["a", "b", "c"]).leaves in [(0, 1, 2), (2, 1, 0)]


def test_newick_keeps_labels_and_distances() -> None:
    labels = ["de-en", "eng_Latn", "l'été (fr)", "中文"]
    iou = [[1, 0.8, 0.2, 0.2], [0.8, 1, 0.2, 0.2], [0.2, 0.2, 1, 0.6], [0.2, 0.2, 0.6, 1]]
    text = language_tree(iou, labels).newick()
    assert text.count("(") - 1 == text.count(")") - 1 == 3  # three merges, one more in a label
    assert text.endswith(";")
    for leaf in ("de-en:0.1", "'eng_Latn':0.1", "'l''été (fr)':0.2", "'中文':0.2"):
        assert re.search(r"[(,]" + re.escape(leaf) + r"[,)]", text)
    assert "):0.3" in text  # 0.4 - 0.1
    assert "):0.2" in text  # 0.4 - 0.2


def test_newick_of_a_caterpillar_does_not_recurse() -> None:
    size = 1500
    tree = Tree(
        tuple(f"l{i}" for i in range(size)),
        np.array([[0 if i == 1 else size + i - 2, i, i / size, i + 1] for i in range(1, size)]),
        tuple(range(size)),
        1.0,
    )
    assert tree.newick().count("(") == size - 1


def test_refuses_what_makes_no_tree() -> None:
    with pytest.raises(NeuronspecError, match="expected two or more"):
        language_tree([[1.0]], ["de"])
    with pytest.raises(NeuronspecError, match="'de' twice"):
        language_tree([[1, 0.5], [0.5, 1]], ["de", "de"])
    with pytest.raises(NeuronspecError, match="found 1 labels"):
        language_tree([[1, 0.5], [0.5, 1]], ["de"])


@pytest.mark.parametrize("groups", [0, -1, 1.5, math.nan])
def test_a_tree_is_cut_into_a_whole_number_of_groups(groups: float) -> None:
    with pytest.raises(NeuronspecError, match="groups must be whole numbers from 1 on"):
        language_tree([[1, 0.5], [0.5, 1]], ["de", "nl"]).cut(groups)  # type: ignore[arg-type]
