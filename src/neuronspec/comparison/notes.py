"""Notes below tables: conventions, tests, corrections and signatures, to understand and repeat what is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from neuronspec.comparison.differences import SystemComparison
from neuronspec.comparison.study import Study
from neuronspec.evaluation.metrics import find_scoring
from neuronspec.statistics.corrections import CORRECTIONS

BOLD = "Bold: the best of a column."


def explain(studies: Iterable[Study], metrics: Sequence[str], intro: str = "", baseline: str = "") -> list[str]:
    """Return the notes of a table of scores: its conventions, tests and signatures.

    Args:
        studies: Studies in the table.
        metrics: Display names of the metrics.
        intro: Sentences about this table, at the beginning.
        baseline: Name of the baseline, by default that of each study.
    """
    # Conventions: what a reader must know of the numbers themselves.
    studies = list(studies)
    lower = [f"{metric}: lower is better." for metric in metrics if not find_scoring(metric).higher_is_better]
    conventions = " ".join([intro, *lower, "Differences and averages are of unrounded scores."]).strip()

    # The comparisons that the marks of the table stand for.
    compared: list[tuple[Study, SystemComparison]] = []
    for study in studies:
        for one in study.comparisons:
            if one.metric in metrics and one.baseline == (baseline or study.baseline):
                compared.append((study, one))

    # Without tests, there are no marks and no p-values to explain.
    if not compared:
        return [conventions, *cite(studies, metrics)]

    p_values = explain_p_values([one for _, one in compared])
    return [conventions, _explain_arrows(compared), *cite(studies, metrics), p_values]


def _explain_arrows(compared: Sequence[tuple[Study, SystemComparison]]) -> str:
    """Return the note about the marks: the baselines, and the tests with their corrections."""
    # Several studies may have several baselines, or tests with different settings.
    titles: dict[str, None] = {}
    tests: dict[str, None] = {}
    for study, one in compared:
        titles[study.title(one.baseline)] = None
        correction = CORRECTIONS[one.correction].wording
        tests[f"{one.test}, {one.trials:,} trials; p <= {study.significance:g} {correction}"] = None

    return (
        f"↑ ↓: significantly better or worse than {' or '.join(titles)} ({' or '.join(tests)}, over single "
        "directions or over groups of one kind)."
    )


def explain_p_values(comparisons: Sequence[SystemComparison]) -> str:
    """Return the note about the correction and the seed of p-values, from which they can be computed again."""
    corrections = dict.fromkeys(CORRECTIONS[one.correction].wording for one in comparisons)
    seeds = sorted({one.seed for one in comparisons if one.seed is not None})
    drawn = f"; seed {' and '.join(map(str, seeds))}" if seeds else ""
    return f"p: the p-value {' or '.join(corrections)}{drawn}."


def cite(studies: Sequence[Study], metrics: Sequence[str]) -> list[str]:
    """Return the notes with the warnings about metrics and with their signatures."""
    signatures: dict[str, None] = {}
    warnings: dict[str, None] = {}
    for study in studies:
        signatures |= dict.fromkeys(study.results.signatures)
        warnings |= dict.fromkeys(study.results.warnings)

    # Both begin with the name of their metric; an empty signature says nothing.
    notes, cited = [], []
    for metric in metrics:
        notes += [f"{warning}." for warning in warnings if warning.startswith(f"{metric} ")]
        for signature in signatures:
            if signature.startswith(f"{metric}: ") and not signature.endswith(" ``"):
                cited.append(signature)

    if cited:
        notes.append(f"Signatures: {'; '.join(cited)}.")
    return notes
