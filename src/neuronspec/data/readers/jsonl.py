"""Reading JSON lines: one object with two texts a line."""

from __future__ import annotations

from collections.abc import Iterator

from neuronspec.data.corpus_formats import Pair, register_format
from neuronspec.data.locations import locate
from neuronspec.data.readers.fields import decode_json, read_row
from neuronspec.data.streams import read_lines


@register_format("jsonl", "JSON lines", suffixes=(".jsonl", ".ndjson"))
def read_json_pairs(template: str, source: str, target: str) -> Iterator[Pair]:
    """Yield the pairs of a file of JSON lines, in its order.

    Args:
        template: File, compressed or not, with the placeholders of `read_pairs`.
        source: Code of the source language.
        target: Code of the target language.

    Raises:
        NeuronspecError: If the file is missing or damaged, or a line is not JSON or has no two texts.
    """
    path, reverse = locate(template, source, target)
    for number, line in enumerate(read_lines(path), 1):
        place = f"{path}:{number}"
        yield read_row(decode_json(line, place), source, target, reverse=reverse, place=place)
