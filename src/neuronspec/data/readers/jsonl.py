"""Reading JSON lines: one object with two texts a line."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

from neuronspec.data.corpus_formats import LineText, Pair, register_format
from neuronspec.data.locations import locate
from neuronspec.data.readers.fields import decode_json, read_row
from neuronspec.data.streams import read_lines


def find_json_lines(template: str, source: str, target: str) -> LineText:
    """Return the lines of a file of JSON lines."""
    path, reverse = locate(template, source, target)
    parse = functools.partial(_parse_rows, path=path, source=source, target=target, reverse=reverse)
    return LineText(files=(path,), parse=parse)


def _parse_rows(
    rows: Iterable[tuple[int, str]], *, path: Path, source: str, target: str, reverse: bool
) -> Iterator[Pair]:
    for number, line in rows:
        place = f"{path}:{number}"
        yield read_row(decode_json(line, place), source, target, reverse=reverse, place=place)


@register_format("jsonl", "JSON lines", suffixes=(".jsonl", ".ndjson"), find_lines=find_json_lines)
def read_json_pairs(template: str, source: str, target: str) -> Iterator[Pair]:
    """Return an iterator over the pairs of a file of JSON lines, in its order.

    Args:
        template: File, compressed or not, with the placeholders of `read_pairs`.
        source: Code of the source language.
        target: Code of the target language.

    Raises:
        NeuronspecError: If the file is missing or damaged, or a line is not JSON or has no two texts.
    """
    text = find_json_lines(template, source, target)
    return text.parse(enumerate(read_lines(text.files[0]), 1))
