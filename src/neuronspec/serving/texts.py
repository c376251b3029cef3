"""A user's text as pieces that a model can read, and the translations of the pieces as a text again.

A line is a piece, as in `neuronspec translate`, unless the model could not read or write all of it: then its sentences
are, and parts of sentences that are still too long. Blank lines, the ends of lines and the white space around them
never reach the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import regex

from neuronspec.data.normalization import is_empty
from neuronspec.evaluation.writing import DENSE
from neuronspec.serving.boundaries import WEAKER_CUTS, Cut, find_sentence_ends

Count = Callable[[Sequence[str]], Sequence[int]]
"""A function that returns the number of tokens of each text."""

# What is written without spaces between sentences, with its punctuation
_DENSE: Final = regex.compile(rf"[{DENSE}\u3000-\u303f\uff00-\uffef]")
_CENTRAL: Final = 0.5  # share of a text in its middle: cuts outside of it make one part little shorter


@dataclass(frozen=True)
class SplitText:
    """The pieces of a text and what stands around them.

    Attributes:
        pieces: (n,) texts to translate, each with a visible character and without an end of line.
        gaps: (n + 1,) what stands before, between and after them: white space, ends of lines, invisible characters.
    """

    pieces: tuple[str, ...]
    gaps: tuple[str, ...]

    def join(self, translations: Sequence[str]) -> str:
        """Return the translated text: as many lines as the text, with the same blank ones among them.

        Args:
            translations: (n,) translations of the pieces.
        """
        # A translation has one line, as the piece has.
        lines = [" ".join(text.splitlines()) for text in translations]

        joined = [self.gaps[0]]
        for number, line in enumerate(lines):
            gap = self.gaps[number + 1]
            is_last = number + 1 == len(lines)
            sides = self.pieces[number : number + 2], lines[number : number + 2]
            joined += [line, gap if is_last else _choose_gap(gap, *sides)]
        return "".join(joined)


def split_text(text: str, count: Count, longest: int | None) -> SplitText:
    """Return the pieces of a text.

    Args:
        text: Text of any number of lines.
        count: Function that returns the number of tokens of each of several texts.
        longest: Largest number of tokens of a piece; None for no limit. A single character that has more tokens stays
            whole.

    Example:
        >>> split_text("One two. Three.\\n\\n Four. \\n", lambda texts: [len(text.split()) for text in texts], 2)
        SplitText(pieces=('One two.', 'Three.', 'Four.'), gaps=('', ' ', '\\n\\n ', ' \\n'))
    """
    pieces: list[str] = []
    gaps = [""]
    lines = list(_read_lines(text))

    # All lines are counted at once, which tokenizers do faster than one by one.
    middles = [middle for _, middle, _ in lines]
    numbers = [0] * len(lines) if longest is None else count(middles)
    for (before, middle, after), number in zip(lines, numbers, strict=True):
        gaps[-1] += before
        if middle:
            is_whole = longest is None or number <= longest
            parts = [(middle, "")] if is_whole else _split_line(middle, count, longest or 1)
            pieces += [part for part, _ in parts]
            gaps += [gap for _, gap in parts]
        gaps[-1] += after
    return SplitText(tuple(pieces), tuple(gaps))


def _read_lines(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield what each line starts with, the text in it, and what it ends with; no text for a blank line."""
    for line in text.splitlines(keepends=True):
        # A line without a visible character is kept as it is.
        if is_empty(line):
            yield line, "", ""
            continue
        start, middle = len(line) - len(line.lstrip()), line.strip()
        yield line[:start], middle, line[start + len(middle) :]


def _split_line(line: str, count: Count, longest: int) -> list[tuple[str, str]]:
    """Return the parts of a line that is too long, each with the white space after it."""
    sentences = _cut_at(line, list(find_sentence_ends(line)))
    numbers = count([sentence for sentence, _ in sentences])

    parts: list[tuple[str, str]] = []
    for (sentence, gap), number in zip(sentences, numbers, strict=True):
        if number <= longest:
            parts.append((sentence, gap))
            continue
        *halves, (last, _) = _halve(sentence, count, longest)
        parts += [*halves, (last, gap)]
    return parts


def _halve(text: str, count: Count, longest: int) -> list[tuple[str, str]]:
    """Return the parts of a sentence that is too long: two of about the same length, each halved in turn."""
    finished: list[tuple[str, str]] = []
    pending = [(text, "")]  # from the last to the first

    while pending:
        part, gap = pending.pop()
        cut = _choose_cut(part) if count([part])[0] > longest else None
        if cut is None:
            finished.append((part, gap))
            continue
        first, second = _cut_at(part, [cut])
        pending += [(second[0], gap), first]
    return finished


def _choose_cut(text: str) -> Cut | None:
    """Return the best place to cut a text in two; None if it is a single character."""
    middle = len(text) / 2
    nearest: Cut | None = None

    # The first kind of cuts that has one in the central part, else the last kind that has any
    for find in WEAKER_CUTS:
        nearest = min(find(text), key=lambda cut: abs(cut.end - middle), default=nearest)
        if nearest is not None and abs(nearest.end - middle) <= _CENTRAL * len(text) / 2:
            return nearest
    return nearest


def _cut_at(text: str, cuts: Sequence[Cut]) -> list[tuple[str, str]]:
    """Return the parts of a text between cuts, each with the white space after it."""
    starts = [0, *(cut.start for cut in cuts)]
    ends = [*(cut.end for cut in cuts), len(text)]

    parts = []
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        following = starts[number + 1] if number + 1 < len(starts) else len(text)
        parts.append((text[start:end], text[end:following]))
    return parts


def _choose_gap(gap: str, pieces: Sequence[str], lines: Sequence[str]) -> str:
    """Return what stands between two translations in place of what stood between their pieces.

    Some languages write no space between sentences: from and into them, the space comes and goes.

    Args:
        gap: White space between the two pieces.
        pieces: The two pieces.
        lines: Their two translations.
    """
    were_dense, are_dense = _is_dense(*pieces), _is_dense(*lines)
    if not gap and were_dense and not are_dense:
        return " "
    if gap == " " and are_dense and not were_dense:
        return ""
    return gap


def _is_dense(before: str, after: str) -> bool:
    """Return whether two texts are written without a space between them."""
    return any(_DENSE.fullmatch(character) for character in (before[-1:], after[:1]))
