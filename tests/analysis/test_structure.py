from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from tests.analysis.planted import LANGUAGES

from neuronspec.analysis.compared_tasks import ComparedTasks, choose_tasks
from neuronspec.analysis.distances import family_distances
from neuronspec.analysis.overlap import within_and_across
from neuronspec.analysis.structure import CONFOUNDERS, Matrix, Structure, find_distances, find_structure
from neuronspec.config.sections import Analysis
from neuronspec.errors import NeuronspecError
from neuronspec.statistics.correlation import mantel
from neuronspec.statistics.separation import adjusted_rand

PANEL = choose_tasks([f"{one}-en" for one in LANGUAGES], "en", "encoder")
SIZE = len(LANGUAGES)


def overlap(near: Matrix, noise: float = 0.1, seed: int = 0) -> Matrix:
    """An IoU that is larger where `near` is."""
    rng = np.random.default_rng(seed)
    drawn = rng.uniform(0, noise, near.shape)
    iou = 0.3 + 0.3 * near + (drawn + drawn.T) / 2
    np.fill_diagonal(iou, 1)
    return np.asarray(iou)


def find(iou: Matrix, panel: ComparedTasks = PANEL, words: Matrix | None = None) -> Structure:
    counts = None if words is None else words.astype(np.int64)
    sizes = np.full(len(iou), 40)  # all alike: nothing to hold fixed
    return find_structure(iou, panel, find_distances(panel, counts, Analysis()), sizes=sizes, permutations=299, seed=0)


def test_overlaps_of_families_are_found_to_follow_families() -> None:
    structure = find(overlap(1 - family_distances(PANEL.languages)))
    family, script = structure.correlations["family"], structure.correlations["script"]
    assert family.r > 0.9
    assert family.p_value == pytest.approx(1 / 300)
    assert structure.partial["family"].p_value == pytest.approx(1 / 300)
    assert script.p_value > 0.05
    assert structure.partial["script"].p_value > 0.05
    assert structure.families is not None
    assert structure.families.p_value == pytest.approx(1 / 300)
    assert structure.within > structure.across + 0.05
    assert structure.rand > 0.8


def test_words_take_over_what_families_only_seem_to_explain() -> None:
    rng = np.random.default_rng(0)
    groups = np.unique(PANEL.families, return_inverse=True)[1]
    words = np.concatenate([20 * np.eye(4)[groups] + 1, rng.integers(0, 9, (SIZE, 12))], axis=1)
    distances = find_distances(PANEL, words.astype(np.int64), Analysis())
    structure = find(overlap(1 - distances["vocabulary"], noise=0.05), words=words)
    assert structure.correlations["family"].p_value <= 0.01
    assert structure.partial["vocabulary"].p_value <= 0.01
    assert structure.partial["family"].r < 0.5 * structure.correlations["family"].r


def test_the_parts_are_those_that_single_functions_find() -> None:
    iou = overlap(np.zeros((SIZE, SIZE)))
    distances = find_distances(PANEL, None, Analysis())
    structure = find(iou)
    assert (structure.within, structure.across) == within_and_across(iou, PANEL.relatives)
    assert structure.tree is not None
    assert structure.tree.labels == PANEL.labels
    assert structure.rand == adjusted_rand(structure.tree.cut(4), PANEL.relatives)
    controlled = mantel(1 - iou, distances["family"], controls=[distances["script"]], permutations=299)
    assert structure.partial["family"] == controlled
    assert list(structure.partial) == list(CONFOUNDERS[:2])
    assert list(structure.correlations) == [*CONFOUNDERS[:2], "mask size"]
    assert math.isnan(structure.correlations["mask size"].r)


def test_sizes_take_over_what_families_only_seem_to_explain() -> None:
    groups = np.unique(PANEL.families, return_inverse=True)[1]
    sizes = 20 + 10 * groups  # every family has masks of its own size, and overlaps follow the sizes alone
    iou = overlap(1 - np.abs(sizes[:, None] - sizes) / 40, noise=0.05)
    structure = find_structure(
        iou, PANEL, find_distances(PANEL, None, Analysis()), sizes=sizes, permutations=299, seed=0
    )
    assert structure.correlations["family"].p_value <= 0.01
    assert structure.partial["mask size"].p_value <= 0.01
    assert structure.partial["family"].r < 0.5 * structure.correlations["family"].r


