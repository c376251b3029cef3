"""Reading parallel text from message catalogs: gettext's .po and .mo, and JSON files aligned by key."""

from __future__ import annotations

import contextlib
import functools
import glob
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

import polib

from neuronspec.data.formats import PIVOT_CODES, Pair, decode_json
from neuronspec.data.streams import ARCHIVE_PATH, decode, missing, missing_member, open_archive, open_bytes, open_member
from neuronspec.errors import NeuronspecError

Key = tuple[str, ...]  # gettext: (context, English text); JSON: the path of keys

# polib splits a catalog at every line break that Unicode knows; gettext knows one
_NOT_LINE_BREAKS = dict.fromkeys(map(ord, "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), " ")

_REGEX = {"**/": "((?:[^/]+/)*)", "**": "(.*)", "*": "([^/]*)", "?": "([^/])"}


def read_catalogs(template: str, source: str, target: str) -> Iterator[Pair]:
    """Yield the pairs of every message catalog that a template finds, in the order of file and key.

    In gettext's catalogs the English text is the key itself, so English needs no file of its own; two other
    languages are aligned by it. JSON catalogs are pairs of files whose names differ in the language's code
    only. Messages that are empty, fuzzy, obsolete or plural are left out.

    Args:
        template: a glob with `{lang}`, ending in `.po`, `.mo` or `.json`; `ARCHIVE!GLOB` looks into a zip
            file (a wheel is one). `{lang}` matches `pt_BR` and `pt-BR` for either.
        source: code of the source language.
        target: code of the target language.

    Yields:
        A pair for every key with a text on both sides.

    Raises:
        NeuronspecError: no file fits, or one is damaged or not UTF-8.
    """
    suffix = PurePath(template).suffix
    if suffix not in _PARSERS or "{lang}" not in template:
        raise NeuronspecError(f"{template} must hold {{lang}} and end in {', '.join(_PARSERS)}")
    template = template.replace("{src}", source).replace("{tgt}", target)
    has_file = {code: suffix == ".json" or code not in PIVOT_CODES for code in (source, target)}
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(_opened(template, code)) for code in has_file if has_file[code]]
        shared = set.intersection(*(set(catalogs.files) for catalogs in found))
        if not shared:
            raise NeuronspecError(f"{template}: no file stands on both sides of {source}-{target}")
        for wildcards in sorted(shared):
            texts = [catalogs.parse(wildcards) for catalogs in found]
            for key in sorted(set.intersection(*(set(side) for side in texts))):
                sides = iter(texts)
                left, right = (next(sides)[key] if has_file[code] else key[-1] for code in (source, target))
                name = " ".join(".".join(filter(None, key)).split())[:60]
                yield Pair(left, right, f"{found[-1].files[wildcards]}:{name}")


@dataclass(frozen=True)
class _Catalogs:
    """The catalogs of one language."""

    files: dict[Key, str]  # what the template's wildcards stand for -> the file's name
    read: Callable[[str], bytes]

    def parse(self, wildcards: Key) -> dict[Key, str]:
        name = self.files[wildcards]
        return _PARSERS[PurePath(name).suffix](self.read(name), name)


@contextlib.contextmanager
def _opened(template: str, code: str) -> Iterator[_Catalogs]:
    """Find the catalogs of the language `code`, in a directory or in an archive."""
    spellings = list(dict.fromkeys([code, code.replace("-", "_"), code.replace("_", "-")]))
    parts = ARCHIVE_PATH.fullmatch(template)
    assert parts is not None, "a template is never empty"
    archive_name, pattern = parts.groups()
    with contextlib.ExitStack() as stack:
        archive = (
            stack.enter_context(open_archive(Path(archive_name.replace("{lang}", code)))) if archive_name else None
        )
        files: dict[Key, str] = {}
        for spelling in spellings:
            globbed = pattern.replace("{lang}", glob.escape(spelling))
            names = archive.namelist() if archive else glob.glob(globbed, recursive=True)  # noqa: PTH207
            regex = re.compile(_regex(pattern, spelling), re.DOTALL)
            for match in filter(None, map(regex.fullmatch, names)):
                files.setdefault(match.groups(), f"{archive.filename}!{match[0]}" if archive else match[0])
        if not files:
            raise _nothing_found(pattern.replace("{lang}", code), archive)
        yield _Catalogs(files, _read_file if archive is None else functools.partial(_read_member, archive))


def _regex(pattern: str, code: str) -> str:
    """Return the regular expression of a glob; its groups are the wildcards."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\]|\{lang\})", pattern)
    parts[1::2] = [
        re.escape(code) if part == "{lang}" else _REGEX.get(part, f"({part.replace('[!', '[^')})")
        for part in parts[1::2]
    ]
    parts[::2] = map(re.escape, parts[::2])
    return "".join(parts)


def _nothing_found(pattern: str, archive: zipfile.ZipFile | None) -> NeuronspecError:
    if archive is not None:
        return missing_member(str(archive.filename), pattern, archive.namelist())
    if not glob.has_magic(pattern):
        return missing(Path(pattern))
    folder = Path(re.split(r"[*?\[]", pattern)[0] + "_").parent
    if not folder.exists():
        return missing(folder)
    return NeuronspecError(f"no file fits {pattern}; {folder.absolute()} exists, look below it for other names")


def _read_file(name: str) -> bytes:
    with open_bytes(name) as stream:
        return stream.read()


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    with open_member(archive, name.removeprefix(f"{archive.filename}!")) as stream:
        return stream.read()


def _parse_json(raw: bytes, name: str) -> dict[Key, str]:
    return dict(_flatten(decode_json(decode(raw, name), name), ()))


def _flatten(value: object, key: Key) -> Iterator[tuple[Key, str]]:
    if isinstance(value, str) and value:
        yield key, value
    elif isinstance(value, dict):
        for name, child in value.items():
            yield from _flatten(child, (*key, name))


def _parse_po(raw: bytes, name: str) -> dict[Key, str]:
    text = decode(raw, name).translate(_NOT_LINE_BREAKS) + "\n"  # no path ends so: polib takes it for content
    return _messages(name, lambda: polib.pofile(text, encoding="utf-8"))


def _parse_mo(raw: bytes, name: str) -> dict[Key, str]:
    def parse() -> polib.MOFile:
        _refuse_truncated(raw)
        return polib.mofile(raw)  # it decodes by the charset that the catalog declares

    return _messages(name, parse)


def _refuse_truncated(raw: bytes) -> None:
    """Check that every message lies within the file: polib would cut the last ones short in silence."""
    order = "<" if raw.startswith(b"\xde\x12\x04\x95") else ">"
    count, *tables = struct.unpack_from(f"{order}3I", raw, 8)
    for table in tables:
        for length, offset in struct.iter_unpack(f"{order}2I", raw[table : table + 8 * count]):
            if offset + length >= len(raw):
                raise ValueError("it ends within a message")


def _messages(name: str, parse: Callable[[], polib.POFile | polib.MOFile]) -> dict[Key, str]:
    try:
        entries = parse()
    except Exception as error:  # whatever a damaged file makes the parser stumble over
        raise NeuronspecError(f"{name} is not a sound catalog ({error}); check it with msgfmt -c") from error
    return {(entry.msgctxt or "", entry.msgid): entry.msgstr for entry in entries if _is_translated(entry)}


def _is_translated(entry: polib.POEntry | polib.MOEntry) -> bool:
    unfinished = entry.obsolete or "fuzzy" in entry.flags
    return bool(entry.msgid and entry.msgstr and not unfinished)  # a plural has its texts elsewhere


_PARSERS: dict[str, Callable[[bytes, str], dict[Key, str]]] = {
    ".po": _parse_po,
    ".mo": _parse_mo,
    ".json": _parse_json,
}
