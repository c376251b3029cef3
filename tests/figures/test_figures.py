from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image
from tests.figures.pictures import assert_same_bytes_twice, read_rows, read_texts, read_title
from tests.processes import LIBRARIES, call

from neuronspec.analysis.tree import language_tree
from neuronspec.errors import NeuronspecError, NeuronspecWarning
from neuronspec.figures import canvas, family_colors, figure_files
from neuronspec.figures.heatmap import draw_heatmap
from neuronspec.figures.language_tree import draw_tree
from neuronspec.figures.progression import draw_progression
from neuronspec.figures.sparsity import draw_sparsity

IOU = [[1.0, 0.812, 0.301], [0.812, 1.0, 0.402], [0.301, 0.402, 1.0]]
LABELS = ["de_Latn", "nl & <b>", "$ру$"]
GROUPS = ["Germanic", "Germanic", "Slavic"]
SPARSITIES = {
    "k=0.95": {"decoder.0": [0.1, 0.3], "encoder.10": [0.5, 0.6], "encoder.9": [0.25, 0.75]},
    "k=0.9": {"decoder.0": [0.4, 0.4]},
}
VALUES = {"decoder.0": [0.1, 0.2, 0.3, 0.4, 0.9], "encoder.0": [0.5, 0.5], "encoder.1": [0.25]}

DRAWERS: dict[str, Callable[[Path], list[Path]]] = {
    "heatmap": lambda stem: draw_heatmap(IOU, LABELS, GROUPS, stem, "decoder.0"),
    "tree": lambda stem: draw_tree(language_tree(IOU, LABELS), GROUPS, stem, "decoder.0"),
    "sparsity": lambda stem: draw_sparsity(SPARSITIES, stem, title="EC30"),
    "progression": lambda stem: draw_progression(VALUES, stem, title="EC30"),
}


@pytest.mark.parametrize("name", DRAWERS)
def test_writes_four_files_with_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    first = assert_same_bytes_twice(DRAWERS[name], tmp_path)
    with Image.open(first[1]) as image:
        colours = image.convert("RGB").getcolors(maxcolors=1 << 24)
        assert colours is not None
        assert len(colours) > 10
        assert (np.asarray(image.convert("L"))[[0, -1]] == 255).all()  # nothing is cut at the borders
        assert (np.asarray(image.convert("L"))[:, [0, -1]] == 255).all()


def test_users_matplotlib_settings_do_not_matter(tmp_path: Path) -> None:
    plain = draw_tree(language_tree(IOU, LABELS), GROUPS, tmp_path / "plain", "t")
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red"}):
        other = draw_tree(language_tree(IOU, LABELS), GROUPS, tmp_path / "other", "t")
    assert plain[0].read_bytes() == other[0].read_bytes()
    assert matplotlib.rcParams["svg.hashsalt"] is None


def test_pyplot_is_not_touched() -> None:
    code = "import sys, neuronspec.figures.neuron_figures; print('matplotlib.pyplot' in sys.modules)"
    done = call(["-c", code], warm=LIBRARIES)
    assert done.stdout.strip() == "False"


def test_heatmap_shows_labels_families_limits_and_values(tmp_path: Path) -> None:
    svg, _, table, _ = draw_heatmap(IOU, LABELS, GROUPS, tmp_path / "h", "decoder.0")
    texts = read_texts(svg)
    for label in LABELS:
        assert texts.count(label) == 2  # left and below
    for text in ("Germanic", "Slavic", "IoU (color limits 0.3 to 0.82)"):
        assert texts.count(text) == 1
    assert "decoder.0" not in texts  # a title belongs to a caption
    assert read_title(svg) == "decoder.0"
    assert texts.count("0.81") == 2  # in the cells
    assert read_rows(table) == [
        ["label", "group", *LABELS],
        ["de_Latn", "Germanic", "1.0", "0.812", "0.301"],
        ["nl & <b>", "Germanic", "0.812", "1.0", "0.402"],
        ["$ру$", "Slavic", "0.301", "0.402", "1.0"],
    ]


