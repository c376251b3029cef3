"""Files that hold all languages themselves: JSON lines, translation memories, and other formats with one file."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any

from neuronspec.data.corpora import CORPUS_FORMATS
from neuronspec.data.readers.tmx import read_units
from neuronspec.data.streams import open_bytes
from neuronspec.errors import NeuronspecError
from neuronspec.languages import is_english, names_language, same_language
from neuronspec.proposal.contents import HEAD, Contents, count_lines
from neuronspec.proposal.file_names import find_codes, find_pair
from neuronspec.proposal.listing import ListedFile
from neuronspec.proposal.parallel_text import ParallelText
from neuronspec.proposal.recognition import recognize_language

_BLOCK = 1 << 20


def read_record_file(file: ListedFile, contents: Contents, own: Collection[str] = ()) -> ParallelText:
    """Return the text of a file of records, by its format.

    Raises:
        NeuronspecError: If nothing shows the languages of its texts.
    """
    read = _READERS.get(contents.format or "", _read_named)
    return read(file, contents, own)


def _read_json_lines(file: ListedFile, contents: Contents, own: Collection[str]) -> ParallelText:
    """Return the text of JSON lines: under fields named by codes, or under `source` and `target`."""
    rows = [row for line in contents.lines if (row := _parse_row(line)) is not None]
    fields = list(dict.fromkeys(itertools.chain.from_iterable(rows)))
    count, exact = count_lines(file.path)

    codes = [name for name in fields if name in own or _is_code(name)]
    if len(codes) >= 2:
        return ParallelText(path=file.path, name=file.name, lines=dict.fromkeys(codes, count), exact=exact)
    if not {"source", "target"} <= {*fields}:
        found = ", ".join(fields[:8]) or "none"
        raise NeuronspecError(f"JSON lines with the fields {found}; expected texts under the languages' codes")

    # The name says the languages, and the text whether `source` is the first of them.
    source, target = (recognize_language(str(row.get(name, "")) for row in rows) for name in ("source", "target"))
    return _read_sides(file, source, target, own, count=count, exact=exact)


def _read_sides(
    file: ListedFile, source: str | None, target: str | None, own: Collection[str], *, count: int, exact: bool
) -> ParallelText:
    """Return the text under `source` and `target`, whose languages are recognized or in the file's name."""
    rename = "name it NAME.SOURCE-TARGET.jsonl with the codes of its two fields"
    pair = find_pair(file.name, own)
    if pair is not None:
        first, second = pair
        if source is not None and names_language(second.code, source):
            raise NeuronspecError(f"its field source is {source}, not {first.code} as in its name; {rename}")
        before, after = file.path[: file.root + first.start], file.path[file.root + second.end :]
        return ParallelText(
            path=file.path,
            name=file.name,
            lines=dict.fromkeys((first.code, second.code), count),
            named_by="direction",
            template=f"{before}{{src}}{file.name[first.end : second.start]}{{tgt}}{after}",
            exact=exact,
        )

    # Without a direction in the name, `source` is read as the pivot.
    if source is None or target is None or not is_english(source):
        raise NeuronspecError(f"source and target are not clearly English and another language; {rename}")
    recognized = f"{file.name}: source is {source}, target is {target}, recognized from the text"
    return ParallelText(
        path=file.path,
        name=file.name,
        lines=dict.fromkeys((source, target), count),
        exact=exact,
        assumptions=(recognized,),
    )


def _parse_row(line: str) -> dict[str, Any] | None:
    """Return the texts of a line of JSON by their fields, or None where it holds none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    texts = row.get("translation", row) if isinstance(row, dict) else None
    return texts if isinstance(texts, dict) else None


def _is_code(name: str) -> bool:
    places = find_codes(name)
    return len(places) == 1 and places[0].sure and places[0].code == name


def _read_memory(file: ListedFile, contents: Contents, own: Collection[str]) -> ParallelText:
    """Return the text of a translation memory, in the languages of its first units."""
    counts: dict[str, int] = defaultdict(int)
    with open_bytes(file.path) as stream:
        for unit in itertools.islice(read_units(stream, file.path), HEAD):
            for code in unit:
                counts[code] += 1
    if len(counts) < 2:
        raise NeuronspecError(f"a translation memory with {len(counts)} languages; expected two")

    # Its reader finds a variant of English for English itself.
    codes = list(counts)
    if not any(same_language(code, "en") for code in codes):
        codes = list(dict.fromkeys("en" if is_english(code) else code for code in codes))

    # Its units are counted without being parsed.
    total = _count_units(file.path)
    return ParallelText(path=file.path, name=file.name, lines=dict.fromkeys(codes, total))


def _count_units(path: str) -> int:
    count, rest = 0, b""
    with open_bytes(path) as stream:
        while block := stream.read(_BLOCK):
            text = (rest + block).replace(b"\0", b"")
            count += text.count(b"</tu>")
            rest = text[-4:]
    return count


def _read_named(file: ListedFile, contents: Contents, own: Collection[str]) -> ParallelText:
    """Return the text of a file in any other format, whose name must show the languages."""
    pair = find_pair(file.name, own)
    if pair is None:
        raise NeuronspecError(f"the format {contents.format}: {_describe(contents)}; put two codes into its name")
    first, second = pair
    joined = file.name[first.end : second.start]
    template = f"{file.path[: file.root + first.start]}{{src}}{joined}{{tgt}}{file.path[file.root + second.end :]}"

    # Only the reader of the format can count.
    read = CORPUS_FORMATS[contents.format or ""].read(template, first.code, second.code)
    count = sum(1 for _ in read)
    lines = dict.fromkeys((first.code, second.code), count)
    return ParallelText(path=file.path, name=file.name, lines=lines, named_by="direction", template=template)


def _describe(contents: Contents) -> str:
    return CORPUS_FORMATS[contents.format].description if contents.format is not None else "unknown"


_READERS: Mapping[str, Callable[[ListedFile, Contents, Collection[str]], ParallelText]] = {
    "jsonl": _read_json_lines,
    "tmx": _read_memory,
}
