from __future__ import annotations

import functools
from pathlib import Path

import pytest
from tests.figures.pictures import assert_same_bytes_twice, read_rows, read_texts, read_title

from neuronspec.errors import NeuronspecError
from neuronspec.figures.key_gains import GainPoint, draw_key_gains

LINES = {
    "ours - base": [GainPoint(0.9, 1.5, 1.0, 2.0, 0.001), GainPoint(0.7, -0.25)],
    "other - base": [GainPoint(0.7, 0.5, 0.5, 0.5, 1.0)],
}
SPARSITY = {0.9: {"encoder.0": 0.2, "encoder.1": 0.4, "decoder.0": 0.1}, 0.7: {"encoder.0": 0.5, "decoder.0": 0.3}}


def test_the_figure_shows_every_line_and_the_table_every_number(tmp_path: Path) -> None:
    draw = functools.partial(draw_key_gains, LINES, key="select.k", metric="BLEU", sparsity=SPARSITY, title="Toy")
    svg, _, table, _ = assert_same_bytes_twice(lambda stem: draw(path_stem=stem), tmp_path)
    texts = read_texts(svg)
    assert read_title(svg) == "Toy"
    assert {"select.k", "gain (BLEU)", "sparsity", "encoder", "decoder", *LINES, "0.7", "0.9"} <= {*texts}
    assert read_rows(table) == [
        ["key", "value", "line", "gain or mean", "low", "high", "adjusted p"],
        ["select.k", "0.7", "ours - base", "-0.25", "", "", ""],
        ["select.k", "0.9", "ours - base", "1.5", "1.0", "2.0", "0.001"],
        ["select.k", "0.7", "other - base", "0.5", "0.5", "0.5", "1.0"],
        ["select.k", "0.7", "sparsity of the encoder", "0.5", "0.5", "0.5", ""],
        ["select.k", "0.9", "sparsity of the encoder", "0.30000000000000004", "0.2", "0.4", ""],
        ["select.k", "0.7", "sparsity of the decoder", "0.3", "0.3", "0.3", ""],
        ["select.k", "0.9", "sparsity of the decoder", "0.1", "0.1", "0.1", ""],
    ]


def test_without_masks_there_is_no_sparsity(tmp_path: Path) -> None:
    svg, *_ = draw_key_gains(LINES, tmp_path / "gains", key="train.updates", metric="BLEU")
    assert "sparsity" not in read_texts(svg)
    assert "train.updates" in read_texts(svg)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ({}, "found no gains to draw"),
        ({"ours": []}, "ours"),
        ({"ours": [GainPoint(1, 2), GainPoint(1, 3)]}, "found a value of 'ours' twice"),
        ({"ours": [GainPoint(1, float("nan"))]}, "the gains of 'ours'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path: Path, lines: dict[str, list[GainPoint]], found: str) -> None:
    with pytest.raises(NeuronspecError, match=found):
        draw_key_gains(lines, tmp_path / "gains", key="select.k", metric="BLEU")
    assert not list(tmp_path.iterdir())
