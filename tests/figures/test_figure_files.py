from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tests.figures.pictures import read_rows, read_texts, read_title

from neuronspec.figures import figure_files
from neuronspec.figures.ablation_matrix import draw_ablation
from neuronspec.figures.correlations import LayerCorrelation, draw_correlations
from neuronspec.figures.family_colors import FAMILY_COLORS, choose_colors
from neuronspec.figures.gains import draw_gains
from neuronspec.figures.heatmap import draw_heatmap
from neuronspec.languages.table import UNKNOWN, list_languages

SHARP = figure_files.DPI
COLUMN, PAGE = 3.03, 6.3  # inches, of the ACL style
LANGUAGES = [f"l{i:02d}" for i in range(30)]


def draw_square(size: int, stem: Path) -> list[Path]:
    iou = [[1.0 if row == column else 0.5 for column in range(size)] for row in range(size)]
    return draw_heatmap(iou, LANGUAGES[:size], ["Germanic"] * size, stem, "Überlappung <1>")


def draw_bars(directions: int, stem: Path) -> list[Path]:
    gains = {"a system of some length": {f"en-{name}": 1.0 for name in LANGUAGES[:directions]}}
    return draw_gains(gains, stem, metric="BLEU", title="gains")


def draw_depths(layers: int, stem: Path) -> list[Path]:
    rows = [LayerCorrelation(f"{stack}.{i}", "a", 0.5, 0.1) for stack in ("encoder", "decoder") for i in range(layers)]
    return draw_correlations(rows, stem, title="distances")


@pytest.mark.parametrize(
    ("draw", "size", "width"),
    [
        (draw_square, 2, COLUMN),
        (draw_square, 30, PAGE),
        (draw_bars, 6, COLUMN),
        (draw_bars, 30, PAGE),
        (draw_depths, 6, COLUMN),
        (draw_depths, 24, PAGE),
    ],
)
def test_pictures_are_as_wide_as_a_column_or_a_page(
    draw: Callable[[int, Path], list[Path]], size: int, width: float, tmp_path: Path
) -> None:
    svg = draw(size, tmp_path / "one")[0].read_text(encoding="utf-8")
    # 72 points to an inch
    assert f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="{width * 72:g}pt"' in svg


def test_bitmaps_have_300_dots_per_inch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_files, "DPI", SHARP)
    with Image.open(draw_square(2, tmp_path / "one")[1]) as image:
        assert abs(image.width - 300 * COLUMN) <= 1
        assert round(image.info["dpi"][0]) == 300
        assert image.info["Title"] == "Überlappung <1>"


def test_pdfs_embed_their_fonts_and_name_no_date(tmp_path: Path) -> None:
    pdf = draw_square(2, tmp_path / "one")[3].read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert b"/FontFile2" in pdf  # TrueType
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf


def test_titles_stand_in_the_metadata_only(tmp_path: Path) -> None:
    svg = draw_square(2, tmp_path / "one")[0]
    assert read_title(svg) == "Überlappung <1>"
    assert "Überlappung <1>" not in read_texts(svg)


def test_no_zero_is_negative(tmp_path: Path) -> None:
    changes = [[-0.0, -1e-9], [0.5, -0.25]]
    svg, _, table, _ = draw_ablation(changes, ["a", "b"], ["a", "b"], tmp_path / "one", metric="loss")
    assert read_rows(table)[1] == ["a", "0.0", "-1e-09"]
    cells = read_texts(svg)
    assert "+0.00" in cells
    assert not {"-0.00", "-0.0", "−0.00", "−0.0"} & set(cells)


def test_every_family_of_the_table_has_a_color_of_its_own() -> None:
    families = {language.family for language in list_languages()} | {UNKNOWN}
    assert families == FAMILY_COLORS.keys()
    looks = [(color.light, color.hatch) for color in FAMILY_COLORS.values()]
    assert len(set(looks)) == len(looks)
    assert len({(color.dark, color.hatch) for color in FAMILY_COLORS.values()}) == len(looks)


def test_a_family_keeps_its_color_whatever_stands_next_to_it() -> None:
    alone = choose_colors(["Slavic"])
    among = choose_colors(["law", "Romance", "", "Slavic", "news", "Romance"])
    assert among["Slavic"] == alone["Slavic"] == FAMILY_COLORS["Slavic"]
    assert list(among) == ["law", "Romance", "Slavic", "news"]
    assert len(set(among.values())) == 4


def test_groups_that_are_no_families_have_colors_until_there_are_none_left() -> None:
    assert len(set(choose_colors(f"group {i}" for i in range(50)).values())) == 50
    assert len(choose_colors(f"group {i}" for i in range(200))) == 200
