"""Texts between the tags of HTML: they are translated, and everything else stays as it is.

The text between two tags is translated by itself. No translation becomes markup, and what cannot be read as HTML, such
as a tag without an end, is not translated. Reading takes a time that grows with the length alone.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

# Elements whose text is for programs, or is quoted from them
_UNTRANSLATED: Final = frozenset({"script", "style", "code", "pre", "kbd", "samp", "template", "textarea"})
_RAW: Final = frozenset({"script", "style", "textarea"})  # a tag inside is text
_VOID: Final = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
_TAG_START: Final = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)|<[!?]")
_TAG_STOP: Final = re.compile(r"[>\"']")
_NO_TRANSLATION: Final = re.compile(r"translate=[\"']?no\b|class=[\"']?[^\"'>=]*\bnotranslate\b", re.IGNORECASE)


@dataclass(frozen=True)
class SplitMarkup:
    """The texts of an HTML fragment and what stands around them.

    Attributes:
        texts: (n,) texts to translate, on one line each and without character references.
        markup: (n + 1,) what stands before, between and after them.
    """

    texts: tuple[str, ...]
    markup: tuple[str, ...]

    def join(self, translations: Sequence[str]) -> str:
        """Return the fragment with its texts replaced.

        Args:
            translations: (n,) translations of the texts; they never become markup.
        """
        joined = [self.markup[0]]
        for translation, after in zip(translations, self.markup[1:], strict=True):
            joined += [html.escape(translation, quote=False), after]
        return "".join(joined)


def split_markup(text: str) -> SplitMarkup:
    """Return the texts of an HTML fragment.

    Args:
        text: HTML of any kind, complete or not.

    Example:
        >>> split_markup("<p>Dogs &amp; cats<br> <code>x</code></p>")
        SplitMarkup(texts=('Dogs & cats',), markup=('<p>', '<br> <code>x</code></p>'))
    """
    texts: list[str] = []
    markup = [""]
    skipping = _Skipping()
    for part in _read_parts(text):
        skipping.read(part)
        if part.kind or skipping.is_on:
            markup[-1] += part.raw
            continue

        # Line breaks of HTML are spaces.
        before, middle, after = _read_edges(part.raw)
        words = " ".join(html.unescape(middle).split())
        if not any(map(str.isalpha, words)):
            markup[-1] += part.raw
            continue
        markup[-1] += before
        texts.append(words)
        markup.append(after)
    return SplitMarkup(tuple(texts), tuple(markup))


class _Part(NamedTuple):
    """A tag or a text between tags.

    Args:
        raw: Source of the part.
        kind: `start`, `end`, or `other` for comments and the like; empty for a text.
        name: Name of the element, in small letters.
    """

    raw: str
    kind: str = ""
    name: str = ""


class _Skipping:
    """Whether the text that is read belongs to an element that is not translated."""

    def __init__(self) -> None:
        self._name = ""
        self._depth = 0

    @property
    def is_on(self) -> bool:
        """Whether such an element is open."""
        return self._depth > 0

    def read(self, part: _Part) -> None:
        """Take note of a tag."""
        opens = part.kind == "start" and not part.raw.endswith("/>") and part.name not in _VOID
        if self.is_on:
            # Elements of the same name may stand inside each other.
            self._depth += (opens - (part.kind == "end")) if part.name == self._name else 0
        elif opens and (part.name in _UNTRANSLATED or _NO_TRANSLATION.search(part.raw)):
            self._name, self._depth = part.name, 1


def _read_parts(text: str) -> Iterator[_Part]:
    """Yield the tags of HTML and the texts between them."""
    place = 0
    while place < len(text):
        tag = _TAG_START.search(text, place)
        if tag is None:
            yield _Part(text[place:])
            return
        if tag.start() > place:
            yield _Part(text[place : tag.start()])

        end = _find_end(text, tag)
        name = (tag[2] or "").lower()
        kind = "other" if tag[2] is None else "end" if tag[1] else "start"
        yield _Part(text[tag.start() : end], kind, name)
        place = end

        # What such an element holds ends with its own tag and with no other.
        if kind == "start" and name in _RAW:
            close = re.compile(rf"</{name}", re.IGNORECASE).search(text, place)
            stop = len(text) if close is None else close.start()
            yield _Part(text[place:stop], "other")
            place = stop


def _find_end(text: str, tag: re.Match[str]) -> int:
    """Return where a tag or a comment ends; the end of the text if it is never closed."""
    if text.startswith("<!--", tag.start()):
        close = text.find("-->", tag.end())
        return len(text) if close < 0 else close + len("-->")

    # The sign that ends a tag may stand in a value.
    place = tag.end()
    while (stop := _TAG_STOP.search(text, place)) is not None:
        if stop[0] == ">":
            return stop.end()
        close = text.find(stop[0], stop.end())
        if close < 0:
            break
        place = close + 1
    return len(text)


def _read_edges(raw: str) -> tuple[str, str, str]:
    """Return the white space that a text starts with, the text, and the white space that it ends with."""
    middle = raw.strip()
    start = len(raw) - len(raw.lstrip())
    return raw[:start], middle, raw[start + len(middle) :]
