from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from tests.analysis.planted import BARE, OPTIONS, directions, draw_words, plant_nothing, select
from tests.report.test_findings import make_ablation

from neuronspec.analysis.measures import analyze
from neuronspec.figures.neuron_figures import draw_neuron_figures
from neuronspec.neurons.masks import NeuronMasks

SUFFIXES = ("csv", "pdf", "png", "svg")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def names(directory: Path) -> set[str]:
    """The names of the figures, each of which must have all its files."""
    files = {path.name for path in directory.iterdir()}
    stems = {name.rpartition(".")[0] for name in files}
    assert files == {f"{stem}.{suffix}" for stem in stems for suffix in SUFFIXES}
    return stems


def test_the_tables_beside_the_figures_hold_the_measures(tmp_path: Path) -> None:
    counts = plant_nothing(list(directions(["de", "nl", "ru", "fr"])), ["encoder.0", "decoder.0"])
    measures = analyze(select(counts), counts, options=OPTIONS, tokens=draw_words(8))
    ablation = make_ablation(measures.layers["encoder.0"].compared.tasks, own=1, near=0)
    drawn = draw_neuron_figures(measures, tmp_path, {"encoder": ablation}, released=True)
    layers = [*measures.layers]
    by_layer = {f"{kind}.{layer}" for layer in layers for kind in ("iou", "released", "tree")}
    by_layer |= {f"iou.{layer}.by-tree" for layer in layers}
    others = {"sparsity", "progression", "shares", "sentences", "correlations", "ablation.encoder"}
    assert names(tmp_path) == by_layer | others == drawn.keys()
    assert len(set(drawn.values())) == len(drawn)  # no two figures have one title

    for layer, one in measures.layers.items():
        tree = one.structure.tree
        assert tree is not None
        for name, order in ((f"iou.{layer}", range(4)), (f"iou.{layer}.by-tree", tree.leaves)):
            rows = read(tmp_path / f"{name}.csv")
            assert [row["label"] for row in rows] == [one.compared.labels[i] for i in order]
            assert [row["group"] for row in rows] == [one.compared.families[i] for i in order]
            found = [[float(row[other["label"]]) for other in rows] for row in rows]
            np.testing.assert_allclose(found, one.iou[np.ix_([*order], [*order])], rtol=1e-9)
        assert float(read(tmp_path / f"released.{layer}.csv")[0][one.compared.labels[1]]) == pytest.approx(
            100 * (np.floor(100 * one.iou[0, 1] + 1e-9) / 100) ** 1.25
        )
        assert len(read(tmp_path / f"tree.{layer}.csv")) == 3

    boxes = {row["layer"]: row for row in read(tmp_path / "progression.csv")}
    assert list(boxes) == layers
    for layer, one in measures.layers.items():
        assert int(boxes[layer]["pairs"]) == 6
        assert float(boxes[layer]["mean"]) == pytest.approx(one.pairs.mean())

    masks = measures.masks
    lines = {(row["line"], row["layer"]): row for row in read(tmp_path / "sparsity.csv")}
    for line in ("from en", "to en"):
        tasks = [task for task in masks.tasks if task.startswith("en-") == (line == "from en")]
        for layer in layers:
            shares = [1 - float(masks.mask(task, layer).double().mean()) for task in tasks]
            assert float(lines[line, layer]["mean"]) == pytest.approx(np.mean(shares))
            assert float(lines[line, layer]["max"]) == pytest.approx(max(shares))
    assert len(lines) == 2 * len(layers)

    for row in read(tmp_path / "correlations.csv"):
        found_one = measures.layers[row["layer"]].structure.correlations[row["distance"]]
        assert float(row["r"]) == pytest.approx(found_one.r)
        assert found_one.p_value - 1e-9 <= float(row["p_value"]) <= 2 * found_one.p_value  # corrected over the layers
    assert len(read(tmp_path / "correlations.csv")) == 4 * len(layers)
    shares_by_k = {(float(row["k"]), row["stack"]): float(row["mean"]) for row in read(tmp_path / "shares.csv")}
    for k, other in measures.by_share.items():
        off = np.mean([values.mean() for layer, values in other.sparsity().items() if layer.startswith("decoder")])
        assert shares_by_k[k, "decoder"] == pytest.approx(off)
    resampled = measures.layers["encoder.0"].resampled
    assert resampled is not None
    curve = [
        (int(r["sentences"]), float(r["iou"])) for r in read(tmp_path / "sentences.csv") if r["layer"] == "encoder.0"
    ]
    assert [size for size, _ in curve] == [point.sentences for point in resampled.curve]
    assert [near for _, near in curve] == pytest.approx([point.iou for point in resampled.curve])
    harm = read(tmp_path / "ablation.encoder.csv")
    assert float(harm[1]["random"]) == pytest.approx(ablation.matrix[1, -1])
    assert float(harm[1][ablation.tasks[0]]) == pytest.approx(ablation.matrix[1, 0])


LAYERS = ("encoder.0", "decoder.0")
HEATMAPS = {f"iou.{layer}" for layer in LAYERS}
TREES = {f"{name}" for layer in LAYERS for name in (f"tree.{layer}", f"iou.{layer}.by-tree")}


@pytest.mark.parametrize(
    ("tasks", "expected", "lines"),
    [
        (["law", "news"], TREES | {"progression"}, {"all tasks"}),
        (["law"], set(), {"all tasks"}),
        (["de-en", "en-de"], set(), {"from en", "to en"}),
        (["de", "nl", "ru"], TREES | {"progression", "correlations"}, {"all tasks"}),
    ],
)
def test_what_there_is_nothing_of_is_not_drawn(
    tasks: list[str], expected: set[str], lines: set[str], tmp_path: Path
) -> None:
    draw_neuron_figures(analyze(select(plant_nothing(tasks, LAYERS)), options=BARE), tmp_path)
    assert names(tmp_path) == HEATMAPS | {"sparsity"} | expected
    assert {row["line"] for row in read(tmp_path / "sparsity.csv")} == lines


def test_correlations_that_are_none_are_not_drawn(tmp_path: Path) -> None:
    masks = NeuronMasks.from_dict({one: {"decoder.0": [1] * 8} for one in ("de", "nl", "ru")})
    draw_neuron_figures(analyze(masks, options=BARE), tmp_path)
    assert "correlations" not in names(tmp_path)
    some = select(plant_nothing(["de", "nl", "ru", "cs"], ["decoder.0"]))
    both = {"decoder.0": some.layer("decoder.0"), "decoder.1": some.layer("decoder.0") | True}
    draw_neuron_figures(analyze(NeuronMasks(some.tasks, both), options=BARE), tmp_path)
    assert {row["layer"] for row in read(tmp_path / "correlations.csv")} == {"decoder.0"}
