"""Tables of two texts: which columns hold them, and in which languages they are."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import replace

from neuronspec.data.readers.tsv import is_blank, list_text_columns
from neuronspec.errors import NeuronspecError
from neuronspec.languages import find_language, is_english, is_known, list_languages, names_language, same_language
from neuronspec.proposal.contents import Contents, count_lines
from neuronspec.proposal.file_names import CodePlace, find_codes, find_pair
from neuronspec.proposal.listing import ListedFile
from neuronspec.proposal.parallel_text import ParallelText
from neuronspec.proposal.recognition import are_swapped, recognize_language

# Titles that say nothing about languages; whole sentences are never one of them.
_SIDES = ("source", "src", "target", "tgt", "trg", "reference", "ref", "original", "translation", "input", "output")
_TITLES = frozenset(
    title
    for side in (*_SIDES, "1", "2")
    for title in (side, f"{side}_text", f"{side}_sentence", f"text{side}", f"sentence{side}")
)

_RENAME = "put the two codes into its name, such as NAME.de-en.tsv"


def read_table_file(file: ListedFile, contents: Contents, own: Collection[str] = ()) -> ParallelText:
    """Return the text of a table.

    The names of the columns decide which languages they hold, then the name of the file, then the text itself.

    Raises:
        NeuronspecError: If it has no two columns of text, or nothing shows their languages.
    """
    lines = _skip_blank(contents.lines)
    rows = [line.split("\t") for line in lines]
    count, exact = count_lines(file.path)
    count -= len(contents.lines) - len(lines)
    format = "tsv" if contents.format is None else "auto"

    # A first line of codes or names of languages.
    header = _read_header(rows[0], own)
    if len(header) >= 2:
        sizes = dict.fromkeys(header, count - 1)
        return ParallelText(path=file.path, name=file.name, lines=sizes, columns=header, format=format, exact=exact)

    # Which two columns hold the texts
    columns = list_text_columns(rows)
    if len(columns) < 2:
        raise NeuronspecError(f"a table with {len(columns)} columns of text; expected two, separated by TABs")
    titles = _read_titles(rows[0], columns)
    texts = {column: [row[column - 1] for row in rows[bool(titles) :] if len(row) >= column] for column in columns}
    count -= bool(titles)

    # The name of the file, else the text itself, shows which column is in which language.
    pair = find_pair(file.name, own)
    if pair is not None:
        found = _read_named_after_pair(file, pair, texts, count=count, exact=exact, format=format)
    else:
        found = _read_recognized(file, texts, own, count=count, exact=exact, format=format)
    return _name_by_titles(found, titles)


def _read_titles(first: Sequence[str], columns: Sequence[int]) -> dict[int, str]:
    """Return the titles of columns of text where the first line has some, such as `source` and `target`."""
    titles = {column: first[column - 1] for column in columns if len(first) >= column}
    words = {title.strip().casefold() for title in titles.values()}
    return titles if words <= _TITLES and len(words) == len(columns) else {}


def _name_by_titles(text: ParallelText, titles: dict[int, str]) -> ParallelText:
    """Return the text of a table whose columns are named by their titles, so that the first line is no sentence."""
    if not titles:
        return text
    columns = {code: titles[column] if isinstance(column, int) else column for code, column in text.columns.items()}
    return replace(text, columns=columns)


def _skip_blank(lines: Sequence[str]) -> list[str]:
    """Return the lines of a table from the first one that is not blank."""
    return list(itertools.dropwhile(is_blank, lines))


def _read_header(first: Sequence[str], own: Collection[str]) -> dict[str, int | str]:
    """Return the columns with languages by their codes: under the very code, or under the language's English name."""
    named = {name.strip(): name for name in first}
    codes = [name for name in named if name in own or (len(name) <= 12 and _is_code(name))]
    if len(codes) >= 2:
        return {code: named[code] for code in codes}

    by_name = {language.name.casefold(): language.code for language in list_languages()}
    found = {by_name[name.casefold()]: named[name] for name in named if name.casefold() in by_name}
    return dict(found)


def _is_code(name: str) -> bool:
    places = find_codes(name)
    return len(places) == 1 and places[0].sure and places[0].code == name


