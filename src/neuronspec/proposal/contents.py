"""Contents of files: what their first lines show, and how many lines there are."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from neuronspec.data.compression import decompress
from neuronspec.data.corpora import CORPUS_FORMATS, guess_format, recognize_format
from neuronspec.data.streams import open_bytes, read_lines
from neuronspec.data.zip_files import split_archive
from neuronspec.errors import NeuronspecError

HEAD = 1_000  # lines that show what a file holds
_FEW = 50  # lines that show whether a file is a table
_COUNTED = 1 << 28  # bytes in which lines are counted; the rest of a larger file is estimated
_BLOCK = 1 << 20

# Formats that cannot be read here, with what to do about them
_CONVERT = {
    ".csv": 'a .csv table: save it as text separated by TABs (.tsv), e.g. csvformat -T or "Save as" in a spreadsheet',
    ".xlsx": 'a spreadsheet: save it as text separated by TABs (.tsv) with "Save as"',
    ".ods": 'a spreadsheet: save it as text separated by TABs (.tsv) with "Save as"',
    ".sgm": "SGML: write its <seg> texts to one file for each language, one a line",
    ".xliff": "XLIFF: convert it to TMX, e.g. with okapi's tikal or xliff2po",
    ".xlf": "XLIFF: convert it to TMX, e.g. with okapi's tikal or xliff2po",
    ".pdf": "a document, not aligned text",
    ".docx": "a document, not aligned text",
    ".tar": "an archive: unpack it, or pack it again as .zip",
    ".tgz": "an archive: unpack it, or pack it again as .zip",
    ".parquet": "a table of a dataset, whose languages cannot be seen from here; add it to data.train by hand, with "
    "format: datasets",
}


@dataclass(frozen=True)
class Contents:
    """The first lines of a file, and the format that these or its name show.

    Attributes:
        format: Corpus format of the name or the first bytes; None if these do not show one.
        lines: First lines of a text file.
        is_table: Whether nearly all of these lines have the same number of columns, separated by TABs.
    """

    format: str | None
    lines: tuple[str, ...]
    is_table: bool


def read_contents(path: str) -> Contents:
    """Return the first lines of a file, and the format that its name or they show.

    Raises:
        NeuronspecError: If it cannot be read, is no text in UTF-8, or has a format that must be converted first.
    """
    advice = _CONVERT.get(Path(path).suffix.lower())
    if advice is not None:
        raise NeuronspecError(advice)

    # What the name shows, else what the first bytes show
    format = guess_format(path) or recognize_format(Path(path))
    takes_lines = format is None or CORPUS_FORMATS[format].takes_columns or format == "jsonl"
    lines = tuple(itertools.islice(read_lines(path), HEAD)) if takes_lines else ()
    if takes_lines and not any(map(str.strip, lines)):
        raise NeuronspecError("it is empty")
    if _ends_with_returns(lines):
        raise NeuronspecError(r"its lines end with a carriage return alone; convert it with tr '\r' '\n'")
    return Contents(format, lines, is_table=format is None and _is_table(lines[:_FEW]))


def _ends_with_returns(lines: tuple[str, ...]) -> bool:
    """Return whether carriage returns stand where line feeds should."""
    returns = sum(line.rstrip("\r").count("\r") for line in lines)
    return returns > len(lines)


def _is_table(lines: tuple[str, ...]) -> bool:
    widths = [line.count("\t") for line in lines if line.strip()]
    usual = max(set(widths), key=widths.count, default=0)
    return usual > 0 and widths.count(usual) >= 0.9 * len(widths)


def count_lines(path: str) -> tuple[int, bool]:
    """Return the number of lines of a file, and whether it is exact: that of a very large file is estimated.

    Raises:
        NeuronspecError: If the file cannot be read.
    """
    # Of a member of an archive, the size is not known as simply: all of it is read.
    if split_archive(path)[0] is not None:
        with open_bytes(path) as stream:
            return _count(stream, limit=None)[0], True

    with Path(path).open("rb", buffering=0) as raw:
        count, ended = _count(decompress(cast(BinaryIO, raw), path), limit=_COUNTED)
        if ended:
            return count, True
        share = raw.tell() / Path(path).stat().st_size
        return round(count / share), False


def _count(stream: BinaryIO, limit: int | None) -> tuple[int, bool]:
    """Return the number of lines within a number of bytes, and whether the stream ended there."""
    count, size, last = 0, 0, b"\n"
    while block := stream.read(_BLOCK):
        count += block.count(b"\n")
        size += len(block)
        last = block
        if limit is not None and size >= limit:
            return count, False

    # The last line need not have an end.
    return count + (not last.endswith(b"\n")), True
