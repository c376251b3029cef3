"""Sentences with their directions, and the files that translations of them go to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from neuronspec.data.normalization import is_empty
from neuronspec.errors import NeuronspecError


@dataclass(frozen=True)
class Row:
    """A sentence to translate and its direction."""

    task: str
    sentence: str


def make_rows(direction: str, lines: Iterable[str], place: str) -> list[Row]:
    """Return the direction and the text of every line.

    Args:
        direction: Direction of all lines, or `-` if each line starts with its own, followed by a tab.
        lines: Lines of a file.
        place: Name of the file, for messages.

    Raises:
        NeuronspecError: If a line lacks a direction.

    Example:
        >>> make_rows("-", ["de-en\\tHallo", "", "en-de\\tHello"], "mixed.tsv")[1:]
        [Row(task='de-en', sentence=''), Row(task='en-de', sentence='Hello')]
    """
    if direction != "-":
        return [Row(direction, line) for line in lines]

    rows = [_split(line, place, number) for number, line in enumerate(lines, 1)]
    named = next((row.task for row in rows if row.task), None)
    if rows and named is None:
        raise NeuronspecError(f"{place} holds no direction: expected a direction, a tab and a sentence on each line")

    # A blank line names no direction: any will do, for its translation is blank, too.
    return [row if row.task else Row(str(named), row.sentence) for row in rows]


def _split(line: str, place: str, number: int) -> Row:
    """Return the direction that a line starts with and its sentence; no direction for a blank line."""
    task, tab, sentence = line.partition("\t")
    if tab:
        return Row(task, sentence)
    if is_empty(line):
        return Row("", line)
    raise NeuronspecError(f"{place}:{number}: expected a direction, a tab and a sentence: {line[:40]!r}")


def check_targets(targets: Iterable[Path], sources: Iterable[Path]) -> None:
    """Refuse to write translations to something other than a file, or over the text that is translated.

    Raises:
        NeuronspecError: If one of the targets is a source, or exists and is not a file.
    """
    # One file can have several paths.
    read = {source.resolve() for source in sources}
    for target in targets:
        if target.resolve() in read:
            raise NeuronspecError(f"{target} is read from: choose another --to")
        if target.exists() and not target.is_file():
            raise NeuronspecError(f"{target} is no file: choose another --to")
