"""The translations of a result set as files, so that sentences can be read next to their scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import with_config

from neuronspec.artifacts.json_lines import LINE, read_json_lines, write_json_lines
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.outputs import Outputs

OutputSource = Outputs | Callable[[], Outputs]
"""The translations of a system for a test set, or a function that reads them when they are needed."""


@with_config(LINE)
@dataclass(frozen=True)
class _Line:
    """A sentence of a result set.

    Attributes:
        source: Sentence that was translated; None if it is not known.
        reference: Reference translation.
        translation: Translation of the system.
    """

    source: str | None
    reference: str
    translation: str


def write_output_file(path: Path, outputs: Outputs) -> None:
    """Write translations with their references, and their sources if they are known: JSON lines, one a sentence.

    Args:
        path: Path of the file.
        outputs: Translations, with references.
    """
    assert outputs.references is not None
    sources = outputs.sources or [None] * len(outputs.hypotheses)
    rows = zip(sources, outputs.references, outputs.hypotheses, strict=True)
    write_json_lines(path, (_Line(*row) for row in rows))


def read_output_file(path: Path, system: str) -> Outputs:
    """Read translations that `write_output_file` wrote.

    Args:
        path: Path of the file.
        system: Name of the system.

    Raises:
        NeuronspecError: If the file is missing or damaged, or only some of its sentences have a source.
    """
    rows = read_json_lines(path, _Line)

    # Sources are known for all sentences or for none.
    sources = [row.source for row in rows if row.source is not None]
    if sources and len(sources) < len(rows):
        raise NeuronspecError(
            f"{path} is damaged: {len(rows) - len(sources)} of {len(rows)} sentences have no source; score the system "
            "again"
        )
    return Outputs(
        hypotheses=tuple(row.translation for row in rows),
        references=tuple(row.reference for row in rows),
        sources=tuple(sources) or None,
        name=system,
    )
