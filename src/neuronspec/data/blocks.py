"""Blocks of a corpus: parts of it that are read and cleaned independently, also within one large file.

A block is a number of consecutive lines, or of consecutive pairs where a format has no lines. Where a corpus is divided
depends on its text alone, never on the number of workers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from neuronspec.data.alignment import align_lines
from neuronspec.data.corpus_formats import LineText, Pair
from neuronspec.data.reading_errors import explained_reading
from neuronspec.data.streams import is_plain, read_raw_lines
from neuronspec.data.text_encoding import decode_text
from neuronspec.errors import NeuronspecError

Item = TypeVar("Item")

BLOCK_LINES = 50_000  # lines of a block at most
BLOCK_BYTES = 16 << 20  # bytes from which a block ends, whatever its number of lines


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Consecutive lines of one file.

    Attributes:
        path: File.
        start: Place of the first byte in the file, if it is plain text.
        size: Number of bytes.
        raw: The bytes themselves, where only reading from the beginning finds them, as in a compressed file.
    """

    path: Path
    start: int
    size: int
    raw: bytes | None = None

    def read(self, first: int) -> Iterator[str]:
        """Yield the lines without their ends.

        Args:
            first: Number of the first line in the file.

        Raises:
            NeuronspecError: If a line is not UTF-8, or the file is shorter than it was.
        """
        for number, line in enumerate(self.split(), first):
            yield decode_text(line.removesuffix(b"\r"), self.path, number)

    def split(self) -> list[bytes]:
        """Return the lines without their line feeds.

        Raises:
            NeuronspecError: If the file is shorter than it was.
        """
        lines = self._read_bytes().split(b"\n")
        if not lines[-1]:  # nothing follows the last line feed
            lines.pop()
        return lines

    def _read_bytes(self) -> bytes:
        if self.raw is not None:
            return self.raw
        with explained_reading(self.path), self.path.open("rb") as file:
            file.seek(self.start)
            found = file.read(self.size)
        if len(found) != self.size:
            raise NeuronspecError(f"{self.path} became shorter while it was read: start the same command again")
        return found


@dataclass(frozen=True, kw_only=True)
class LineBlock:
    """Consecutive lines of one file, or of two aligned ones, that hold a pair each.

    Attributes:
        text: The whole text that the lines belong to.
        files: The lines of each file.
        first: Number of the first line.
        count: Number of lines.
    """

    text: LineText
    files: tuple[Lines, ...]
    first: int
    count: int

    @property
    def name(self) -> str:
        """Name of this part of the text, for comparisons."""
        return f"{self.text.files[0]}:{self.first}+{self.count}"

    @property
    def size(self) -> int:
        """Number of bytes."""
        return sum(lines.size for lines in self.files)

    def read(self) -> Iterator[Pair]:
        """Yield the pairs.

        Raises:
            NeuronspecError: If a line does not fit the format.
        """
        columns = [lines.read(self.first) for lines in self.files]
        return self.text.parse(zip(itertools.count(self.first), *columns, strict=False))


@dataclass(frozen=True, kw_only=True)
class PairBlock:
    """Consecutive pairs of a corpus without lines, which were read where it was divided.

    Attributes:
        pairs: The pairs.
        first: Number of the first one, from 1 on.
    """

    pairs: Sequence[Pair]
    first: int

    @property
    def name(self) -> str:
        """Name of this part of the text, for comparisons."""
        return f"{self.pairs[0].place}:{self.first}+{self.count}"

    @property
    def count(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    @property
    def size(self) -> int:
        """Number of characters, which is near that of bytes."""
        return sum(len(pair.source) + len(pair.target) for pair in self.pairs)

    def read(self) -> Iterator[Pair]:
        """Yield the pairs."""
        return iter(self.pairs)


Block = LineBlock | PairBlock


def divide_lines(text: LineText) -> Iterator[LineBlock]:
    """Yield the blocks of a text that has a pair in each line.

    Of plain text, only the places of lines are looked for here. Compressed files are read from their beginning, and
    blocks take their lines along.

    Raises:
        NeuronspecError: If a file is missing or damaged, or of two aligned files one has more lines.
    """
    plain = [is_plain(path) for path in text.files]
    places = [0] * len(text.files)

    with ExitStack() as stack:
        readers = [stack.enter_context(closing(read_raw_lines(path))) for path in text.files]
        rows = align_lines(text.files, readers)

        # Lines in front of the first row, such as names of columns, belong to no block.
        number = 1
        for row in itertools.islice(rows, text.first - 1):
            places = [place + len(line) for place, line in zip(places, row, strict=True)]
            number += 1

        while taken := _take(rows, _measure_row):
            files = []
            for index, path in enumerate(text.files):
                raw = b"".join(row[index] for row in taken)
                kept = None if plain[index] else raw
                files.append(Lines(path=path, start=places[index], size=len(raw), raw=kept))
                places[index] += len(raw)

            yield LineBlock(text=text, files=tuple(files), first=number, count=len(taken))
            number += len(taken)


def divide_file(path: Path) -> Iterator[tuple[Lines, int]]:
    """Yield the blocks of lines of a plain file, whatever these hold, and the number of lines in each."""
    start = 0
    with path.open("rb") as file:
        while taken := _take(file, len):
            size = sum(map(len, taken))
            yield Lines(path=path, start=start, size=size), len(taken)
            start += size


def divide_pairs(pairs: Iterable[Pair]) -> Iterator[PairBlock]:
    """Yield blocks of the pairs of a corpus without lines."""
    remaining = iter(pairs)
    first = 1
    while taken := _take(remaining, _measure_pair):
        yield PairBlock(pairs=taken, first=first)
        first += len(taken)


def _take(items: Iterator[Item], measure: Callable[[Item], int]) -> list[Item]:
    """Return the next items: as many as a block may have."""
    taken = []
    size = 0
    for item in items:
        taken.append(item)
        size += measure(item)
        if len(taken) >= BLOCK_LINES or size >= BLOCK_BYTES:
            break
    return taken


def _measure_row(lines: tuple[bytes, ...]) -> int:
    return sum(map(len, lines))


def _measure_pair(pair: Pair) -> int:
    return len(pair.source) + len(pair.target)
