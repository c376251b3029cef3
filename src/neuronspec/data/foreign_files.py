"""Files that are no text although they hold some: documents, spreadsheets and tables of other programs."""

from __future__ import annotations

import re
from pathlib import PurePath

from neuronspec.errors import NeuronspecError

# Pattern of the first bytes -> kind of file; none of these begins a text.
_KINDS = {
    re.compile(rb"%PDF-"): "a PDF file",
    re.compile(rb"PAR1"): "a Parquet file",
    re.compile(rb"\{\\rtf"): "a document of a word processor",
    re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"): "a document or spreadsheet of Microsoft Office",
    re.compile(rb"SQLite format 3\0"): "a database",
}
# Office documents are zip archives, which their names show.
_ARCHIVES = {
    ".docx": "a document of a word processor",
    ".odt": "a document of a word processor",
    ".xlsx": "a spreadsheet",
    ".ods": "a spreadsheet",
    ".pptx": "a presentation",
}
_TO_TABLE = (
    "python -c \"import csv, sys; print(*map('\\t'.join, csv.reader(sys.stdin)), sep='\\n')\" < {name} > {stem}.tsv"
)


def refuse_foreign(start: bytes, name: str) -> None:
    """Refuse a file of another program, which its first bytes or its name show, and say how to get its text.

    Args:
        start: First bytes of the file.
        name: Name of the file.

    Raises:
        NeuronspecError: If it is such a file.
    """
    path = PurePath(name)
    suffix = path.suffix.lower()

    if suffix == ".csv":
        command = _TO_TABLE.format(name=name, stem=path.with_suffix(""))
        raise NeuronspecError(f"{name} is a table with commas; expected lines of text, or a table with TABs: {command}")

    # Spreadsheets can save tables, everything else can save lines.
    is_archive = start.startswith(b"PK\x03\x04")
    kind = (
        _ARCHIVES.get(suffix) if is_archive else next((_KINDS[magic] for magic in _KINDS if magic.match(start)), None)
    )
    if kind is not None:
        raise NeuronspecError(
            f"{name} is {kind}; expected plain text in UTF-8: save it as one sentence a line, or as a table with TABs"
        )
