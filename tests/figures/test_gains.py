from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.figures.pictures import assert_same_bytes_twice, read_rows, read_texts, read_title

from neuronspec.errors import NeuronspecError
from neuronspec.figures import canvas
from neuronspec.figures.gains import PAGE_WIDTH, _place_axes, draw_gains
from neuronspec.figures.shares import SharePoint, draw_shares
from neuronspec.figures.zero_shot_scores import draw_zero_shot

GAINS = {"LaSS": {"en-de": 0.5, "en-nl": -0.25, "de-en": 1.0}, "ours $": {"en-de": 1.5, "de-en": 2.0}}
GROUPS = {"en-de": "en to x", "en-nl": "en to x", "de-en": "x to en"}
SCORES: dict[str, dict[str, list[float]]] = {
    "High": {"baseline": [10.0, 20.0, 30.0], "ours": [20.0, 30.0, 40.0, 40.0, 40.0, 100.0]},
    "Low": {"ours": [5.5]},
}
POINTS = [
    SharePoint(0.95, {"encoder.0": 0.25, "encoder.1": 0.35, "decoder.0": 0.5}, 1.25),
    SharePoint(0.5, {"encoder.0": 0.75, "encoder.1": 0.8, "decoder.0": 0.9}),
]

DRAWERS: dict[str, Callable[[Path], list[Path]]] = {
    "gains": lambda stem: draw_gains(GAINS, stem, metric="BLEU", groups=GROUPS, marks={"ours $": {"en-de": "*"}}),
    "zero_shot": lambda stem: draw_zero_shot(SCORES, stem, metric="chrF++", title="zero-shot"),
    "shares": lambda stem: draw_shares(POINTS, stem, metric="BLEU", title="k"),
}


@pytest.mark.parametrize("name", DRAWERS)
def test_writes_four_files_with_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    assert_same_bytes_twice(DRAWERS[name], tmp_path)


def test_gains_show_directions_systems_groups_and_marks(tmp_path: Path) -> None:
    svg, _, table, _ = DRAWERS["gains"](tmp_path / "g")
    texts = read_texts(svg)
    for text in ("LaSS", "ours $", "en to x", "x to en", "en-de", "en-nl", "de-en", "*"):
        assert texts.count(text) == 1
    assert "gain (BLEU)" in texts
    assert read_rows(table) == [
        ["system", "task", "group", "gain", "mark"],
        ["LaSS", "en-de", "en to x", "0.5", ""],
        ["LaSS", "en-nl", "en to x", "-0.25", ""],
        ["LaSS", "de-en", "x to en", "1.0", ""],
        ["ours $", "en-de", "en to x", "1.5", "*"],
        ["ours $", "de-en", "x to en", "2.0", ""],
    ]


def test_directions_stand_in_the_order_given(tmp_path: Path) -> None:
    texts = read_texts(draw_gains({"ours": {"x-y": 1, "b-c": -1, "a-b": 0}}, tmp_path / "g", metric="BLEU")[0])
    assert [text for text in texts if "-" in text and text[0] in "xba"] == ["x-y", "b-c", "a-b"]


def test_sixty_directions_and_five_systems_are_all_named(tmp_path: Path) -> None:
    tasks = [*(f"en-{i:02d}" for i in range(30)), *(f"{i:02d}-en" for i in range(30))]
    gains = {f"system {i}": dict.fromkeys(tasks, (i - 2) * 0.5) for i in range(5)}
    texts = read_texts(draw_gains(gains, tmp_path / "g", metric="BLEU")[0])
    assert all(texts.count(text) == 1 for text in [*tasks, *gains])


@given(
    st.lists(st.sampled_from(["", "Germanic", "Slavic"]), min_size=1, max_size=250),
    st.floats(min_value=0.1, max_value=0.9),
)
def test_panels_hold_every_direction_once_and_fit_the_page(names: list[str], step: float) -> None:
    tasks = [f"t{i}" for i in range(len(names))]
    groups = dict(zip(tasks, names, strict=True))
    panels = list(_place_axes(tasks, groups, step))
    assert [task for panel in panels for task in panel.tasks] == tasks
    end: dict[int, float] = {}
    for panel in panels:
        assert {groups[task] for task in panel.tasks} == {panel.group}
        assert panel.left >= end.get(panel.line, 0.0)
        end[panel.line] = panel.left + panel.width
    assert max(end.values()) <= PAGE_WIDTH + 1e-6
    assert list(end) == list(range(len(end)))


