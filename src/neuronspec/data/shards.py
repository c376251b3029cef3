"""Shards: the clean lines of the blocks of a corpus, a file for each, so that finished work is kept.

A shard holds the clean lines and, for each of them, the numbers by which sentences are known again (`hash_forms`).
It is written in the process that cleans the block, is read as often as needed, and is removed once the text is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronspec.artifacts import read_tensors
from neuronspec.config.sections import HoldOut
from neuronspec.data.blocks import Block
from neuronspec.data.cleaning import judge_pairs
from neuronspec.data.holdout import choose_part
from neuronspec.data.normalization import hash_forms
from neuronspec.data.shard_files import read_shard, write_shard
from neuronspec.data.texts import TEXT_PARTS
from neuronspec.files import hash_json

BOTH, FIRST, SECOND = range(3)
"""Numbers of a line: of the pair, and of its first and its second side."""


@dataclass(frozen=True, kw_only=True)
class CleaningJob:
    """A block to clean.

    Attributes:
        block: The block.
        part: Part that the corpus was given for; of `train`, sentences are held out.
        limits: Limits on the text; see `judge_pairs`.
        hold_out: Shares to hold out.
        path: Shard to write.
        settings: Hash of everything else that decides the result.
    """

    block: Block
    part: str
    limits: Mapping[str, Any]
    hold_out: HoldOut
    path: Path
    settings: str

    @property
    def key(self) -> str:
        """Hash of what decides the content of the shard."""
        rules = [self.part, dict(self.limits), self.hold_out.model_dump(), self.settings]
        return hash_json([self.block.name, self.block.size, rules])


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The clean lines of a block.

    Attributes:
        path: File with the lines.
        part: Part that the corpus was given for.
        sizes: Number of lines of each part.
        counts: Number of pairs by what became of them: `read`, `kept` or a reason to drop them.
        firsts: Place in the block of the first pair of each of these.
    """

    path: Path
    part: str
    sizes: dict[str, int]
    counts: dict[str, int]
    firsts: dict[str, int]

    def read_numbers(self, part: str, kind: int) -> NDArray[np.uint64]:
        """Return one of `BOTH`, `FIRST` and `SECOND` for each line of a part, (lines,)."""
        return self._read(f"{part}.{kind}", np.dtype(np.uint64))

    def read_places(self, part: str) -> NDArray[np.int32]:
        """Return where the lines of a part were in the block, (lines,)."""
        return self._read(f"{part}.places", np.dtype(np.int32))

    def read_lines(self, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Return the bytes of the lines of a part, and the number of bytes of each line, (lines,)."""
        return self._read(f"{part}.text", np.dtype(np.uint8)), self._read(f"{part}.lengths", np.dtype(np.int32))

    def _read(self, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        # Parts without lines are left out of the file.
        if not self.sizes[name.partition(".")[0]]:
            return np.empty(0, dtype)
        tensors, _ = read_tensors(self.path, "np", "cleaned text", names=[name])
        return np.asarray(tensors[name])


def clean_block(job: CleaningJob) -> Shard:
    """Clean a block and write its shard, unless an earlier run has written it."""
    return find_shard(job) or _write_shard(job)


def find_shard(job: CleaningJob) -> Shard | None:
    """Return the shard of a block if it is there, whole, and from the same text and settings."""
    found = read_shard(job.path, job.key)
    return None if found is None else Shard(path=job.path, part=job.part, **found)


class _PartLines:
    """The lines of one part of a shard, while they are gathered."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.numbers: list[tuple[int, int, int]] = []
        self.places: list[int] = []

    def add(self, texts: Sequence[str], forms: Sequence[str], place: int) -> None:
        left, right = forms
        self.lines.append(("\t".join(texts) + "\n").encode())
        self.numbers.append((hash_forms(left, right), hash_forms(left), hash_forms(right)))
        self.places.append(place)

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        columns = np.array(self.numbers, dtype=np.uint64).T
        return {
            "text": np.frombuffer(b"".join(self.lines), dtype=np.uint8),
            "lengths": np.fromiter(map(len, self.lines), dtype=np.int32, count=len(self.lines)),
            "places": np.array(self.places, dtype=np.int32),
            **{str(kind): np.ascontiguousarray(columns[kind]) for kind in (BOTH, FIRST, SECOND)},
        }


def _write_shard(job: CleaningJob) -> Shard:
    parts = {part: _PartLines() for part in TEXT_PARTS}
    counts = {"read": 0}
    firsts = {"read": 0}

    for place, judgment in enumerate(judge_pairs(job.block.read(), **job.limits)):
        counts["read"] += 1
        fate = judgment.fault or "kept"
        counts[fate] = counts.get(fate, 0) + 1
        firsts.setdefault(fate, place)

        # By the pivot, where the pair has it
        if judgment.fault is None:
            part = choose_part(judgment.texts[0], job.hold_out) if job.part == "train" else job.part
            parts[part].add(judgment.texts, judgment.forms, place)

    sizes = {part: len(lines.lines) for part, lines in parts.items()}
    shard = Shard(path=job.path, part=job.part, sizes=sizes, counts=counts, firsts=firsts)

    tensors = {}
    for part, lines in parts.items():
        if lines.lines:
            tensors.update({f"{part}.{name}": array for name, array in lines.as_arrays().items()})
    described = {name: value for name, value in asdict(shard).items() if name not in ("path", "part")}
    write_shard(job.path, tensors, key=job.key, described=described)
    return shard
