from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch

from neuronspec.analysis.gallery import choose_panel, draw_figures
from neuronspec.neurons.masks import NeuronMasks

TASKS = ["en-ru", "sv-en", "en-de", "ru-en", "en-sv", "de-en"]


def make_masks(tasks: list[str], seed: int = 0) -> NeuronMasks:
    generator = torch.Generator().manual_seed(seed)
    layers = ("encoder.0", "encoder.1", "decoder.0")
    return NeuronMasks(tasks, {layer: torch.rand(len(tasks), 40, generator=generator) < 0.5 for layer in layers})


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("stack", "tasks"), [("encoder", ["de-en", "sv-en", "ru-en"]), ("decoder", ["en-de", "en-sv", "en-ru"])]
)
def test_a_stack_shows_the_side_that_is_not_the_pivot_by_family(stack: str, tasks: list[str]) -> None:
    panel = choose_panel(TASKS, "en", stack)
    assert panel.tasks == tasks
    assert panel.labels == ["de", "sv", "ru"]
    assert panel.groups == ["Germanic", "Germanic", "Slavic"]


@pytest.mark.parametrize("tasks", [["news", "law"], ["de-sv", "sv-de"]])
def test_tasks_without_the_pivot_are_shown_under_their_own_names(tasks: list[str]) -> None:
    panel = choose_panel(tasks, "en", "encoder")
    assert panel.tasks == panel.labels == sorted(tasks)
    assert set(panel.groups) == {""}


def test_another_pivot_and_tasks_that_are_no_directions() -> None:
    panel = choose_panel([*TASKS, "ru-de", "anything"], "de", "encoder")
    assert panel.tasks == ["en-de", "ru-de"]


def test_the_figures_hold_the_overlaps_of_the_masks(tmp_path: Path) -> None:
    masks = make_masks(TASKS)
    summary = draw_figures(masks, tmp_path)
    assert list(summary) == list(masks.layers)
    for layer, (within, across) in summary.items():
        tasks = ["en-de", "en-sv", "en-ru"] if layer.startswith("decoder") else ["de-en", "sv-en", "ru-en"]
        de, sv, ru = (masks.mask(task, layer) for task in tasks)

        def iou(a: torch.Tensor, b: torch.Tensor) -> float:
            return int((a & b).sum()) / int((a | b).sum())

        assert within == pytest.approx(iou(de, sv))
        assert across == pytest.approx((iou(de, ru) + iou(sv, ru)) / 2)
        rows = read_table(tmp_path / f"iou.{layer}.csv")
        assert [(row["label"], row["group"]) for row in rows] == [
            ("de", "Germanic"),
            ("sv", "Germanic"),
            ("ru", "Slavic"),
        ]
        assert float(rows[0]["ru"]) == pytest.approx(iou(de, ru))
        assert len(read_table(tmp_path / f"tree.{layer}.csv")) == 2
    lines = {(row["line"], row["layer"]): row for row in read_table(tmp_path / "sparsity.csv")}
    for line, tasks in (("from en", ["en-de", "en-sv", "en-ru"]), ("to en", ["de-en", "sv-en", "ru-en"])):
        for layer in masks.layers:
            shares = [1 - float(masks.mask(task, layer).double().mean()) for task in tasks]
            assert float(lines[line, layer]["mean"]) == pytest.approx(sum(shares) / 3)
            assert float(lines[line, layer]["max"]) == pytest.approx(max(shares))
    assert [row["layer"] for row in read_table(tmp_path / "progression.csv")] == list(masks.layers)
    assert {row["pairs"] for row in read_table(tmp_path / "progression.csv")} == {"3"}


def test_tasks_of_any_name_are_drawn_together(tmp_path: Path) -> None:
    summary = draw_figures(make_masks(["news", "law"]), tmp_path)
    assert all(0 < within < 1 and math.isnan(across) for within, across in summary.values())
    assert {row["line"] for row in read_table(tmp_path / "sparsity.csv")} == {"all tasks"}


def test_one_language_has_no_tree_and_no_progression(tmp_path: Path) -> None:
    summary = draw_figures(make_masks(["en-de", "de-en"]), tmp_path)
    assert all(math.isnan(within) and math.isnan(across) for within, across in summary.values())
    names = {file.name for file in tmp_path.iterdir()}
    assert {"iou.encoder.0.svg", "sparsity.png"} <= names
    assert not any(name.startswith(("tree", "progression")) for name in names)
