"""Reading two files that are aligned line by line, one for each language."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

from neuronspec.data.alignment import align_lines
from neuronspec.data.corpus_formats import LineText, Pair, register_format
from neuronspec.data.locations import find_side
from neuronspec.data.streams import exists, read_lines
from neuronspec.errors import NeuronspecError


def find_aligned_lines(template: str, source: str, target: str) -> LineText | None:
    """Return the lines of two aligned files; None if they are missing, or nothing that can be read twice."""
    if "{lang}" not in template:
        return None
    return as_line_text(*_find_sides(template, source, target))


def as_line_text(first: Path, second: Path) -> LineText:
    """Return two files that are aligned line by line as one text."""
    return LineText(files=(first, second), parse=functools.partial(_pair_lines, first))


def _pair_lines(name: Path, rows: Iterable[tuple[int, str, str]]) -> Iterator[Pair]:
    for number, left, right in rows:
        yield Pair(left, right, f"{name}:{number}")


@register_format("lines", "two files, aligned line by line", files="two", find_lines=find_aligned_lines)
def read_two_files(template: str, source: str, target: str) -> Iterator[Pair]:
    """Yield the pairs of two aligned files, whose names differ in `{lang}`.

    Args:
        template: Name of both files, with the placeholders of `read_pairs`. A `*` stands for what differs as well.
        source: Code of the source language.
        target: Code of the target language.

    Raises:
        NeuronspecError: If the template names one file only, if several files fit one side, or if the files are
            missing or not aligned.
    """
    if "{lang}" not in template:
        raise NeuronspecError(f"{template} names one file, not two; write {{lang}} where their names differ")

    yield from read_aligned(*_find_sides(template, source, target))


def _find_sides(template: str, source: str, target: str) -> tuple[Path, Path]:
    """Return the files of source and target.

    Raises:
        NeuronspecError: If several files fit one side.
    """
    # The two files under the name of this direction; files named after the other direction serve this one as well.
    directions = [(source, target), (target, source)]
    missing = None

    # The codes as they are written come before any other spelling of them.
    for spelled in (False, True):
        for first, second in directions:
            sides = [{"lang": lang, "src": first, "tgt": second} for lang in (source, target)]
            left, right = (find_side(template, codes, spelled=spelled) for codes in sides)
            if exists(left) and exists(right):
                return left, right
            missing = missing or (left, right)

    assert missing is not None, "there are directions"
    return missing


def read_aligned(first: Path, second: Path) -> Iterator[Pair]:
    """Yield the pairs of two files that are aligned line by line.

    Raises:
        NeuronspecError: If a file cannot be read, or one has more lines than the other.
    """
    rows = align_lines((first, second), (read_lines(first), read_lines(second)))
    yield from _pair_lines(first, ((number, left, right) for number, (left, right) in enumerate(rows, 1)))
