"""The page of a run: the report of its neurons, together with the scores of its systems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neuronspec.comparison.seeds import split_seed
from neuronspec.comparison.tables import Table
from neuronspec.figures.score_figures import draw_score_figures
from neuronspec.files import read_json
from neuronspec.pipeline.layout import PRETRAINED, Layout
from neuronspec.pipeline.neuron_analysis import ANALYSIS_FILE, REPORT_FILE
from neuronspec.pipeline.run_results import RunResults
from neuronspec.pipeline.run_translations import count_training_words
from neuronspec.pipeline.systems import SPECIALIZED, choose_baselines
from neuronspec.pipeline.training_curves import draw_curves, read_curves
from neuronspec.report.curves_part import show_curves
from neuronspec.report.figure_entries import move_figures, show_figures
from neuronspec.report.page import write_report
from neuronspec.report.page_numbers import make_score_numbers
from neuronspec.report.score_panel import make_score_panel
from neuronspec.report.translations import show_translations

# Names of the folder of figures and of the file of all translations, next to the page
FIGURES = "figures"
TRANSLATIONS_FILE = "translations.jsonl"

MAX_NUMBERS = 4  # that fit next to each other
MAX_HIGHLIGHTS = 3  # sentences that one reads before looking at a picture


def read_analysis(layout: Layout) -> dict[str, Any]:
    """Return the measurements of a run's neurons; an empty mapping if it has no masks."""
    path = layout.analysis / ANALYSIS_FILE
    return dict(read_json(path)) if path.is_file() else {}


def write_page(
    report: RunResults,
    layout: Layout,
    *,
    tables: Mapping[str, Table],
    findings: list[str],
    highlights: list[str],
    about: str,
    directory: Path,
) -> None:
    """Draw the figures of a run's scores and write its page.

    Args:
        report: Results of the run.
        layout: Paths of the run, with the analysis of its neurons.
        tables: Tables of scores to show.
        findings: Findings from the scores, a sentence each.
        highlights: Those that the page begins with.
        about: Sentences about the data and the training.
        directory: Directory of the report.
    """
    # Each trained system is drawn against the baseline that its marks refer to.
    pairs = {system: report.baseline(system) for system in report.study.results.systems if system in report.trained[1:]}
    figures = draw_score_figures(report.study, directory / FIGURES, pairs)

    # All sentences are in a file next to the page, which shows as many as a page can.
    words = count_training_words(report.config, layout)
    translations = show_translations(
        report.study, directory / TRANSLATIONS_FILE, pairs=_list_pairs(report), words=words
    )
    curves = read_curves(report, layout)
    figures |= draw_curves(curves, directory / FIGURES)

    # The page extends the report of the neurons; without masks, it begins with empty parts.
    neurons = read_analysis(layout)
    page = {"title": report.config.name, "summary": [], "panels": {}, "layers": []} | neurons

    # Scores come before what was found about the neurons.
    page |= {
        "subtitle": about,
        "numbers": _choose_numbers(report, page.get("numbers", [])),
        "highlights": [*_make_findings(highlights), *page.get("highlights", [])][:MAX_HIGHLIGHTS],
        "summary": [*_make_findings(findings), *page["summary"]],
        "scores": make_score_panel(report.study, _order_systems(report), colored=report.trained),
        "translations": translations,
        "tables": {"scores": list(tables.values()), **page.get("tables", {})},
        "curves": show_curves(curves),
        # Figures of scores are part of the page, which has to work as a single file; those of neurons are linked.
        "figures": [
            *show_figures(figures, FIGURES, directory / FIGURES),
            *move_figures(page.get("figures", []), f"../{layout.analysis.name}"),
        ],
        "methods": [*page.get("methods", []), "Scores: " + "; ".join(report.study.results.signatures)],
    }

    write_report(page, directory / REPORT_FILE)


def _list_pairs(report: RunResults) -> list[tuple[str, str]]:
    """Return the pairs of (baseline, system) of a run; the page opens with its specialized model, if there is one."""
    compared = choose_baselines(report.study.results.systems)
    # The last baseline is the strongest.
    pairs = [(baseline, system) for system, baselines in compared.items() for baseline in reversed(baselines)]
    return sorted(pairs, key=lambda pair: pair[1] != SPECIALIZED)


def _make_findings(texts: Iterable[str]) -> list[dict[str, str]]:
    return [{"kind": "finding", "text": text} for text in texts]


def _choose_numbers(report: RunResults, neurons: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Return four numbers: two of the scores, and as many of the neurons as there are; else more of the scores."""
    main = report.main
    found = make_score_numbers(report.study, main, report.baseline(main), PRETRAINED)
    scores = [asdict(number) for number in found]
    return [*scores[:2], *neurons, *scores[2:]][:MAX_NUMBERS]


def _order_systems(report: RunResults) -> list[str]:
    """Return the trained systems of the run's own seed, from the pretrained model to the one that the run is about."""
    own = [system for system in report.trained if split_seed(system)[1] is None]
    first = [system for system in (PRETRAINED, report.rival) if system in own]
    return list(dict.fromkeys([*first, *(one for one in own if one != report.main), report.main]))
