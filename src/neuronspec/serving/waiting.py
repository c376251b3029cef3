"""Texts that wait for their translation, and the fair order in which requests get their turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neuronspec.serving.engine import Sentence
from neuronspec.serving.texts import SplitText


@dataclass(eq=False)
class WaitingText:
    """A text of a request.

    Attributes:
        request: Request that it belongs to.
        place: Position in the request.
        sentence: Text and all that its translation depends on.
    """

    request: WaitingRequest
    place: int
    sentence: Sentence


@dataclass(eq=False)
class Piece:
    """A part of a text that is translated at once, such as a line.

    Attributes:
        text: Text that it belongs to.
        place: Position among the pieces of the text.
        sentence: Piece and all that its translation depends on.
        tokens: Number of its tokens.
    """

    text: WaitingText
    place: int
    sentence: Sentence
    tokens: int


Entry = WaitingText | Piece


class WaitingRequest:
    """A request whose texts wait for their translations.

    Args:
        sentences: (n,) texts of the request.
        answer: Future of the translations, (n,).
    """

    def __init__(self, sentences: Sequence[Sentence], answer: asyncio.Future[list[str]]) -> None:
        self.answer = answer
        self.entries: deque[Entry] = deque()
        self._splits: dict[int, SplitText] = {}
        self._pieces: dict[int, list[str]] = {}
        self._pieces_missing: dict[int, int] = {}
        self._translations: list[str | None] = [None] * len(sentences)
        self._missing = len(sentences)
        for place, sentence in enumerate(sentences):
            self.entries.append(WaitingText(self, place, sentence))

    def note_split(self, place: int, split: SplitText) -> None:
        """Keep how a text was split; a text without pieces is done."""
        self._splits[place] = split
        self._pieces[place] = [""] * len(split.pieces)
        self._pieces_missing[place] = len(split.pieces)
        self._join(place)

    def note_translation(self, piece: Piece, translation: str) -> None:
        """Keep the translation of a piece; with its last piece, a text is done."""
        self._pieces[piece.text.place][piece.place] = translation
        self._pieces_missing[piece.text.place] -= 1
        self._join(piece.text.place)

    @property
    def waiting_texts(self) -> int:
        """Number of texts of which something waits."""
        return min(len(self.entries), self._missing)

    def _join(self, place: int) -> None:
        """Join the translations of a text if there are all of them, and answer the request if that was its last."""
        if self._pieces_missing[place]:
            return

        assert self._translations[place] is None
        self._translations[place] = self._splits[place].join(self._pieces[place])
        self._missing -= 1
        if self._missing == 0 and not self.answer.done():
            self.answer.set_result([text for text in self._translations if text is not None])


class FairQueue:
    """Requests that take turns: each gives one entry at a time, so that none waits for all texts of another one."""

    def __init__(self) -> None:
        self._turns: dict[WaitingRequest, None] = {}  # in the order of their turns
        self._count = 0

    def __len__(self) -> int:
        """Return the number of entries that wait."""
        return self._count

    def count_requests(self) -> int:
        """Return the number of requests of which something waits."""
        return len(self._turns)

    def count_texts(self) -> int:
        """Return the number of texts that wait: a text in many pieces takes no room of other texts."""
        return sum(request.waiting_texts for request in self._turns)

    def add(self, request: WaitingRequest) -> None:
        """Add a request at the end of the order."""
        if request.entries:
            self._turns[request] = None
            self._count += len(request.entries)

    def remove(self, request: WaitingRequest) -> None:
        """Drop what waits of a request."""
        if request in self._turns:
            del self._turns[request]
            self._count -= len(request.entries)
        request.entries.clear()

    def take(self, count: int, characters: int) -> list[Entry]:
        """Take entries, one of each request in turn; at least one, if there is one.

        Args:
            count: Largest number of entries.
            characters: Number of characters after which no further entry is taken.
        """
        taken: list[Entry] = []
        size = 0
        while self._turns and len(taken) < count and size < characters:
            request = next(iter(self._turns))
            del self._turns[request]
            taken.append(request.entries.popleft())
            size += len(taken[-1].sentence.text)
            if request.entries:
                self._turns[request] = None
        self._count -= len(taken)
        return taken

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Put entries back that were taken, to be the next of their requests, which keep their turns."""
        behind = self._turns
        self._turns = {}
        returned: dict[WaitingRequest, list[Entry]] = {}
        for entry in entries:
            request = entry.request if isinstance(entry, WaitingText) else entry.text.request
            if not request.answer.done():
                returned.setdefault(request, []).append(entry)

        # Those that were taken first come first again.
        for request, those in returned.items():
            request.entries.extendleft(reversed(those))
            self._turns[request] = None
            self._count += len(those)
        self._turns |= {request: None for request in behind if request not in self._turns}