def test_tasks_without_languages_have_words_and_own_distances_alone(tmp_path: Path) -> None:
    tasks = ["law", "news", "talks"]
    panel = choose_tasks(tasks, "en", "encoder")
    own = tmp_path / "own.csv"
    own.write_text(",talks,news,law\ntalks,0,1,2\nnews,1,0,3\nlaw,2,3,0\n", encoding="utf-8")
    options = Analysis(distances={"style": own})
    distances = find_distances(panel, np.array([[1, 0], [0, 1], [1, 1]]), options)
    assert list(distances) == ["vocabulary", "style"]
    assert distances["style"].tolist() == [[0, 3, 2], [3, 0, 1], [2, 1, 0]]  # in the order of the panel
    sizes = np.array([9, 9, 9])
    structure = find_structure(1 - distances["style"] / 4, panel, distances, sizes=sizes, permutations=99, seed=0)
    assert structure.correlations["style"].r == pytest.approx(1)
    assert structure.families is structure.scripts is None
    assert not structure.partial  # words have no rivals here
    assert math.isnan(structure.within)
    assert math.isnan(structure.rand)


def test_own_distances_without_a_language_are_refused(tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text(",de,nl\nde,0,1\nnl,1,0\n", encoding="utf-8")
    with pytest.raises(NeuronspecError, match=r"own\.csv has no row for"):
        find_distances(PANEL, None, Analysis(distances={"own": own}))


def test_languages_without_facts_are_left_out_of_what_is_said_of_families_and_scripts() -> None:
    unknown = choose_tasks([f"{one}-en" for one in (*LANGUAGES, "hsb", "x-foo", "gsw-bern")], "en", "encoder")
    assert [language.family for language in unknown.languages[-3:]] == ["unknown"] * 3
    near = np.zeros((SIZE + 3, SIZE + 3))
    near[:SIZE, :SIZE] = 1 - family_distances(PANEL.languages)
    near[SIZE:, SIZE:] = 1  # the three overlap most of all, which must count for nothing
    iou = overlap(near)

    some, rest = find(iou, unknown), find(iou[:SIZE, :SIZE])
    assert some.correlations["family"] == rest.correlations["family"]
    assert some.correlations["family"].n == SIZE
    assert (some.within, some.across, some.rand) == (rest.within, rest.across, rest.rand)
    assert (some.families, some.scripts) == (rest.families, rest.scripts)
    assert some.tree is not None
    assert len(some.tree.labels) == SIZE + 3


@pytest.mark.parametrize("known", [(), ("de",), ("de", "nl")])
def test_too_few_languages_of_known_family_are_not_tested(known: tuple[str, ...]) -> None:
    panel = choose_tasks([f"{one}-en" for one in (*known, "hsb", "x-foo", "gsw-bern")], "en", "encoder")
    structure = find(overlap(np.zeros((len(panel.tasks),) * 2)), panel)
    assert math.isnan(structure.correlations["family"].p_value)
    assert math.isnan(structure.correlations["script"].p_value)
    assert structure.families is not None
    assert structure.scripts is not None
    assert "family" not in structure.partial
    assert math.isnan(structure.across)


def test_one_task_has_no_tree_and_nothing_to_test() -> None:
    panel = choose_tasks(["de-en"], "en", "encoder")
    structure = find(np.ones((1, 1)), panel)
    assert structure.tree is None
    assert math.isnan(structure.rand)
    assert math.isnan(structure.within)
    assert math.isnan(structure.across)
    assert all(math.isnan(one.p_value) for one in structure.correlations.values())


@pytest.mark.parametrize("kind", ["family", "script"])
def test_random_overlaps_are_called_significant_as_rarely_as_promised(kind: str) -> None:
    found = [find(overlap(np.zeros((SIZE, SIZE)), seed=seed)).correlations[kind].p_value for seed in range(40)]
    assert sum(p <= 0.05 for p in found) <= 7  # 2 are expected, more than 7 in one of 2,000 sets of seeds
    assert 0.3 < float(np.mean(found)) < 0.7
