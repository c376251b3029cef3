"""Reading parallel text as a stream, from the files that users have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import neuronspec.data.readers  # noqa: F401 - registers the formats
from neuronspec.config.columns import Columns, check_columns
from neuronspec.data.compression import strip_compression
from neuronspec.data.corpus_formats import CORPUS_FORMATS as CORPUS_FORMATS
from neuronspec.data.corpus_formats import CorpusFormat, LineText, Pair
from neuronspec.data.locations import locate
from neuronspec.data.streams import exists, open_bytes
from neuronspec.errors import NeuronspecError
from neuronspec.languages import same_language
from neuronspec.placeholders import CORPUS_PLACEHOLDERS, check_placeholders

_START = 2048  # bytes of a file by which its format is recognized


def read_pairs(
    path: str, source: str, target: str, format: str = "auto", columns: Sequence[int | str] | None = None
) -> Iterator[Pair]:
    """Yield the sentence pairs of one direction of a corpus, in the corpus's order.

    Nothing is normalized or dropped here: that is the work of `clean_pairs`. A file is opened when its first
    pair is asked for, and a fault in it is reported when the reading reaches it.

    Args:
        path: Template with the placeholders `{lang}`, `{src}` and `{tgt}`: `train/{lang}.tsv.xz`,
            `train.{src}-{tgt}.{lang}`, `/usr/share/locale/{lang}/LC_MESSAGES/*.mo`,
            `some.whl!package/*/{lang}.json`, `hub:NAME[:CONFIG[:SPLIT]]`. Where a file stands for a language
            and not for a direction, `{lang}` is the language that is not English.
        source: Code of the source language. A file of that very name comes first, then the only one that is named
            after the same language in another spelling.
        target: Code of the target language.
        format: Name in `CORPUS_FORMATS`; `"auto"` chooses it by the path.
        columns: The two columns of a table (format `tsv`) that hold the texts, by number from 1 on or by name; see
            `neuronspec.data.readers.tsv.read_table`.

    Returns:
        An iterator over the pairs.

    Raises:
        NeuronspecError: If a file is missing, damaged or not UTF-8, if a line does not fit the format, or if the
            format is unknown.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "de.tsv").write_text("Good morning\\tGuten Morgen\\n")
        ...     [(pair.source, pair.target) for pair in read_pairs(folder + "/{lang}.tsv", "de", "en")]
        [('Guten Morgen', 'Good morning')]
    """
    chosen, arguments = _choose_reader(path, source, target, format, columns)
    return chosen.read(*arguments)


def find_lines(
    path: str, source: str, target: str, format: str = "auto", columns: Sequence[int | str] | None = None
) -> LineText | None:
    """Return the lines that hold the pairs of a corpus, for reading parts of it; None where it has no such lines.

    Args:
        path: Template, as in `read_pairs`.
        source: Code of the source language.
        target: Code of the target language.
        format: Name in `CORPUS_FORMATS`; `"auto"` chooses it by the path.
        columns: Columns of a table.

    Raises:
        NeuronspecError: If the corpus is broken at its beginning, as `read_pairs` would find.
    """
    chosen, arguments = _choose_reader(path, source, target, format, columns)
    text = None if chosen.find_lines is None else chosen.find_lines(*arguments)

    # A pipe can be read once only, from its beginning.
    if text is not None and any(_is_pipe(file) for file in text.files):
        return None
    return text


def _is_pipe(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _choose_reader(
    path: str, source: str, target: str, format: str, columns: Sequence[int | str] | None
) -> tuple[CorpusFormat, tuple[Any, ...]]:
    """Return the format of a corpus, and the arguments of its reader."""
    # Mistakes that no file is needed for are reported at once, not when the first pair is asked for.
    check_placeholders(path, CORPUS_PLACEHOLDERS)
    if same_language(source, target):
        raise NeuronspecError(f"{source}-{target} is no direction: source and target are the same language")

    # Columns belong to a table, the usual one where the name of the file shows no format.
    if format == "auto":
        format = _find_format(path, source, target) if columns is None else guess_format(path) or _list_tables()[0]
    chosen = CORPUS_FORMATS[format]

    if columns is None:
        return chosen, (path, source, target)
    return chosen, (path, source, target, _check_columns(chosen, path, columns=columns, format=format))


def guess_format(path: str) -> str | None:
    """Return the name of the format that a path belongs to by its beginning or end, or None.

    Example:
        >>> guess_format("train/{lang}.tsv.xz"), guess_format("hub:org/corpus"), guess_format("news.{lang}")
        ('tsv', 'datasets', None)
    """
    # A prefix, such as `hub:`, decides before any suffix.
    for name, known in CORPUS_FORMATS.items():
        if known.prefix and path.startswith(known.prefix):
            return name

    # The suffix in front of that of a compression
    suffix = strip_compression(Path(path)).suffix
    for name, known in CORPUS_FORMATS.items():
        if suffix in known.suffixes:
            return name
    return None


def names_no_file(path: str) -> bool:
    """Return whether a path belongs to a format whose texts are not files here, such as `hub:NAME`."""
    return any(path.startswith(known.prefix) for known in CORPUS_FORMATS.values() if known.prefix)


def _check_columns(chosen: CorpusFormat, path: str, *, columns: Sequence[int | str], format: str) -> Columns:
    """Return the columns of a table that hold the two texts.

    Raises:
        NeuronspecError: If the format has no columns, or these are not two of them.
    """
    if not chosen.takes_columns:
        tables = ", ".join(_list_tables())
        raise NeuronspecError(f"columns are for tables of TABs (format {tables}), but {path} is read as {format}")

    # The columns are checked before the file is opened.
    try:
        return check_columns(columns)
    except ValueError as error:
        raise NeuronspecError(f"cannot read the columns {list(columns)} of {path}: {error}") from None


def _list_tables() -> list[str]:
    """Return the names of the formats that have columns, the usual one first."""
    return [name for name, known in CORPUS_FORMATS.items() if known.takes_columns]


def _find_format(template: str, source: str, target: str) -> str:
    """Return the format of a corpus: by its name, else by how many files it has, else by how its file begins.

    Raises:
        NeuronspecError: If none of these shows it.
    """
    # A folder holds a dataset, whatever its name.
    path, _ = locate(template, source, target)
    if path.is_dir() and not names_no_file(template):
        return "datasets"

    guessed = guess_format(template)
    if guessed is not None:
        return guessed
    if "{lang}" in template:  # a file for each language
        return "lines"

    # One file whose name shows nothing: it has to be opened.
    recognized = recognize_format(path)
    if recognized is None:
        known = ", ".join(sorted(CORPUS_FORMATS))
        raise NeuronspecError(
            f"cannot tell the format of {template} from its name; give format, one of {known}, "
            "or the columns of a table of TABs, or write {lang} where the two files of a pair differ"
        )
    return recognized


def recognize_format(path: Path) -> str | None:
    """Return the format that a file has by its first bytes, or None."""
    if not exists(path):
        return None
    with open_bytes(path) as stream:
        start = stream.read(_START)

    for name, known in CORPUS_FORMATS.items():
        if known.recognizes is not None and known.recognizes(start):
            return name
    return None
