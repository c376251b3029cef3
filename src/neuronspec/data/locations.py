"""Locations of the files of a corpus: from a template with placeholders to the names of files.

A file under the languages' codes as they are written comes first. Where there is none, a file is found that is named
after the same languages in another spelling, if it is the only one: one run can read `de.tsv` and `deu_Latn.dev`.
"""

from __future__ import annotations

import functools
import glob
import itertools
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from neuronspec.data.streams import exists
from neuronspec.data.zip_files import ARCHIVE_PATH, open_archive
from neuronspec.errors import NeuronspecError
from neuronspec.languages import is_english, list_spellings, same_language
from neuronspec.name_patterns import ANY, NamePattern, Wildcard
from neuronspec.placeholders import CORPUS_PLACEHOLDERS, fill_placeholders, split_at_placeholders

logger = logging.getLogger(__name__)

_LISTED = 4  # names in a message


def fill_codes(template: str, *, lang: str, source: str, target: str) -> str:
    """Return a template with language codes in place of `{lang}`, `{src}` and `{tgt}`.

    Example:
        >>> fill_codes("train.{src}-{tgt}.{lang}", lang="de", source="de", target="en")
        'train.de-en.de'
    """
    return fill_placeholders(template, {"lang": lang, "src": source, "tgt": target})


def locate(template: str, source: str, target: str) -> tuple[Path, bool]:
    """Return the one file of a direction, and whether its first column is the target.

    Raises:
        NeuronspecError: If only files in other spellings of the languages exist, and several of them.
    """
    # The file may be named after either direction, and serves the other one as well.
    forward = {"lang": target, "src": source, "tgt": target}
    backward = {"lang": source, "src": target, "tgt": source}
    options = [(forward, False), (backward, True)]

    # A file that stands for a language is paired with English, which comes first.
    if "{lang}" in template:
        options = [(backward, True)] if _is_pivot(target, source) else [(forward, False)]

    # The codes as they are written come before any other spelling of them.
    paths = [(Path(fill_placeholders(template, codes)), reverse) for codes, reverse in options]
    for path, reverse in paths:
        if exists(path):
            return path, reverse
    for codes, reverse in options:
        found = find_other_spelling(template, codes)
        if found is not None:
            return found, reverse
    return paths[0]


def find_side(template: str, codes: Mapping[str, str], *, spelled: bool) -> Path:
    """Return the only file that fits a template; the template with the codes where no file does.

    Args:
        template: Name with placeholders. A `*` stands for anything, unless it belongs to a file's name.
        codes: Code of the language that each placeholder stands for.
        spelled: Whether files may be named after other spellings of the languages.

    Raises:
        NeuronspecError: If several files fit.
    """
    pattern = fill_placeholders(template, codes)
    path = Path(pattern)
    if exists(path):
        return path

    # Sorted, so that the message is the same everywhere.
    found = sorted(glob.glob(pattern)) if "*" in pattern else []  # noqa: PTH207 - the pattern may be absolute
    if len(found) > 1:
        some = ", ".join(found[:3]) + (", ..." if found[3:] else "")
        raise NeuronspecError(
            f"{len(found)} files fit {pattern} ({some}), but one side of a pair is one file: name it more closely"
        )
    if found:
        return Path(found[0])
    other = find_other_spelling(template, codes, wildcards=True) if spelled else None
    return other or path


