from __future__ import annotations

from pathlib import Path

import pytest
from tests.figures.pictures import assert_same_bytes_twice, read_rows, read_texts

from neuronspec.errors import NeuronspecError
from neuronspec.figures.training_curves import draw_training_curves
from neuronspec.training.curves import TrainingCurve

CURVE = TrainingCurve(
    updates=[2, 4],
    losses=[5.0, 4.5],
    learning_rates=[0.1, 0.2],
    validations=[4],
    valid_losses={"de-en": [4.25], "en-de": [None]},
    valid_loss=[4.75],
    speeds=[1200.5],
)


def test_trainings_stand_side_by_side_and_the_table_holds_every_number(tmp_path: Path) -> None:
    trainings = {"pretraining": {"Pretrained": CURVE}, "continued training": {"<Ours>": CURVE, "Fine-tuning": CURVE}}
    svg, _, table, _ = assert_same_bytes_twice(lambda stem: draw_training_curves(trainings, stem), tmp_path)
    texts = read_texts(svg)
    axes = {"updates of the pretraining", "updates of the continued training", "loss (nats per token)"}
    assert axes | {"Pretrained", "<Ours>", "Fine-tuning", "validation", "training"} <= set(texts)
    header, *rows = read_rows(table)
    assert header == ["training", "system", "curve", "task", "update", "value"]
    assert [row[2:] for row in rows if row[1] == "<Ours>"] == [
        ["training loss", "all", "2", "5.0"],
        ["training loss", "all", "4", "4.5"],
        ["learning rate", "all", "2", "0.1"],
        ["learning rate", "all", "4", "0.2"],
        ["target tokens per second", "all", "4", "1200.5"],
        ["validation loss", "all", "4", "4.75"],
        ["validation loss", "de-en", "4", "4.25"],
    ]


def test_a_training_without_curves_has_no_axes(tmp_path: Path) -> None:
    svg = draw_training_curves({"pretraining": {}, "continued training": {"Ours": CURVE}}, tmp_path / "one")[0]
    assert "updates" in read_texts(svg)
    with pytest.raises(NeuronspecError, match="found no training curves to draw"):
        draw_training_curves({"pretraining": {}}, tmp_path / "none")
