"""Patterns of file names: texts with wildcards and placeholders, matched in a time that no pattern makes long.

Regular expressions try every way to divide a name among the wildcards, which takes forever for some names and a few
dozen wildcards. Here a pattern with more than a few of them is matched by a search that never looks at the same place
twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

_FEW: Final = 3  # wildcards up to which a regular expression is quick, whatever the name


@dataclass(frozen=True, kw_only=True)
class Wildcard:
    """A part of a pattern that stands for some text.

    Attributes:
        unit: Regular expression of what is repeated: one character, or one folder.
        fewest: Smallest number of repetitions, 0 or 1.
        once: Whether it stands for one unit at most.
        greedy: Whether it takes as much text as it can; otherwise as little.
        name: Name of a placeholder; where it comes again, it stands for the same text.
    """

    unit: str
    fewest: int = 0
    once: bool = False
    greedy: bool = True
    name: str = ""

    @cached_property
    def step(self) -> Callable[[str, int], re.Match[str] | None]:
        """Function that finds the next unit in a text at a place."""
        return re.compile(self.unit, re.DOTALL).match

    @property
    def expression(self) -> str:
        """The wildcard as a regular expression."""
        repeated = {(0, False): "*", (1, False): "+", (0, True): "?", (1, True): ""}[self.fewest, self.once]
        lazy = "?" if repeated and not self.greedy else ""
        return f"(?:{self.unit}){repeated}{lazy}"


ANY: Final = Wildcard(unit="[^/]")
"""`*`: any text within a name."""


class NamePattern:
    """A pattern in pieces.

    Args:
        pieces: Texts, which stand for themselves, and wildcards.

    Example:
        >>> pattern = NamePattern(["text/", Wildcard(unit="[^/]", fewest=1, name="lang"), ".", ANY])
        >>> pattern.match("text/de.tsv"), pattern.match("other/de.tsv")
        (('de', 'tsv'), None)
    """

    def __init__(self, pieces: Sequence[str | Wildcard]) -> None:
        self.pieces = [piece for piece in pieces if piece != ""]
        self.names = [piece.name for piece in self._first_wildcards()]
        self._repeated = {name for name in self.names if name and self._count(name) > 1}

    def match(self, text: str) -> tuple[str, ...] | None:
        """Return what the wildcards stand for in a whole text, or None; a placeholder that comes again counts once.

        Args:
            text: Name to match.
        """
        if sum(isinstance(piece, Wildcard) for piece in self.pieces) > _FEW:
            return self._search(text)
        found = self._regex.fullmatch(text)
        return None if found is None else found.groups()

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        expressions, groups = [], dict[str, int]()
        for piece in self.pieces:
            if isinstance(piece, str):
                expressions.append(re.escape(piece))
            elif piece.name in groups:
                expressions.append(rf"(?:\{groups[piece.name]})")
            else:
                groups[piece.name or f"{len(groups)}"] = len(groups) + 1
                expressions.append(f"({piece.expression})")
        return re.compile("".join(expressions), re.DOTALL)

    def _first_wildcards(self) -> Iterator[Wildcard]:
        seen: set[str] = set()
        for piece in self.pieces:
            if isinstance(piece, Wildcard) and piece.name not in seen:
                seen |= {piece.name} - {""}
                yield piece

    def _count(self, name: str) -> int:
        return sum(isinstance(piece, Wildcard) and piece.name == name for piece in self.pieces)

    def _search(self, text: str) -> tuple[str, ...] | None:
        """Return what a regular expression would find, without looking at the same place twice."""
        # A state: number of the piece, place in the text, where the piece began (None before it), texts so far.
        states: list[_State] = [_State(0, 0, None, ())]
        seen: set[tuple[object, ...]] = set()
        while states:
            state = states.pop()
            if state.piece == len(self.pieces):
                if state.place == len(text):
                    return state.found
                continue
            if (key := self._key(state)) not in seen:
                seen.add(key)
                states += self._follow(state, text)
        return None

    def _key(self, state: _State) -> tuple[object, ...]:
        """Return what decides whether a state leads to a match."""
        # Texts matter only where they have to come again.
        kept = [text for name, text in zip(self.names, state.found, strict=False) if name in self._repeated]
        piece = self.pieces[state.piece]
        is_kept = isinstance(piece, Wildcard) and piece.name in self._repeated
        return state.piece, state.place, state.start if is_kept else state.start is None, *kept

    def _follow(self, state: _State, text: str) -> list[_State]:
        """Return the states after a state, the preferred one last."""
        piece, place, start = self.pieces[state.piece], state.place, state.start
        known = state.find(piece.name, self.names) if isinstance(piece, Wildcard) else piece
        if known is not None:
            fits = text.startswith(known, place)
            return [_State(state.piece + 1, place + len(known), None, state.found)] if fits else []
        assert isinstance(piece, Wildcard)

        # End the piece here, or take one more unit.
        begun = place if start is None else start
        options = []
        if start is not None or not piece.fewest:
            options.append(_State(state.piece + 1, place, None, (*state.found, text[begun:place])))
        if start is None or not piece.once:
            unit = piece.step(text, place)
            if unit is not None:
                options.append(_State(state.piece, unit.end(), begun, state.found))
        return options if piece.greedy else options[::-1]


@dataclass(frozen=True)
class _State:
    """A place in a pattern and in a text.

    Attributes:
        piece: Number of the piece.
        place: Place in the text.
        start: Place where the piece began to take text; None if it has not.
        found: Texts of the wildcards before the piece.
    """

    piece: int
    place: int
    start: int | None
    found: tuple[str, ...]

    def find(self, name: str, names: Sequence[str]) -> str | None:
        """Return the text that a placeholder has stood for already, or None."""
        if not name:
            return None
        known = names[: len(self.found)]
        return self.found[known.index(name)] if name in known else None