@pytest.mark.parametrize(
    ("gains", "marks", "message"),
    [
        ({}, {}, "no values for the gains"),
        ({"ours": {}}, {}, "no values for the gains"),
        ({"ours": {"a-b": float("nan")}}, {}, "not finite"),
        ({"ours": {"a-b": 1.0}}, {"ours": {"b-a": "*"}}, "mark for the task 'b-a'"),
        ({"ours": {"a-b": 1.0}}, {"theirs": {"a-b": "*"}}, "system 'theirs'"),
    ],
)
def test_refuses_gains(
    gains: dict[str, dict[str, float]], marks: dict[str, dict[str, str]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(NeuronspecError, match=message):
        draw_gains(gains, tmp_path / "g", metric="BLEU", marks=marks)
    assert not list(tmp_path.iterdir())


def test_zero_shot_summarises_each_group_and_system(tmp_path: Path) -> None:
    svg, _, table, _ = DRAWERS["zero_shot"](tmp_path / "z")
    header, *rows = read_rows(table)
    assert header == ["group", "system", "directions", "mean", "median", "q1", "q3", "low", "high"]
    assert [row[:3] for row in rows] == [["High", "baseline", "3"], ["High", "ours", "6"], ["Low", "ours", "1"]]
    assert [float(value) for value in rows[0][3:]] == [20, 20, 15, 25, 10, 30]
    assert float(rows[1][8]) == 40  # 100 lies beyond 1.5 times the box
    texts = read_texts(svg)
    assert all(texts.count(text) == 1 for text in ("High", "Low", "baseline", "ours", "chrF++"))
    assert read_title(svg) == "zero-shot"


@pytest.mark.parametrize("scores", [{}, {"High": {}}, {"High": {"ours": []}}, {"High": {"ours": [float("inf")]}}])
def test_refuses_scores(scores: dict[str, dict[str, list[float]]], tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match="found no"):
        draw_zero_shot(scores, tmp_path / "z", metric="BLEU")


def test_shares_are_sorted_and_summarised_by_stack(tmp_path: Path) -> None:
    svg, _, table, _ = DRAWERS["shares"](tmp_path / "s")
    header, *rows = read_rows(table)
    assert header == ["k", "stack", "mean", "min", "max", "gain"]
    assert [row[:2] for row in rows] == [
        ["0.5", "encoder"],
        ["0.95", "encoder"],
        ["0.5", "decoder"],
        ["0.95", "decoder"],
    ]
    assert [float(value) for value in rows[1][2:]] == pytest.approx([0.3, 0.25, 0.35, 1.25])
    assert rows[0][5] == ""  # no model was scored at k=0.5
    assert {"k", "sparsity", "gain (BLEU)", "0.5", "0.95", "encoder", "decoder"} <= set(read_texts(svg))


def test_shares_without_scores_have_one_panel(tmp_path: Path) -> None:
    svg = draw_shares([SharePoint(0.9, {"decoder.0": 0.5})], tmp_path / "s", metric="BLEU")[0]
    texts = read_texts(svg)
    assert "gain (BLEU)" not in texts
    assert "encoder" not in texts
    assert canvas.STACK_COLORS["encoder"].lower() not in svg.read_text(encoding="utf-8").lower()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "no values for k"),
        ([POINTS[0], POINTS[0]], "a k twice"),
        ([SharePoint(0.9, {"middle.0": 0.5})], "the layer 'middle.0'"),
        ([SharePoint(0.9, {"decoder.0": float("nan")})], "decoder at k=0.9"),
        ([SharePoint(0.9, {"decoder.0": 0.5}, float("nan"))], "the gains"),
    ],
)
def test_refuses_shares(points: list[SharePoint], message: str, tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match=message):
        draw_shares(points, tmp_path / "s")