def find_other_spelling(template: str, codes: Mapping[str, str], *, wildcards: bool = False) -> Path | None:
    """Return the only file of a template that is named after the same languages in other spellings, or None.

    Args:
        template: Path with placeholders, of a file or of a member of a zip archive.
        codes: Code of the language that each placeholder stands for, by the placeholder's name.
        wildcards: Whether a `*` in the template stands for any text.

    Raises:
        NeuronspecError: If there are several such files; the message names them.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "deu_Latn.dev").touch()
        ...     found = find_other_spelling(folder + "/{lang}.dev", {"lang": "de"})
        >>> found.name
        'deu_Latn.dev'
    """
    if not any(f"{{{name}}}" in template for name in codes):  # the name of one file, whatever the languages
        return None

    names = _list_names(template, wildcards=wildcards)
    found = find_spellings(template, codes, names, wildcards=wildcards)
    wanted = fill_placeholders(template, codes)
    if len(found) > 1:
        some = ", ".join(Path(name).name for name in found[:_LISTED]) + (", ..." if found[_LISTED:] else "")
        raise NeuronspecError(
            f"{wanted} does not exist, and {len(found)} files may be meant instead: {some}; write the languages' codes "
            "as one of them does"
        )
    if not found:
        return None

    _say_once(found[0], Path(wanted).name)
    return Path(found[0])


def find_spellings(
    template: str, codes: Mapping[str, str], names: Iterable[str], *, wildcards: bool = False
) -> list[str]:
    """Return the names that fit a template whose placeholders stand for these languages, in any spelling.

    Args:
        template: Text with placeholders: a path, or the name of a column.
        codes: Code of the language that each placeholder stands for, by the placeholder's name.
        names: Names to choose from.
        wildcards: Whether a `*` in the template stands for any text.

    Example:
        >>> find_spellings("text_{lang}", {"lang": "de"}, ["id", "text_eng", "text_deu"])
        ['text_deu']
    """
    pieces = split_at_placeholders(template, CORPUS_PLACEHOLDERS)
    wanted = [codes[name] for name in pieces[1::2]]

    # What stands in the places of the codes
    parts: list[str | Wildcard] = []
    for number, piece in enumerate(pieces):
        parts += [_CODE] if number % 2 else split_at_stars(piece) if wildcards else [piece]
    pattern = NamePattern(parts)
    is_code = [piece is _CODE for piece in parts if isinstance(piece, Wildcard)]
    matches = {name: found for name in names if (found := pattern.match(name)) is not None}

    spellings = [list(itertools.compress(found, is_code)) for found in matches.values()]
    found_names = list(matches)
    return [found_names[index] for index in list_spellings(wanted, spellings)]


_CODE = Wildcard(unit="[^/]", fewest=1, greedy=False)  # in the place of a language's code


def split_at_stars(text: str) -> list[str | Wildcard]:
    """Return a text as pieces of a pattern in which a `*` stands for any text within a name."""
    first, *others = text.split("*")
    pieces: list[str | Wildcard] = [first]
    for other in others:
        pieces += [ANY, other]
    return pieces


def _list_names(template: str, *, wildcards: bool) -> list[str]:
    """Return the files, or the members of archives, that a template could name with anything in a code's place."""
    parts = ARCHIVE_PATH.fullmatch(template)
    archive = parts[1] if parts is not None else None
    if archive is None:
        return _glob_any(template, wildcards=wildcards)

    # Of an archive, every member; the pattern of the whole name chooses from them.
    names = []
    for path in _glob_any(archive, wildcards=False):
        if Path(path).is_file():
            with open_archive(Path(path)) as opened:
                names += [f"{path}!{member}" for member in opened.namelist()]
    return names


def _glob_any(template: str, *, wildcards: bool) -> list[str]:
    texts = [glob.escape(text) for text in split_at_placeholders(template, CORPUS_PLACEHOLDERS)[::2]]
    if wildcards:
        texts = [text.replace("[*]", "*") for text in texts]
    return sorted(glob.glob("*".join(texts)))  # noqa: PTH207 - the template may be absolute


@functools.cache
def _say_once(found: str, wanted: str) -> None:
    """Say that a file is read in place of one that is named as the languages are written."""
    logger.info(f"{found} stands for {wanted}: the same language in another spelling")


def _is_pivot(code: str, other: str) -> bool:
    """Return whether a language is the English that corpora are centered on: of two Englishes, the main one."""
    return is_english(code) and (not is_english(other) or same_language(code, "en"))