def test_heatmap_takes_limits(tmp_path: Path) -> None:
    svg, *_ = draw_heatmap(IOU, LABELS, GROUPS, tmp_path / "h", "", limits=(0.4, 0.85))
    assert "IoU (color limits 0.4 to 0.85)" in read_texts(svg)


@pytest.mark.parametrize("limits", [(0.8, 0.4), (40, 80), (0.5, 0.5)])
def test_heatmap_refuses_limits_that_are_none(limits: tuple[float, float], tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match="color limits"):
        draw_heatmap(IOU, LABELS, GROUPS, tmp_path / "h", "", limits=limits)


@pytest.mark.parametrize("iou", [[[1.0]], [[1, 1], [1, 1]], [[1, 0], [0, 1]], [[1, 0.5], [0.5, 1]]])
def test_heatmap_of_equal_values(iou: list[list[float]], tmp_path: Path) -> None:
    names = [f"l{i}" for i in range(len(iou))]
    assert all(path.exists() for path in draw_heatmap(iou, names, names, tmp_path / "h", ""))


def test_larger_heatmap_has_no_values_in_cells_but_all_labels(tmp_path: Path) -> None:
    iou = np.full((30, 30), 0.5) + 0.5 * np.eye(30)
    iou[0, 1] = iou[1, 0] = 0.777
    labels = [f"lang_{i}" for i in range(30)]
    svg, *_ = draw_heatmap(iou, labels, [f"family {i % 9}" for i in range(30)], tmp_path / "h", "")
    texts = read_texts(svg)
    assert "0.78" not in texts
    assert all(texts.count(label) == 2 for label in labels)
    assert all(texts.count(f"family {i}") == 1 for i in range(9))


def test_two_hundred_languages(tmp_path: Path) -> None:
    size = 200
    masks = np.random.default_rng(0).random((size, 64)) < 0.5
    shared = masks.astype(float) @ masks.T
    iou = shared / (masks.sum(1)[:, None] + masks.sum(1) - shared)
    labels = [f"lang{i:03d}_Latn" for i in range(size)]
    groups = [f"family {i % 17}" for i in range(size)]
    svg, png, *_ = draw_heatmap(iou, labels, groups, tmp_path / "h", "decoder.0")
    texts = read_texts(svg)
    assert all(texts.count(label) == 2 for label in labels)
    assert svg.stat().st_size < 1_000_000
    with Image.open(png) as image:
        assert max(image.size) < 10_000
    texts = read_texts(draw_tree(language_tree(iou, labels), groups, tmp_path / "t", "decoder.0")[0])
    assert all(texts.count(text) == 1 for text in [*labels, *set(groups)])


def test_heatmap_as_the_released_code_draws_it(tmp_path: Path) -> None:
    svg, _, table, _ = draw_heatmap(IOU, LABELS, GROUPS, tmp_path / "h", "decoder.0", released=True)
    # 0.812 is cut to 0.81, then 100 * 0.81 ** 1.25
    values = [[float(value) for value in row[2:]] for row in read_rows(table)[1:]]
    assert values[0] == pytest.approx([100, 76.8433, 22.2025], abs=1e-3)
    texts = read_texts(svg)
    assert "IoU^1.25 × 100 (color limits 40 to 80)" in texts
    assert read_title(svg) == "decoder.0; IoU^1.25 × 100, as the released code draws it"
    assert texts.count("77") == 2  # in the cells
    assert not any(text.startswith("IoU (") for text in texts)


def test_released_keeps_whole_percents(tmp_path: Path) -> None:
    # 100 * 0.29 is 28.999999999999996 in binary
    table = draw_heatmap([[1, 0.29], [0.29, 1]], ["a", "b"], ["", ""], tmp_path / "h", "", released=True)[2]
    assert float(read_rows(table)[1][3]) == pytest.approx(100 * 0.29**1.25)


def test_released_has_its_own_limits(tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match="leave one of them out"):
        draw_heatmap(IOU, LABELS, GROUPS, tmp_path / "h", "", released=True, limits=(0.4, 0.8))


