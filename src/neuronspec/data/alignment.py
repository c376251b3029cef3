"""Files that are aligned line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

from neuronspec.errors import NeuronspecError

Line = TypeVar("Line", str, bytes)


def align_lines(paths: Sequence[Path], readers: Sequence[Iterator[Line]]) -> Iterator[tuple[Line, ...]]:
    """Yield the lines of one file, or of two aligned ones, that belong together.

    Args:
        paths: Names of the files, for messages.
        readers: Iterators over the lines of each.

    Raises:
        NeuronspecError: If one file has more lines than the other.
    """
    for number, row in enumerate(zip_longest(*readers), 1):
        if None in row:
            # One file has ended: the rest of the other one is counted for the message.
            counts = [
                number - (line is None) + sum(1 for _ in reader) for line, reader in zip(row, readers, strict=True)
            ]
            raise NeuronspecError(
                f"{paths[0]} has {counts[0]} lines, but {paths[1]} has {counts[1]}; they must be aligned line by line"
            )
        yield row
