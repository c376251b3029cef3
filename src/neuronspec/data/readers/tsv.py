"""Reading pairs from tables: lines of columns that are separated by TABs."""

from __future__ import annotations

import functools
import itertools
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from neuronspec.config.columns import Columns
from neuronspec.data.corpus_formats import LineText, Pair, register_format
from neuronspec.data.locations import find_spellings, locate
from neuronspec.data.normalization import is_empty
from neuronspec.data.streams import read_lines
from neuronspec.data.zip_files import split_archive
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.languages import find_only_spelling, find_sides, names_language
from neuronspec.placeholders import CORPUS_PLACEHOLDERS, fill_placeholders
from neuronspec.reading_limits import LINE

JUDGED = 1_000  # lines that decide whether a column holds text
_SHARE = 0.9  # share of the lines that decides: a column of numbers may have gaps and a remark
_MANY = 10  # values that a column next to two others needs before it is taken for identifiers or language codes

# What a column of numbers holds where a number is missing.
_GAPS = frozenset({"-", "--", "?", "n/a", "na", "nan", "none", "null", "inf", "-inf", "infinity", "\\n"})
_IDENTIFIER = re.compile(r"(?=\S*[0-9])[!-~]+")
_ADDRESS = re.compile(r"(?:https?|ftp|file)://\S+|www\.\S+")


def find_table_rows(template: str, source: str, target: str, columns: Columns | None = None) -> LineText | None:
    """Return the lines of a table that hold pairs; None of what is no file, such as a pipe, which is read only once."""
    _refuse_other_direction(template, source, target, columns or ())
    path, reverse = locate(template, source, target)
    if split_archive(path)[0] is None and not path.is_file():
        return None

    lines = enumerate(read_lines(path), 1)
    numbers, start = _judge_start(lines, path, source, target, columns, reverse=reverse)

    # A table without rows has no first one.
    first = start[0][0] if start else sys.maxsize
    return LineText(files=(path,), parse=functools.partial(_pick_columns, numbers, path, columns), first=first)


@register_format(
    "tsv",
    "a table with columns separated by TABs",
    suffixes=(".tsv",),
    takes_columns=True,
    find_lines=find_table_rows,
)
def read_table(template: str, source: str, target: str, columns: Columns | None = None) -> Iterator[Pair]:
    """Return an iterator over the pairs of a table, in its order.

    Args:
        template: File, with the placeholders of `read_pairs`. Where it stands for one language, its first column
            is English; where it stands for a direction, its first column is the source.
        source: Code of the source language.
        target: Code of the target language.
        columns: The two columns that hold the texts, in place of the first and the second: numbers, counted from 1,
            or names, which the first line then has. In names, `{src}`, `{tgt}` and `{lang}` stand for codes;
            `["{src}", "{tgt}"]` finds the languages wherever they are.

    Raises:
        NeuronspecError: If the file is named after the other direction, a line has too few columns, a name is
            unknown, or a column holds numbers, addresses, identifiers or a few repeated words instead of text.
    """
    _refuse_other_direction(template, source, target, columns or ())
    return _read_table_rows(template, source, target, columns)


def _read_table_rows(template: str, source: str, target: str, columns: Columns | None) -> Iterator[Pair]:
    path, reverse = locate(template, source, target)
    lines = enumerate(read_lines(path), 1)
    numbers, start = _judge_start(lines, path, source, target, columns, reverse=reverse)
    yield from _pick_columns(numbers, path, columns, itertools.chain(start, lines))


