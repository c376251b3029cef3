"""Names of what is registered, for help and completion; they are looked up only when they are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping

# The format that is no file format: a table that fits the width of the terminal
TERMINAL = "terminal"


def list_corpus_formats() -> list[str]:
    """Return the names of formats of corpora."""
    from neuronspec.data.corpora import CORPUS_FORMATS

    return list(CORPUS_FORMATS)


def list_corrections() -> list[str]:
    """Return the names of corrections of p-values."""
    from neuronspec.statistics.corrections import CORRECTIONS

    return list(CORRECTIONS)


def list_engines() -> list[str]:
    """Return the names of engines that translate."""
    from neuronspec.translation.engines import ENGINES

    return list(ENGINES)


def list_export_formats() -> list[str]:
    """Return the names of formats of exports."""
    from neuronspec.exports.formats import EXPORTS

    return list(EXPORTS)


def list_identifiers() -> list[str]:
    """Return the names of language identifiers."""
    from neuronspec.evaluation.identifiers import IDENTIFIERS

    return list(IDENTIFIERS)


def choose_identifier(name: str | None) -> str:
    """Return the name of a language identifier, which is known; the default for none.

    Raises:
        NeuronspecError: If there is no such identifier.
    """
    from neuronspec.evaluation.identifiers import DEFAULT_IDENTIFIER, IDENTIFIERS

    chosen = name or DEFAULT_IDENTIFIER
    IDENTIFIERS[chosen]  # which says so where it is unknown
    return chosen


def list_metrics() -> list[str]:
    """Return the names of metrics."""
    from neuronspec.evaluation.metrics import METRICS

    return list(METRICS)


def list_table_formats() -> list[str]:
    """Return the names of formats of tables, that of the terminal first."""
    from neuronspec.comparison.tables import TABLE_FORMATS

    return [TERMINAL, *TABLE_FORMATS]


CHOICES: Mapping[str, Callable[[], list[str]]] = {
    "{corpus_formats}": list_corpus_formats,
    "{corrections}": list_corrections,
    "{engines}": list_engines,
    "{export_formats}": list_export_formats,
    "{identifiers}": list_identifiers,
    "{metrics}": list_metrics,
    "{table_formats}": list_table_formats,
}
"""Placeholder in a help text -> function that lists the names that take its place."""