def _read_named_after_pair(
    file: ListedFile,
    pair: tuple[CodePlace, CodePlace],
    texts: dict[int, list[str]],
    *,
    count: int,
    exact: bool,
    format: str,
) -> ParallelText:
    """Return the text of a table with a direction in its name: its first text is in the first language."""
    first, second = pair
    columns = list(texts)[:2]
    assumptions = []

    # More columns of text, or the other order: the text itself shows it.
    if len(texts) > 2:
        columns = _choose_columns(texts, first.code, second.code)
    if are_swapped(texts[columns[0]], texts[columns[1]], first.code, second.code):
        columns.reverse()
        assumptions.append(f"{file.name}: column {columns[0]} reads like {_name(first.code)}, whatever the file's name")

    before, after = file.path[: file.root + first.start], file.path[file.root + second.end :]
    joined = file.name[first.end : second.start]
    return ParallelText(
        path=file.path,
        name=file.name,
        lines=dict.fromkeys((first.code, second.code), count),
        named_by="direction",
        template=f"{before}{{src}}{joined}{{tgt}}{after}",
        columns=dict(zip((first.code, second.code), columns, strict=True)),
        format=format,
        exact=exact,
        assumptions=tuple(assumptions),
    )


def _choose_columns(texts: dict[int, list[str]], first: str, second: str) -> list[int]:
    """Return the two columns that are recognized as these languages, or the first two."""
    found = {column: recognize_language(lines) for column, lines in texts.items()}
    chosen = []
    for code in (first, second):
        fitting = [column for column, language in found.items() if language and same_language(language, code)]
        chosen += [column for column in fitting if column not in chosen][:1]
    return chosen if len(chosen) == 2 else list(texts)[:2]


def _read_recognized(
    file: ListedFile, texts: dict[int, list[str]], own: Collection[str], *, count: int, exact: bool, format: str
) -> ParallelText:
    """Return the text of a table with one language in its name, or with none."""
    found = {column: recognize_language(lines) for column, lines in texts.items()}
    place = _find_single_code(file.name, found, own)
    columns = _name_columns(found, place.code if place is not None else None)
    if columns is None:
        recognized = ", ".join(f"column {column}: {code or 'unknown'}" for column, code in found.items())
        raise NeuronspecError(f"a table whose languages are not clear ({recognized}); {_RENAME}")

    # Everything that the file's name does not say is an assumption.
    shown = " and ".join(f"{_name(code)} in column {column}" for code, column in columns.items())
    assumptions = []
    if place is None:
        assumptions.append(f"{file.name}: {shown}, recognized from the text")
    elif not all(found[column] for column in columns.values()):
        assumptions.append(f"{file.name}: {shown}")

    template, named_by = file.path, "nothing"
    if place is not None and any(map(is_english, columns)):
        template = f"{file.path[: file.root + place.start]}{{lang}}{file.path[file.root + place.end :]}"
        named_by = "language"
    return ParallelText(
        path=file.path,
        name=file.name,
        lines=dict.fromkeys(columns, count),
        named_by="language" if named_by == "language" else "nothing",
        template=template,
        columns=dict(columns),
        format=format,
        exact=exact,
        assumptions=tuple(assumptions),
    )


def _find_single_code(name: str, found: dict[int, str | None], own: Collection[str]) -> CodePlace | None:
    """Return the place of the language that the name of a table shows; English alone says nothing."""
    places = [place for place in find_codes(name, own) if not is_english(place.code)]
    recognized = [code for code in found.values() if code is not None]

    # A code that the text confirms comes first, then the last one of the name.
    confirmed = [place for place in places if any(names_language(place.code, code) for code in recognized)]
    sure = [place for place in places if place.sure]
    return next(reversed(confirmed or sure or places), None)


def _name_columns(found: dict[int, str | None], named: str | None) -> dict[str, int] | None:
    """Return two columns by the codes of their languages, or None if these are not clear.

    Args:
        found: Recognized language of each column of text.
        named: Language in the name of the file.
    """
    if named is None:
        return _take_recognized(found)

    # One column holds the named language; another one is English, or whatever is recognized.
    own = next((column for column, code in found.items() if code and same_language(code, named)), None)
    rest = [column for column in found if column != own]
    other = next((column for column in rest if is_english(found[column] or named)), None)

    # Nothing is recognized: English comes first, as in tables that are named after one language.
    first, second = list(found)[:2]
    if own is None and other is None:
        return {"en": first, named: second} if found[first] is None else None

    own = own or next(column for column in rest if column != other)
    other = other or rest[0]
    return {found[other] or "en": other, named: own}


def _take_recognized(found: dict[int, str | None]) -> dict[str, int] | None:
    """Return the two columns whose languages are recognized, or None if these are not two."""
    known: dict[str, int] = {}
    for column, code in found.items():
        if code is not None:
            known.setdefault(code, column)
    return known if len(known) == 2 else None


def _name(code: str) -> str:
    return find_language(code).name if is_known(code) else code
