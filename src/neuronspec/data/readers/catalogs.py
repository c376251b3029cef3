"""Reading parallel text from message catalogs: gettext's .po and .mo, and JSON files aligned by key."""

from __future__ import annotations

import contextlib
import functools
import glob
import re
import struct
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import polib

from neuronspec.data.corpus_formats import Pair, register_format
from neuronspec.data.readers.charsets import find_charset
from neuronspec.data.readers.fields import decode_json
from neuronspec.data.reading_errors import explain_missing, explain_missing_member
from neuronspec.data.streams import open_bytes
from neuronspec.data.text_encoding import decode_text
from neuronspec.data.zip_files import ARCHIVE_PATH, open_archive, open_member
from neuronspec.errors import NeuronspecError
from neuronspec.languages import find_only_spelling, same_language
from neuronspec.name_patterns import ANY, NamePattern, Wildcard
from neuronspec.reading_limits import read_whole

Key = tuple[str, ...]
"""Key of a message. In gettext's catalogs: its context and its English text. In JSON: the path of keys."""

Messages = dict[Key, str]

# polib splits a catalog at every line break that Unicode knows; gettext knows one
_NOT_LINE_BREAKS = dict.fromkeys(map(ord, "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), " ")

# Wildcards of a glob
_WILDCARDS = {
    "**/": Wildcard(unit="[^/]+/"),
    "**": Wildcard(unit="."),
    "*": ANY,
    "?": Wildcard(unit="[^/]", fewest=1, once=True),
}
_ANY_FOLDERS = re.compile(r"(?:\*\*/)+")
_LANG = Wildcard(unit="[^/]", fewest=1, name="lang")

# The name of something in a program: no white space, and no marks but those that join words.
_PROGRAM_NAME = re.compile(r"[\w$@][\w$@.:/|#\[\]-]*")
# A name of several words, or a number.
_COMPOSED = re.compile(r"\w[._:/|#\[]\w|[a-z][A-Z]|\A[a-z]+(?:-[a-z0-9]+)+\Z|\A#?\d+\Z")


@register_format("catalog", "message catalogs", suffixes=(".po", ".mo", ".json"), files="many")
def read_catalogs(template: str, source: str, target: str) -> Iterator[Pair]:
    """Yield the pairs of every message catalog that a template finds, in the order of file and key.

    In gettext's catalogs the English text is usually the key itself, so English needs no file of its own; two other
    languages are aligned by it. Where English has a file, its texts are those of the file: some catalogs have
    identifiers for keys (`menu.file.open`). JSON catalogs are pairs of files whose names differ in the language's
    code only. Messages that are empty, fuzzy, obsolete or plural are left out.

    Args:
        template: Glob with `{lang}`, ending in `.po`, `.mo` or `.json`; `ARCHIVE!GLOB` looks into a zip
            file (a wheel is one). `{lang}` matches the language's code, or another spelling of it if that is the
            only one with files: `pt_BR` for `pt-BR`, `zh_Hans` for `cmn_Hans`.
        source: Code of the source language.
        target: Code of the target language.

    Yields:
        A pair for every key with a text on both sides.

    Raises:
        NeuronspecError: If no file fits, if one is damaged or not in the charset that it declares, or if the keys of
            a catalog are identifiers and English has no file.
    """
    suffix = PurePath(template).suffix
    if suffix not in _PARSERS or "{lang}" not in template:
        raise NeuronspecError(f"{template} must hold {{lang}} and end in {', '.join(_PARSERS)}")
    template = template.replace("{src}", source).replace("{tgt}", target)

    with contextlib.ExitStack() as stack:
        # The files of each language, open as long as pairs are read from them
        sides = []
        for code in (source, target):
            in_keys = suffix != ".json" and same_language(code, "en")
            sides.append(stack.enter_context(_opened(template, code, in_keys=in_keys)))

        # English that is in the keys needs no file.
        needed = [side for side in sides if not side.in_keys]
        shared = set.intersection(*(set(side.files) for side in needed))
        if not shared:
            raise NeuronspecError(f"{template}: no file stands on both sides of {source}-{target}")

        # Files belong together if the wildcards stand for the same text in both, and messages if their keys are equal.
        for wildcards in sorted(shared):
            name = needed[-1].files[wildcards]
            left, right = _parse_sides(sides, wildcards, name=name, template=template)
            yield from _pair_messages(left, right, name)


@dataclass(frozen=True, kw_only=True)
class _Catalogs:
    """The catalogs of one language.

    Attributes:
        files: Names of the files, by what the template's wildcards stand for.
        read: Function from a name to the content of that file.
        in_keys: Whether the texts of this language are the keys of the other one's catalogs.
    """

    files: dict[Key, str]
    read: Callable[[str], bytes]
    in_keys: bool

    def parse(self, wildcards: Key) -> Messages:
        """Return the messages of a file; none where this language has no such file."""
        name = self.files.get(wildcards)
        if name is None:
            return {}
        return _PARSERS[PurePath(name).suffix](self.read(name), name)


def _pair_messages(left: Messages, right: Messages, name: str) -> Iterator[Pair]:
    """Yield a pair for every key that both languages have, in the order of the keys."""
    for key in sorted(left.keys() & right.keys()):
        yield Pair(left[key], right[key], f"{name}:{_shorten_key(key)}")


def _shorten_key(key: Key) -> str:
    """Return the beginning of a key on one line, for messages."""
    text = ".".join(filter(None, key))
    return " ".join(text.split())[:60]


def _parse_sides(sides: Sequence[_Catalogs], wildcards: Key, *, name: str, template: str) -> tuple[Messages, Messages]:
    """Return the messages of both languages in the files with these wildcards."""
    left, right = (side.parse(wildcards) for side in sides)
    if sides[0].in_keys:
        left = _find_english(right, left, name=name, template=template)
    elif sides[1].in_keys:
        right = _find_english(left, right, name=name, template=template)
    return left, right


def _find_english(other: Messages, own: Messages, *, name: str, template: str) -> Messages:
    """Return the English texts of a gettext catalog: those of a file of their own, else the keys, if they are texts.

    Args:
        other: Messages of the other language.
        own: Messages of the English catalog; empty if there is none.
        name: Name of the other language's file, for error messages.
        template: Template of both.

    Raises:
        NeuronspecError: If the keys are identifiers and there is no English catalog.
    """
    # Keys that are texts are the English ones; a catalog of its own may improve some of them.
    texts = {key[-1] for key in other}
    if not _are_identifiers(texts):
        return {key: own.get(key, key[-1]) for key in other}
    if not own:
        raise NeuronspecError(
            f"{name} has identifiers for keys, such as {min(texts)!r}, and no English text: put the English catalog "
            f"where {template} finds it for English, or leave these directions out"
        )

    # A text that equals its key has not been written yet.
    return {key: text for key, text in own.items() if text != key[-1]}


def _are_identifiers(keys: Collection[str]) -> bool:
    """Return whether the keys of a catalog are names (`menu.file.open`, `fileOpen`, `FILE_OPEN`) and not texts.

    Of 6,126 catalogs of free software, none that is keyed by English text is taken for one by these shares.
    """
    # A single word may be a text or a name; a composed name is hardly ever a text.
    names = [key for key in keys if _PROGRAM_NAME.fullmatch(key)]
    composed = [name for name in names if _COMPOSED.search(name)]

    mostly_names = len(names) >= 0.9 * len(keys)
    often_composed = len(composed) >= 0.5 * len(keys)
    return bool(keys) and mostly_names and often_composed


@contextlib.contextmanager
def _opened(template: str, code: str, *, in_keys: bool) -> Iterator[_Catalogs]:
    """Find the catalogs of a language, in a directory or in an archive; those of a language in keys may be missing."""
    parts = ARCHIVE_PATH.fullmatch(template)
    assert parts is not None, "a template is never empty"
    archive_name, pattern = parts.groups()
    path = Path(archive_name.replace("{lang}", code)) if archive_name else None

    # An archive for each language, and none for this one.
    if in_keys and path is not None and not path.exists():
        yield _Catalogs(files={}, read=_read_file, in_keys=True)
        return

    # The archive stays open as long as its files are read.
    with open_archive(path) if path is not None else contextlib.nullcontext() as archive:
        files = _find_catalogs(pattern, code, archive)
        if not files and not in_keys:
            raise _explain_nothing_found(pattern.replace("{lang}", code), archive)
        read = _read_file if archive is None else functools.partial(_read_member, archive)
        yield _Catalogs(files=files, read=read, in_keys=in_keys)


def _find_catalogs(pattern: str, code: str, archive: zipfile.ZipFile | None) -> dict[Key, str]:
    """Return the files of a language, by what the wildcards stand for.

    The code is looked for as it is written, then with hyphens or underscores, then in the only other spelling.
    """
    found: dict[Key, str] = {}

    # Where two spellings have a file with the same wildcards, the first one counts.
    for spelling in dict.fromkeys([code, code.replace("-", "_"), code.replace("_", "-")]):
        names = _make_pattern(pattern, spelling)
        for match, wildcards in _find_matches(pattern, glob.escape(spelling), names=names, archive=archive):
            found.setdefault(wildcards, f"{archive.filename}!{match}" if archive else match)
    if found:
        return found

    # Whatever languages there are, if just one of them is the same in another spelling
    names = _make_pattern(pattern, _LANG)
    place = names.names.index(_LANG.name)
    others = {wildcards[place] for _, wildcards in _find_matches(pattern, "*", names=names, archive=archive)}
    other = find_only_spelling(code, sorted(others))
    return _find_catalogs(pattern, other, archive) if other else {}


def _find_matches(
    pattern: str, language: str, *, names: NamePattern, archive: zipfile.ZipFile | None
) -> Iterator[tuple[str, Key]]:
    """Yield the names that fit a pattern, in an archive or on disk, each with what its wildcards stand for.

    Args:
        pattern: Glob with `{lang}`.
        language: Glob of the language's code.
        names: Pattern of the names.
        archive: Archive to look into, if any.
    """
    # An archive lists all its members, from which the pattern chooses.
    globbed = _ANY_FOLDERS.sub("**/", pattern).replace("{lang}", language)
    listed = archive.namelist() if archive else glob.glob(globbed, recursive=True)  # noqa: PTH207
    for name in listed:
        wildcards = names.match(name)
        if wildcards is not None:
            yield name, wildcards


def _make_pattern(pattern: str, language: str | Wildcard) -> NamePattern:
    """Return the pattern of a glob with `{lang}`.

    Args:
        pattern: Glob with `{lang}`.
        language: Text of the language, or what stands for any one.
    """
    # Several folders of any depth are one; each would be looked for in all that the one before it finds.
    pattern = _ANY_FOLDERS.sub("**/", pattern)
    pieces: list[str | Wildcard] = []
    for number, piece in enumerate(re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\]|\{lang\})", pattern)):
        # Text and what is not text come in turns, text first.
        if number % 2 == 0:
            pieces.append(piece)
        elif piece == "{lang}":
            pieces.append(language)
        else:
            pieces.append(_WILDCARDS.get(piece) or _make_set(piece))
    return NamePattern(pieces)


def _make_set(piece: str) -> Wildcard:
    """Return what a set of characters stands for; it is written as in a glob, but for the sign of its complement.

    Raises:
        NeuronspecError: If it is no set, such as `[z-a]`.
    """
    found = Wildcard(unit=piece.replace("[!", "[^"), fewest=1, once=True)
    try:
        re.compile(found.unit)
    except re.error as error:
        raise NeuronspecError(f"{piece} in a file name is no set of characters: {error}; write [[] for a [") from None
    return found


def _explain_nothing_found(pattern: str, archive: zipfile.ZipFile | None) -> NeuronspecError:
    if archive is not None:
        return explain_missing_member(str(archive.filename), pattern, archive.namelist())
    if not glob.has_magic(pattern):
        return explain_missing(Path(pattern))

    # The folder that would hold the files, so that a mistyped one is noticed
    folder = Path(re.split(r"[*?\[]", pattern)[0] + "_").parent
    if not folder.exists():
        return explain_missing(folder)
    return NeuronspecError(f"no file fits {pattern}; {folder.absolute()} exists, look below it for other names")


def _read_file(name: str) -> bytes:
    with open_bytes(name) as stream:
        return read_whole(stream, name)


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    with open_member(archive, name.removeprefix(f"{archive.filename}!")) as stream:
        return read_whole(stream, name)


def _parse_json(raw: bytes, name: str) -> Messages:
    value = decode_json(decode_text(raw, name), name)
    return dict(_walk_texts(value, ()))


def _walk_texts(value: object, key: Key) -> Iterator[tuple[Key, str]]:
    """Yield the texts in a JSON value, each with the path of keys to it."""
    # Lists, numbers and empty texts are no messages.
    if isinstance(value, str) and value:
        yield key, value
    elif isinstance(value, dict):
        for name, child in value.items():
            yield from _walk_texts(child, (*key, name))


def _parse_po(raw: bytes, name: str) -> Messages:
    text = decode_text(raw, name, encoding=find_charset(raw, name))
    text = text.translate(_NOT_LINE_BREAKS) + "\n"  # no path ends so: polib takes it for content
    return _list_messages(name, lambda: polib.pofile(text, encoding="utf-8"))


def _parse_mo(raw: bytes, name: str) -> Messages:
    def parse() -> polib.MOFile:
        _refuse_truncated_catalog(raw)
        return polib.mofile(raw)  # it decodes by the charset that the catalog declares

    return _list_messages(name, parse)


def _refuse_truncated_catalog(raw: bytes) -> None:
    """Check that every message lies within the file: polib would cut the last ones short in silence."""
    # The header has the number of messages and the places of two tables, of originals and of translations.
    order = "<" if raw.startswith(b"\xde\x12\x04\x95") else ">"  # the magic number in this order of its bytes
    count, *tables = struct.unpack_from(f"{order}3I", raw, 8)
    for table in tables:
        size = 0
        for length, offset in struct.iter_unpack(f"{order}2I", raw[table : table + 8 * count]):
            if offset + length >= len(raw):  # a NUL follows each text
                raise ValueError("it ends within a message")
            size += length
        # Messages that share their text would unpack to any size.
        if size > len(raw):
            raise ValueError("its messages lie on top of each other")


def _list_messages(name: str, parse: Callable[[], polib.POFile | polib.MOFile]) -> Messages:
    """Return the translated messages of a catalog.

    Raises:
        NeuronspecError: If it cannot be parsed.
    """
    try:
        entries = parse()
    except Exception as error:  # whatever a damaged file makes the parser stumble over
        raise NeuronspecError(f"{name} is not a sound catalog ({error}); check it with msgfmt -c") from error

    # The same English text can mean two things, which the context distinguishes.
    return {(entry.msgctxt or "", entry.msgid): entry.msgstr for entry in entries if _is_translated(entry)}


def _is_translated(entry: polib.POEntry | polib.MOEntry) -> bool:
    unfinished = entry.obsolete or "fuzzy" in entry.flags
    return bool(entry.msgid and entry.msgstr and not unfinished)  # a plural has its texts elsewhere


_PARSERS: dict[str, Callable[[bytes, str], Messages]] = {
    ".po": _parse_po,
    ".mo": _parse_mo,
    ".json": _parse_json,
}
