"""Static figures on pages: the paths of their files, and the colors that they share with the page."""

from __future__ import annotations

from pathlib import Path

from tests.analysis.planted import BARE, measure_families, plant_families, select

from neuronspec.analysis.measures import analyze
from neuronspec.figures.family_colors import FAMILY_COLORS
from neuronspec.figures.sparsity import draw_sparsity
from neuronspec.report.figure_entries import list_figures, move_figures, show_figures
from neuronspec.report.payload import make_payload


def test_a_page_in_another_folder_reaches_every_file_of_a_figure(tmp_path: Path) -> None:
    # A name with a dot and a sign of its own, as those of layers and metrics are
    figures = tmp_path / "analyze" / "figures"
    paths = draw_sparsity({"k": {"decoder.0": [0.5]}}, figures / "gains.chrf++")
    entries = show_figures({"gains.chrf++": "Sparsity"}, "figures", figures)
    assert entries[0]["svg"] == paths[0].read_text(encoding="utf-8")

    (tmp_path / "report").mkdir()
    (moved,) = move_figures(entries, "../analyze")
    assert {(tmp_path / "report" / place).resolve() for place in moved["files"].values()} == {*paths}
    assert list(moved["files"]) == ["SVG", "PDF", "PNG", "CSV"]
    assert (moved["title"], moved["alt"]) == ("Sparsity", "Sparsity")


def test_links_alone_hold_no_picture() -> None:
    (entry,) = list_figures({"tree.decoder.0": "Tree"}, "figures")
    assert "svg" not in entry
    assert entry["files"]["PNG"] == "figures/tree.decoder.0.png"


def test_the_page_has_the_colors_of_the_figures_also_for_few_languages() -> None:
    everything = make_payload(measure_families(), "t")["family_colors"]
    counts = plant_families(["ru", "cs", "de"])
    few = make_payload(analyze(select(counts), counts, options=BARE), "t")["family_colors"]
    for colors in (everything, few):
        for family, color in colors.items():
            known = FAMILY_COLORS[family]
            assert color == {"light": known.light, "dark": known.dark, "hatch": known.hatch}
    assert few.keys() == {"Slavic", "Germanic"}