def test_no_families_no_strips_and_no_legend(tmp_path: Path) -> None:
    drawers: list[Callable[[list[str], str], list[Path]]] = [
        lambda groups, name: draw_heatmap(IOU, LABELS, groups, tmp_path / name, "decoder.0"),
        lambda groups, name: draw_tree(language_tree(IOU, LABELS), groups, tmp_path / name, "decoder.0"),
    ]
    for draw in drawers:
        plain = draw(["", "", ""], "plain")[0].read_text(encoding="utf-8")
        mixed = draw(["", "x", ""], "mixed")[0].read_text(encoding="utf-8")
        assert family_colors.PALETTE[0].lower() not in plain.lower()
        assert 'id="legend' not in plain
        assert family_colors.PALETTE[0].lower() in mixed.lower()
        assert "<dc:title>decoder.0<" in plain
        assert "<dc:title>decoder.0<" in mixed


def test_strips_follow_rows_in_any_order(tmp_path: Path) -> None:
    iou = np.full((4, 4), 0.5) + 0.5 * np.eye(4)
    svg = draw_heatmap(iou, list("abcd"), ["x", "y", "x", "y"], tmp_path / "h", "")[0].read_text(encoding="utf-8")
    # a patch for each row and column, and one in the legend
    assert (
        svg.count(f"fill: {family_colors.PALETTE[0].lower()}")
        == svg.count(f"fill: {family_colors.PALETTE[1].lower()}")
        == 5
    )


def test_fonts_are_tried_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # DejaVu Sans Display has no Cyrillic letters: those must come from the next font
    monkeypatch.setattr(canvas, "FONTS", ["DejaVu Sans Display", "DejaVu Sans"])
    paths = draw_heatmap([[1, 0.5], [0.5, 1]], ["де", "ру"], ["a", "b"], tmp_path / "h", "")
    assert all(path.exists() for path in paths)


def test_svg_names_few_fonts(tmp_path: Path) -> None:
    svg = draw_heatmap(IOU, LABELS, GROUPS, tmp_path / "h", "")[0].read_text(encoding="utf-8")
    assert "'DejaVu Sans', sans-serif" in svg
    assert "Noto" not in svg


def test_twenty_families_are_told_apart() -> None:
    fills = family_colors.paint_groups([f"family {i}" for i in range(20)])
    assert len({(fill["facecolor"], fill["hatch"]) for fill in fills.values()}) == 20


def test_tree_shows_leaves_and_holds_the_merges(tmp_path: Path) -> None:
    svg, _, table, _ = draw_tree(language_tree(IOU, LABELS), GROUPS, tmp_path / "t", "decoder.0")
    texts = read_texts(svg)
    assert all(texts.count(text) == 1 for text in [*LABELS, "Germanic", "Slavic"])
    assert read_title(svg) == "decoder.0"
    assert any("cophenetic correlation" in text for text in texts)
    header, first, second = read_rows(table)
    assert header == ["merge", "left", "right", "distance", "leaves"]
    assert {first[1], first[2]} == {"de_Latn", "nl & <b>"}
    assert {second[1], second[2]} == {"#1", "$ру$"}
    assert [float(first[3]), float(second[3])] == pytest.approx([0.188, 0.699])
    assert (first[4], second[4]) == ("2", "3")


def test_branches_have_the_colour_of_their_family(tmp_path: Path) -> None:
    blue, orange = family_colors.PALETTE[:2]
    tree = language_tree(IOU, LABELS)
    svg = draw_tree(tree, GROUPS, tmp_path / "t", "")[0].read_text(encoding="utf-8").lower()
    assert svg.count(f"stroke: {blue.lower()}") == 3  # two leaves and the node above them
    assert svg.count(f"stroke: {orange.lower()}") == 1
    mixed = draw_tree(tree, ["x", "y", "x"], tmp_path / "m", "")[0].read_text(encoding="utf-8").lower()
    assert mixed.count(f"stroke: {canvas.GRAY}") == 1  # the node above x and y


