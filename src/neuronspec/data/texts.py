"""Prepared text on disk: clean pairs of sentences, a file for each part and pair of languages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from neuronspec.artifacts.typed_json import Stored, read_typed
from neuronspec.languages import join_direction, split_direction
from neuronspec.names import child

Overlap = dict[str, dict[str, dict[str, int]]]
"""By pair of languages and part, the number of sentence pairs of that part that are also in the training text, by
what they share with it: `either` side, the `first` or the `second` one, or `both` as the same pair."""

TEXT_PARTS = ("train", "valid", "test")
STATISTICS_FILE = "statistics.json"


_Counts = dict[str, Annotated[int, Field(ge=0, lt=1 << 63)]]


class _Statistics(Stored):
    sizes: dict[str, _Counts]
    dropped: dict[str, _Counts] = Field(default={})
    overlap: dict[str, dict[str, _Counts]] = Field(default={})

    @field_validator("sizes")
    @classmethod
    def _has_parts(cls, sizes: dict[str, _Counts]) -> dict[str, _Counts]:
        if missing := [part for part in TEXT_PARTS if part not in sizes]:
            raise ValueError(f"the part {missing[0]} is missing")
        return sizes


@dataclass(frozen=True)
class Texts:
    """The prepared text of a run: `{part}.{pair}.tsv` files of `first<TAB>second` lines.

    Attributes:
        directory: Directory of the files.
        sizes: Number of sentence pairs, for each part and pair of languages.
        dropped: For each pair of languages, how many sentence pairs were read, kept, and dropped for which reason.
        overlap: Sentences of `valid` and `test` that are also in `train`; empty if they were not counted.
    """

    directory: Path
    sizes: dict[str, dict[str, int]]
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)
    overlap: Overlap = field(default_factory=dict)

    def path(self, part: str, pair: str) -> Path:
        """Return the file of a part (`train`, `valid`, `test`) and a pair of languages."""
        return child(self.directory, f"{part}.{pair}", ".tsv")

    @classmethod
    def load(cls, directory: Path) -> Texts:
        """Open prepared text.

        Raises:
            NeuronspecError: If there is none, or its statistics are damaged.
        """
        found = read_typed(directory / STATISTICS_FILE, _Statistics, "run prepare again with --force")
        return cls(directory, sizes=found.sizes, dropped=found.dropped, overlap=found.overlap)


def assign_pairs(tasks: list[str], pivot: str) -> dict[str, tuple[str, int]]:
    """Return, for each task, the pair of languages that holds its text and the side of its source.

    Args:
        tasks: Directions.
        pivot: Language that comes first in its pairs.

    Example:
        >>> assign_pairs(["en-de", "de-en"], "en")
        {'en-de': ('en-de', 0), 'de-en': ('en-de', 1)}
    """
    assigned: dict[str, tuple[str, int]] = {}
    known: set[str] = set()  # pairs that an earlier task uses
    for task in tasks:
        source, target = split_direction(task)
        backward = join_direction(target, source)

        # Two opposite directions share one file, in which the pivot comes first.
        turned = backward in known or target == pivot
        pair, side = (backward, 1) if turned else (task, 0)
        assigned[task] = (pair, side)
        known.add(pair)
    return assigned


def read_columns(path: Path) -> Iterator[list[str]]:
    """Yield the columns of each line of a prepared text file."""
    # Only a line feed ends a line, as when the file was written.
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.removesuffix("\n").split("\t")
