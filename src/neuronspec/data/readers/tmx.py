"""Reading translation memories: TMX, the exchange format of translators' tools and of OPUS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from lxml import etree

from neuronspec.data.corpus_formats import Pair, register_format
from neuronspec.data.locations import locate
from neuronspec.data.streams import open_bytes
from neuronspec.errors import NeuronspecError
from neuronspec.languages import match_variant
from neuronspec.reading_limits import LINE

_XML_BLOCK = 1 << 16  # bytes that are parsed at a time
_HEAD = 1 << 20  # bytes within which the root element has begun
_ROOT_BEGINS, _UNIT_ENDS = "start tmx", "end tu"
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"

# Elements within a segment whose content is code of the original format, not text.
_FORMATTING = frozenset({"bpt", "ept", "it", "ph", "ut"})


def _has_root(start: bytes) -> bool:
    """Return whether a file with these first bytes is a translation memory, in UTF-8 or UTF-16."""
    return b"<tmx" in start.replace(b"\0", b"")


@register_format("tmx", "a translation memory", suffixes=(".tmx",), recognizes=_has_root)
def read_memory(template: str, source: str, target: str) -> Iterator[Pair]:
    """Yield the pairs of a TMX file, in its order; memory holds one translation unit at a time.

    Languages are found in whatever spelling the file has (`DE-DE`, `deu`). A unit without one of the two is left out;
    if several texts are in one language, the one in the nearest variant is used, then the first. Formatting codes
    within a text are left out, the text that they format stays.

    Nothing outside the file is read, and it may declare no entities: an untrusted file can neither look at
    other files nor fill the memory.

    Args:
        template: File, compressed or not, with the placeholders of `read_pairs`.
        source: Code of the source language.
        target: Code of the target language.

    Raises:
        NeuronspecError: If the file is missing, damaged, not TMX, or has no text in one of the languages.
    """
    path, _ = locate(template, source, target)
    languages: set[str] = set()
    count = 0

    # The languages of all units are kept for the message, should none have both.
    with open_bytes(path) as stream:
        for number, texts in enumerate(read_units(stream, str(path)), 1):
            languages |= texts.keys()
            left, right = (match_variant(code, texts) for code in (source, target))
            if left is not None and right is not None and left != right:
                count += 1
                yield Pair(texts[left], texts[right], f"{path}:unit {number}")

    if not count:
        found = ", ".join(sorted(languages)[:10]) or "none"
        raise NeuronspecError(f"{path} has no unit with texts in {source} and {target}; its languages: {found}")


def read_units(stream: BinaryIO, name: str) -> Iterator[dict[str, str]]:
    """Yield the texts of each unit, by their languages as the file spells them.

    Raises:
        NeuronspecError: If the file is not TMX, not well-formed, or declares entities.
    """
    begun = False
    try:
        # Entities are declared before the root element, and so refused before any text is read.
        for kind, element in _parse_elements(stream, name):
            if kind == _ROOT_BEGINS:
                begun = True
                _refuse_entities(element, name)
            elif kind == _UNIT_ENDS:
                yield _read_unit(element, name)
                _forget(element)
    except etree.XMLSyntaxError as error:
        raise NeuronspecError(f"{name} is not well-formed XML ({error.msg}); fetch it again, or correct it") from None

    if not begun:
        raise NeuronspecError(f"{name} is no TMX: it has no element <tmx>")


def _parse_elements(stream: BinaryIO, name: str) -> Iterator[tuple[str, Any]]:
    """Yield each root element and unit when it begins and when it ends: `start tmx`, `start tu`, `end tu`, `end tmx`.

    The parser neither loads anything nor expands entities. Parsing stops early where no root element is in sight.
    """
    parser = etree.XMLPullParser(
        events=("start", "end"),
        tag=["{*}tmx", "{*}tu"],
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )

    # Block by block; only the end of the file shows whether all elements were closed.
    begun, size, longest = False, 0, LINE.largest  # the size is that of what has come since the last unit
    while block := stream.read(_XML_BLOCK):
        parser.feed(block)
        size += len(block)
        for event, element in parser.read_events():
            kind = f"{event} {_local(element.tag)}"
            begun = begun or kind == _ROOT_BEGINS
            size = 0 if kind == _UNIT_ENDS else size
            yield kind, element

        # Other XML, and binary files, are not read to their end.
        if not begun and size > _HEAD:
            return
        if size > longest:
            raise LINE.refuse(f"{name} has a unit, or text outside of units, that is longer than", "expected sentences")
    if begun:
        parser.close()


def _refuse_entities(root: Any, name: str) -> None:
    """Refuse a file that declares entities: they can name other files, and grow without end."""
    # What the file itself declares; nothing else is loaded.
    dtd = root.getroottree().docinfo.internalDTD
    declared = [entity.name for entity in dtd.iterentities()] if dtd is not None else []
    if declared:
        raise NeuronspecError(
            f"{name} declares the entity {declared[0]!r}, which is not read for safety; write its text where it is used"
        )


def _forget(unit: Any) -> None:
    """Free the memory of a unit that has been read, and of everything before it."""
    # The tree would grow with each unit, so all that stands before this one is cut off.
    unit.clear()
    parent = unit.getparent()
    while parent is not None and unit.getprevious() is not None:
        del parent[0]


def _read_unit(unit: Any, name: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    for variant in _children(unit, "tuv"):
        language = _find_language(variant)
        segment = next(_children(variant, "seg"), None)
        if segment is not None and language:
            texts.setdefault(language, _read_segment(segment, name))  # the first text in a language counts
    return texts


def _children(element: Any, name: str) -> Iterator[Any]:
    return element.iterchildren(f"{{*}}{name}")  # type: ignore[no-any-return]


def _find_language(variant: Any) -> str:
    """Return the language of a text: `xml:lang`, or `lang`, as in TMX 1.1."""
    others = (value for key, value in variant.attrib.items() if _local(key).lower() == "lang")
    return str(variant.get(_XML_LANG) or next(others, "")).strip()


def _local(name: str) -> str:
    """Return a name without its namespace, even one that is not well-formed."""
    return name.rpartition("}")[2].rpartition(":")[2]


def _read_segment(element: Any, name: str) -> str:
    """Return the text of a segment without the codes of the original format."""
    parts = [element.text or ""]
    for child in element:
        if child.tag is etree.Entity:
            raise NeuronspecError(
                f"{name} uses the entity {child.text}, which it does not declare; write the character"
            )

        # The text after a code belongs to the segment, even where the content of the code does not.
        if isinstance(child.tag, str) and _local(child.tag) not in _FORMATTING:
            parts.append(_read_segment(child, name))
        parts.append(child.tail or "")
    return "".join(parts)
