"""The page of a comparison: scores, tests and translations of any systems, without a run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from neuronspec.comparison.all_tables import tabulate_all
from neuronspec.comparison.averages import tabulate_averages
from neuronspec.comparison.study import Study
from neuronspec.comparison.tables import Table
from neuronspec.names import child
from neuronspec.report.page import write_report
from neuronspec.report.page_numbers import make_score_numbers
from neuronspec.report.score_findings import describe_gains
from neuronspec.report.score_panel import make_score_panel
from neuronspec.report.translations import (
    NO_TRANSLATIONS,
    Pair,
    WordCounts,
    list_pairs,
    list_systems,
    show_translations,
)
from neuronspec.version import __version__

TRANSLATIONS_SUFFIX = ".translations.jsonl"


def write_comparison(
    study: Study,
    path: str | Path,
    *,
    pairs: Sequence[Pair] | None = None,
    tables: Mapping[str, Table] | None = None,
    words: WordCounts | None = None,
) -> Path:
    """Write the page of a comparison: averages, tests, figures, and the translations of all systems side by side.

    All sentences are written to a file next to the page, which the page links: `ours.translations.jsonl` for
    `ours.html`. Without translations at hand, the page says so and shows the rest.

    Args:
        study: Study of the systems, with its comparisons; `compare` returns one.
        path: Page to write.
        pairs: Pairs of (baseline, system) to show; by default the baseline with every other system, and the pairs that
            were compared.
        tables: Tables to show, by name; by default all of the study but the lists of every test.
        words: Word counts of the training text, to say how rare a sentence's words are; by default words are counted
            in the references.

    Returns:
        The path of the page.

    Raises:
        NeuronspecError: If the page cannot be written, or translations are not those that were scored.

    Example:
        >>> from neuronspec.comparison import compare
        >>> references = [f"The {animal} sees {n} dogs." for animal in ("cat", "cow", "hen") for n in range(9)]
        >>> worse = [text.replace("sees", "is") for text in references]
        >>> study = compare({"base": worse, "ours": references}, references, task="de-en", trials=100)
        >>> write_comparison(study, "ours.html")  # doctest: +SKIP
        PosixPath('ours.html')
    """
    path = Path(path)
    if tables is None:
        tables = {"averages": tabulate_averages(study)} | tabulate_all(study)

    if pairs is None:
        pairs = list_pairs(study)

    # Sentences first: they may be refused, and then nothing is left behind.
    file = name_translations(path)
    translations = show_translations(study, file, pairs=pairs, words=words)

    # Findings are about systems against the baseline of the study, which marks refer to as well.
    others = [system for baseline, system in pairs if baseline == study.baseline]
    payload = {
        "title": _name_comparison(study, others),
        "subtitle": f"{len(study.results.systems)} systems in {len(study.results.tasks)} directions.",
        "version": f"neuronspec {__version__}",
        "numbers": _list_numbers(study, others),
        "summary": _summarize(study, others),
        "scores": make_score_panel(study, [study.baseline, *others]),
        "missing": {} if translations else {"translations": NO_TRANSLATIONS},
        "panels": {},
        "layers": [],
        "translations": translations,
        "tables": {"scores": list(tables.values())},
        "figures": _draw_figures(study, others),
        "methods": ["Scores: " + "; ".join(study.results.signatures)],
    }
    return write_report(payload, path)


def name_translations(path: Path) -> Path:
    """Return the file of all sentences next to a page."""
    return path.with_name(f"{path.stem}{TRANSLATIONS_SUFFIX}")


def _name_comparison(study: Study, others: Sequence[str]) -> str:
    """Return the title of the page."""
    baseline = study.title(study.baseline)
    return f"{_join([study.title(system) for system in others])} against {baseline}" if others else baseline


def _join(names: Sequence[str]) -> str:
    """Return a few names in one text, and the number of the others."""
    if len(names) <= 3:
        return ", ".join(names)
    return f"{', '.join(names[:2])} and {len(names) - 2} more"


def _list_numbers(study: Study, others: Sequence[str]) -> list[dict[str, str]]:
    """Return the numbers of the first system against the baseline."""
    numbers = make_score_numbers(study, others[0] if others else study.baseline, study.baseline)
    return [asdict(number) for number in numbers]


def _summarize(study: Study, others: Sequence[str]) -> list[dict[str, str]]:
    """Return the findings about systems, and as caveats what limits them."""
    metric = study.results.metrics[0]
    findings = [line for system in others for line in describe_gains(study, system, study.baseline, metric)]
    caveats = list(study.results.warnings)

    # A page that shows some systems only must say so.
    shown = list_systems(study)
    hidden = [study.title(system) for system in (study.baseline, *others) if system not in shown]
    if shown and hidden:
        caveats.append(f"Translations of {_join(hidden)} are not at hand, so that they are not shown side by side.")
    return [
        *({"kind": "finding", "text": text} for text in findings),
        *({"kind": "caveat", "text": text} for text in caveats),
    ]


def _draw_figures(study: Study, others: Sequence[str]) -> list[dict[str, str]]:
    """Return the figures of the scores as parts of the page, which has to work as a single file."""
    from neuronspec.figures.score_figures import draw_score_figures

    with tempfile.TemporaryDirectory() as folder:
        titles = draw_score_figures(study, Path(folder), dict.fromkeys(others, study.baseline))
        shown = []
        for name, title in titles.items():
            svg = child(Path(folder), name, ".svg").read_text(encoding="utf-8")
            shown.append({"title": title, "alt": title, "svg": svg})
    return shown