def test_sparsity_means_stand_in_the_order_of_the_layers(tmp_path: Path) -> None:
    svg, _, table, _ = draw_sparsity(SPARSITIES, tmp_path / "s")
    header, *rows = read_rows(table)
    assert header == ["line", "layer", "mean", "min", "max", "tasks"]
    assert [row[:2] for row in rows] == [
        ["k=0.95", "encoder.9"],
        ["k=0.95", "encoder.10"],
        ["k=0.95", "decoder.0"],
        ["k=0.9", "decoder.0"],
    ]
    assert [float(value) for value in rows[0][2:]] == [0.5, 0.25, 0.75, 2]
    assert [float(row[2]) for row in rows[1:]] == pytest.approx([0.55, 0.2, 0.4])
    texts = read_texts(svg)
    assert all(texts.count(text) == 1 for text in ("encoder", "decoder", "k=0.95", "k=0.9"))
    assert "stroke-dasharray" in svg.read_text(encoding="utf-8")  # the divider


def test_one_stack_has_no_divider(tmp_path: Path) -> None:
    svg, *_ = draw_sparsity({"k=0.95": {"decoder.0": [0.1], "decoder.1": [0.2]}}, tmp_path / "s")
    assert "encoder" not in read_texts(svg)
    assert "stroke-dasharray" not in svg.read_text(encoding="utf-8")


def test_progression_summarises_each_layer(tmp_path: Path) -> None:
    svg, _, table, _ = draw_progression(VALUES, tmp_path / "p")
    header, *rows = read_rows(table)
    assert header == ["layer", "pairs", "mean", "median", "q1", "q3", "low", "high"]
    assert [row[0] for row in rows] == ["encoder.0", "encoder.1", "decoder.0"]
    # quartiles 0.2 and 0.4: the whisker ends below 0.4 + 1.5 * 0.2, so 0.9 is an outlier
    assert [float(value) for value in rows[2][1:]] == pytest.approx([5, 0.38, 0.3, 0.2, 0.4, 0.1, 0.4])
    assert {"encoder (mean)", "decoder (mean)"} <= set(read_texts(svg))


def test_forty_eight_layers_fit_a_page(tmp_path: Path) -> None:
    values = {f"{stack}.{i}": [0.4, 0.5, 0.6] for stack in ("encoder", "decoder") for i in range(24)}
    for paths in (draw_progression(values, tmp_path / "p"), draw_sparsity({"k=0.9": values}, tmp_path / "s")):
        with Image.open(paths[1]) as image:
            assert image.width <= round(6.3 * figure_files.DPI) + 1  # inches
        assert {"0", "23"} <= set(read_texts(paths[0]))


@pytest.mark.parametrize("layer", ["encoder", "encoder.x", "middle.0", "decoder.-1"])
def test_refuses_unknown_layers(layer: str, tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match=f"found the layer '{layer}'"):
        draw_progression({layer: [0.5]}, tmp_path / "p")
    with pytest.raises(NeuronspecError, match=f"found the layer '{layer}'"):
        draw_sparsity({"k=0.95": {layer: [0.5]}}, tmp_path / "s")


@pytest.mark.parametrize("values", [[], [float("nan"), 0.5]])
def test_refuses_layers_without_numbers(values: list[float], tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match=r"'encoder\.0'"):
        draw_progression({"encoder.0": values}, tmp_path / "p")
    with pytest.raises(NeuronspecError, match=r"'encoder\.0'"):
        draw_sparsity({"k=0.95": {"encoder.0": values}}, tmp_path / "s")
    assert not list(tmp_path.iterdir())


def test_refuses_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match="no layers"):
        draw_progression({}, tmp_path / "p")
    with pytest.raises(NeuronspecError, match="2 groups for a tree of 3 labels"):
        draw_tree(language_tree(IOU, LABELS), ["a", "b"], tmp_path / "t", "")


def test_a_script_without_a_font_stays_text_and_is_warned_of_once(tmp_path: Path) -> None:
    label = "\U00012000\U00012001"  # cuneiform
    with pytest.warns(NeuronspecWarning, match="Noto Sans") as caught:
        paths = draw_heatmap([[1, 0.5], [0.5, 1]], ["de", label], ["a", "b"], tmp_path / "h", "")
    assert len(caught) == 1
    assert read_texts(paths[0]).count(label) == 2
    assert all(path.exists() for path in paths)