def _judge_start(
    lines: Iterator[tuple[int, str]], path: Path, source: str, target: str, columns: Columns | None, *, reverse: bool
) -> tuple[list[int], list[tuple[int, str]]]:
    """Return the numbers of the columns of source and target, and the first rows, by which they were judged.

    Args:
        lines: Numbered lines, of which the first ones are taken.
        path: Table, for messages.
        source: Code of the source language.
        target: Code of the target language.
        columns: Columns that were asked for, if any.
        reverse: Whether the first column of the file is the target.

    Raises:
        NeuronspecError: If there is no such column, or one holds no text.
    """
    # Blank lines before the first row do not count.
    lines = itertools.dropwhile(lambda numbered: is_blank(numbered[1]), lines)

    # Which columns hold the texts: by name, where the first line has names, or by number.
    chosen = columns or (1, 2)
    if any(isinstance(column, str) for column in chosen):
        header = next(lines, (1, ""))[1].split("\t")
        lang = source if reverse else target
        codes = {"lang": lang, "src": source, "tgt": target}
        numbers = [_find_column(str(column), codes, header, path) for column in chosen]
    else:
        numbers = list(map(int, chosen))

    # The first lines show whether these columns hold text at all.
    start = _take_start(lines)
    _check_texts(numbers, start, path)

    if reverse and not _have_side_names(columns):
        numbers.reverse()
    return numbers, start


