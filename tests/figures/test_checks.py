from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.figures.pictures import assert_same_bytes_twice, read_rows, read_texts, read_title

from neuronspec.errors import NeuronspecError
from neuronspec.figures.ablation_matrix import draw_ablation
from neuronspec.figures.correlations import LayerCorrelation, draw_correlations
from neuronspec.figures.learning_curve import draw_learning_curve

CHANGES = [[0.75, -0.001, 0.1], [0.125, 0.5, -0.25]]
TEXTS, SWITCHED = ["de", "<nl>"], ["de", "<nl>", "random 1"]
POINTS = {"decoder.0": [(100, 0.9), (10, 0.5)], "encoder.10": [(10, 0.6)], "encoder.9": [(1_000, 1.0)]}
ROWS = [
    LayerCorrelation("decoder.0", "family", 0.5, 0.05),
    LayerCorrelation("encoder.1", "family", 0.25, 0.2),
    LayerCorrelation("encoder.1", "script", float("nan"), float("nan")),
]

DRAWERS: dict[str, Callable[[Path], list[Path]]] = {
    "ablation": lambda stem: draw_ablation(CHANGES, TEXTS, SWITCHED, stem, metric="loss", title="decoder"),
    "curve": lambda stem: draw_learning_curve(POINTS, stem, title="sentences"),
    "correlations": lambda stem: draw_correlations(ROWS, stem, title="distances"),
}


@pytest.mark.parametrize("name", DRAWERS)
def test_writes_four_files_with_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    assert_same_bytes_twice(DRAWERS[name], tmp_path)


def test_ablation_shows_changes_and_outlines_a_text_without_its_own_neurons(tmp_path: Path) -> None:
    svg, _, table, _ = DRAWERS["ablation"](tmp_path / "a")
    texts = read_texts(svg)
    assert {"+0.75", "+0.00", "-0.25", "random 1", "change of loss", "neurons switched off", "text"} <= set(texts)
    assert "-0.00" not in texts
    assert texts.count("de") == texts.count("<nl>") == 2
    assert read_rows(table) == [
        ["text", *SWITCHED],
        ["de", "0.75", "-0.001", "0.1"],
        ["<nl>", "0.125", "0.5", "-0.25"],
    ]


def test_only_a_text_without_its_own_neurons_is_outlined(tmp_path: Path) -> None:
    def count(switched: list[str]) -> int:
        svg = draw_ablation(CHANGES, TEXTS, switched, tmp_path / "a", metric="loss")[0]
        return svg.read_text(encoding="utf-8").count('<g id="patch_')

    none = count(["x", "y", "z"])
    assert count(SWITCHED) == none + 2
    assert count(["z", "de", "y"]) == none + 1  # found by its name, wherever it stands


@pytest.mark.parametrize("scale", [1e-6, 0.001, 1, 1_000, 0])
def test_values_of_any_size_are_readable(scale: float, tmp_path: Path) -> None:
    svg = draw_ablation([[0.5 * scale, -0.25 * scale]], ["a"], ["a", "b"], tmp_path / "a", metric="loss")[0]
    cells = {"0": {"+0.0"}, "1": {"+0.50", "-0.25"}, "1000": {"+500", "-250"}, "0.001": {"+0.0005", "-0.0003"}}
    wanted = cells.get(f"{scale:g}")
    assert wanted is None or wanted <= set(read_texts(svg))


def test_two_hundred_texts_are_all_named(tmp_path: Path) -> None:
    names = [f"en-l{i:03d}" for i in range(200)]
    changes = np.random.default_rng(0).normal(size=(200, 203))
    svg = draw_ablation(changes, names, [*names, "random 1", "random 2", "random 3"], tmp_path / "a", metric="loss")[0]
    texts = read_texts(svg)
    assert all(texts.count(name) == 2 for name in names)
    assert svg.stat().st_size < 1_000_000


@pytest.mark.parametrize("changes", [[[0.5]], [0.5, 0.5], [[0.5, 0.5, float("nan")]] * 2, []])
def test_refuses_ablations_that_do_not_fit(changes: list[object], tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match=r"found (changes of shape|no values)"):
        draw_ablation(changes, TEXTS, SWITCHED, tmp_path / "a", metric="loss")  # type: ignore[arg-type]


def test_curve_sorts_layers_and_sentences(tmp_path: Path) -> None:
    svg, _, table, _ = DRAWERS["curve"](tmp_path / "c")
    assert read_rows(table) == [
        ["layer", "sentences", "iou"],
        ["encoder.9", "1000", "1.0"],
        ["encoder.10", "10", "0.6"],
        ["decoder.0", "10", "0.5"],
        ["decoder.0", "100", "0.9"],
    ]
    texts = read_texts(svg)
    assert {"encoder.9", "encoder.10", "decoder.0", "10", "100", "1,000", "sentences of each task"} <= set(texts)
    assert "stroke-dasharray" in svg.read_text(encoding="utf-8")  # the decoder


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({}, "no layers"),
        ({"encoder.0": []}, r"no values for the layer 'encoder\.0'"),
        ({"encoder.0": [(0, 0.5)]}, "found 0 sentences"),
        ({"x.0": [(1, 0.5)]}, r"the layer 'x\.0'"),
    ],
)
def test_refuses_curves(points: dict[str, list[tuple[int, float]]], message: str, tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match=message):
        draw_learning_curve(points, tmp_path / "c")


def test_correlations_show_both_stacks_and_what_is_significant(tmp_path: Path) -> None:
    svg, _, table, _ = DRAWERS["correlations"](tmp_path / "r")
    assert read_rows(table) == [
        ["layer", "distance", "r", "p_value"],
        ["encoder.1", "family", "0.25", "0.2"],
        ["encoder.1", "script", "nan", "nan"],
        ["decoder.0", "family", "0.5", "0.05"],
    ]
    wanted = {"encoder layer", "decoder layer", "family", "script", "p ≤ 0.05 (corrected)", "p > 0.05"}
    assert {*wanted, "Mantel correlation r"} <= set(read_texts(svg))
    assert read_title(svg) == "distances"


def test_a_correlation_by_chance_has_a_hollow_sign(tmp_path: Path) -> None:
    def count_hollow(p_value: float) -> int:
        rows = [LayerCorrelation("decoder.0", "family", 0.5, p_value)]
        return draw_correlations(rows, tmp_path / "r")[0].read_text(encoding="utf-8").count("fill: #ffffff; stroke: #")

    assert count_hollow(0.051) == count_hollow(0.05) + 1


def test_decoder_only_models_have_one_panel(tmp_path: Path) -> None:
    rows = [LayerCorrelation(f"decoder.{i}", "family", 0.5, 0.01) for i in range(24)]
    texts = read_texts(draw_correlations(rows, tmp_path / "r")[0])
    assert texts.count("decoder layer") == 1
    assert "encoder layer" not in texts


def test_refuses_no_correlations(tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match="no layers"):
        draw_correlations([], tmp_path / "r")