def _take_start(lines: Iterator[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the first lines of a table: those that decide what its columns hold, and fewer where they are long."""
    start, size = [], 0
    for line in itertools.islice(lines, JUDGED):
        start.append(line)
        size += len(line[1])
        if size > LINE.largest:
            break
    return start


def _pick_columns(
    numbers: Sequence[int], path: Path, columns: Columns | None, lines: Iterable[tuple[int, str]]
) -> Iterator[Pair]:
    """Yield the texts in two columns of numbered lines, as source and target.

    Raises:
        NeuronspecError: If a line has too few columns.
    """
    left, right = numbers
    count = max(numbers)
    for number, line in lines:
        fields = line.split("\t", count)  # no further than needed
        if len(fields) < count:
            raise _refuse_short_line(line, place=f"{path}:{number}", found=len(fields), expected=count, columns=columns)
        yield Pair(fields[left - 1], fields[right - 1], f"{path}:{number}")


def is_blank(line: str) -> bool:
    """Return whether a line of a table holds nothing, not even a TAB."""
    return not line.strip(" ")


def _have_side_names(columns: Columns | None) -> bool:
    """Return whether columns are named after source and target, and so are in that order already."""
    named = " ".join(map(str, columns or ()))
    return "{src}" in named or "{tgt}" in named


def _refuse_other_direction(path: str, source: str, target: str, columns: Columns) -> None:
    """Refuse a table that is named after the other direction, so that its first column is the target."""
    named = " ".join([path, *map(str, columns)])

    # Placeholders are filled so that the name fits the direction.
    if any(f"{{{placeholder}}}" in named for placeholder in CORPUS_PLACEHOLDERS):
        return

    name = Path(path).name.rpartition("!")[2]  # the name of an archive says nothing about the order in a member

    # The direction is a part of the name: news.de-en.tsv
    for part in name.split("."):
        sides = find_sides(part)
        if sides is not None and names_language(sides[0], target) and names_language(sides[1], source):
            advice = name.replace(part, "{src}-{tgt}")
            raise NeuronspecError(
                f"{path} is named as text of {part}, not of {source}-{target}, so its first text is the target: write "
                f"{advice}, which reads it the other way round"
            )


def _find_column(template: str, codes: Mapping[str, str], header: Sequence[str], path: Path) -> int:
    """Return the number of the column with this name, or the number that the name is.

    Args:
        template: Name, with placeholders for codes.
        codes: Code of the language that each placeholder stands for.
        header: Names of the columns.
        path: Table, for messages.

    Raises:
        NeuronspecError: If no column has this name, or several have it.
    """
    name = fill_placeholders(template, codes)
    if name.isdecimal():
        return int(name)

    # The name with the codes as they are written, else with other spellings of them
    fitting = [name] * header.count(name) or find_spellings(template, codes, dict.fromkeys(header))
    if len(fitting) == 1 and header.count(fitting[0]) == 1:
        return header.index(fitting[0]) + 1  # counted from 1

    # A name without placeholders is not looked for in other spellings, but named.
    found = "several columns" if fitting else "no column"
    spelled = None if fitting else find_only_spelling(name, header)
    hint = did_you_mean(name, header) if spelled is None else f" but {spelled!r}, the same language"
    first_line = ", ".join(map(repr, header[:8])) or "missing"
    raise NeuronspecError(f"{path} has {found} {name!r}{hint}; its first line is {first_line}")


def _refuse_short_line(line: str, *, place: str, found: int, expected: int, columns: Columns | None) -> NeuronspecError:
    if columns is None:
        return NeuronspecError(f"{place} has no TAB: {line[:60]!r}; expected a text, a TAB and its translation")
    counted = f"{found} column{'' if found == 1 else 's'}"
    return NeuronspecError(f"{place} has {counted}: {line[:60]!r}; expected at least {expected}")


def _check_texts(numbers: Sequence[int], lines: Sequence[tuple[int, str]], path: Path) -> None:
    """Refuse columns that hold no text in the first, numbered lines of a table."""
    rows = [line.split("\t") for _, line in lines]
    for number in numbers:
        _check_text(number, rows, path)


def _check_text(column: int, rows: Sequence[Sequence[str]], path: Path) -> None:
    """Refuse a column that holds no text.

    Raises:
        NeuronspecError: If it holds none; the message names columns that may hold text.
    """
    found = _describe_column(column, rows)
    if found is None:
        return

    kind, is_such = found
    example = next(value for value in _values(column, rows) if is_such(value))

    # Other columns may hold the texts.
    width = max(map(len, rows))
    texts = list_text_columns(rows)
    if len(texts) >= 2:
        named = f"{texts[0]}, {texts[1]}"
        advice = f"name the columns of the two texts, counted from 1: columns: [{named}], or --columns '{named}'"
    else:
        advice = f"expected two columns of text, but of its {width} columns {len(texts)} may be text"
    raise NeuronspecError(f"column {column} of {path} holds {kind} ({example[:40]!r}), not text; {advice}")


def list_text_columns(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the numbers, from 1 on, of the columns that may hold text: no numbers, addresses, identifiers or labels.

    Args:
        rows: First rows of a table.
    """
    width = max(map(len, rows), default=0)
    return [number for number in range(1, width + 1) if _describe_column(number, rows) is None]


def _describe_column(column: int, rows: Sequence[Sequence[str]]) -> tuple[str, Callable[[str], bool]] | None:
    """Return what a column without text holds, and the function that recognizes it; None for a column of text."""
    values = _values(column, rows)
    if not values:
        return None

    kinds: list[tuple[str, Callable[[str], bool]]] = [("numbers", _is_number), ("addresses", _is_address)]
    if len(values) >= 3:
        values = values[1:]  # the first line may hold titles

    # A short text can look like an identifier or a label: only many values show what a column holds.
    if len(values) >= _MANY and max(map(len, rows)) > 2:
        kinds.append(("identifiers", _is_identifier))
        if not any(map(str.isspace, values[0])):
            kinds.append(("one and the same word", values[0].__eq__))
        kinds.append(("a few words over and over", _find_labels(values).__contains__))

    # A column has a kind if nearly all of its values have it.
    enough = _SHARE * len(values)
    for kind, is_such in kinds:
        if sum(map(is_such, values)) >= enough:
            return kind, is_such
    return None


def _find_labels(values: Sequence[str]) -> frozenset[str]:
    """Return the values that look like codes of languages or names of sources: words that come again and again."""
    words = Counter(value for value in values if not any(map(str.isspace, value)))
    return frozenset(word for word, times in words.items() if times >= _MANY)


def _values(column: int, rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the values of a column, without empty fields and gaps."""
    fields = (row[column - 1].strip() for row in rows if len(row) >= column)
    return [field for field in fields if not is_empty(field) and field.casefold() not in _GAPS]


def _is_number(text: str) -> bool:
    """Return whether a text is a score, an identifier of digits, a share, a date, a time: digits and no letters."""
    if any(map(str.isdigit, text)) and not any(map(str.isalpha, text)):
        return True
    try:
        # Numbers with letters: 1e5, nan.
        float(text)
    except ValueError:
        return False
    return True


def _is_identifier(text: str) -> bool:
    return _IDENTIFIER.fullmatch(text) is not None


def _is_address(text: str) -> bool:
    return _ADDRESS.fullmatch(text) is not None
