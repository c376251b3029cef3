"""Encoding blocks of prepared text, in the process that is free."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronspec.artifacts import read_tensors
from neuronspec.data.blocks import Lines, divide_file
from neuronspec.data.shard_files import read_shard, write_shard
from neuronspec.files import hash_json
from neuronspec.names import child

CHUNK = 8_192  # pairs encoded at a time

Encode = Callable[[list[str]], list[list[int]]]
MakeEncoder = Callable[[], Encode]


@dataclass(frozen=True)
class Encoding:
    """A way of encoding text.

    Attributes:
        make_encoders: Functions that make the encoders, by whether these encode targets.
        dtype: Type of ids on disk.
        fingerprint: Hash of what encodes.
        name: Name by which a process knows its encoders again, in which it need not make them for every block.
    """

    make_encoders: Mapping[bool, MakeEncoder]
    dtype: str
    fingerprint: str
    name: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True, kw_only=True)
class EncodingJob:
    """A block of text to encode.

    Attributes:
        pair: Pair of languages.
        lines: The lines.
        count: Number of lines.
        encoding: Way of encoding them.
        path: File for the result.
        stamp: Size and time of the text, which show whether it has changed.
    """

    pair: str
    lines: Lines
    count: int
    encoding: Encoding
    path: Path
    stamp: Sequence[int]

    @property
    def key(self) -> str:
        """Hash of what decides the result."""
        lines, encoding = self.lines, self.encoding
        kinds = sorted(encoding.make_encoders)
        return hash_json([lines.start, lines.size, *self.stamp, encoding.dtype, encoding.fingerprint, kinds])


@dataclass(frozen=True, kw_only=True)
class EncodedBlock:
    """The ids of a block of text, in a file.

    Attributes:
        pair: Pair of languages.
        count: Number of lines.
        size: Number of bytes of the text.
        path: File of the ids.
    """

    pair: str
    count: int
    size: int
    path: Path

    def read(self, name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return all ids of one side one after the other, and the length of each sequence, (lines,)."""
        names = [f"{name}.ids", f"{name}.lengths"]
        tensors, _ = read_tensors(self.path, "np", "encoded text", names=names)
        return tensors[names[0]], tensors[names[1]]


def list_encoding_jobs(texts: Mapping[str, Path], encoding: Encoding, folder: Path) -> Iterator[EncodingJob]:
    """Yield the blocks of all texts.

    Args:
        texts: File of each pair of languages.
        encoding: Way of encoding them.
        folder: Folder for the results.
    """
    for pair, path in texts.items():
        stats = path.stat()
        for number, (lines, count) in enumerate(divide_file(path)):
            yield EncodingJob(
                pair=pair,
                lines=lines,
                count=count,
                encoding=encoding,
                path=child(folder, f"{pair}.{number}", ".safetensors"),
                stamp=(stats.st_size, stats.st_mtime_ns),
            )


def name_side(side: int, as_target: bool) -> str:
    """Return the name of the files of one side: the first or the second one, as a source or as a target."""
    return f".{side}.target" if as_target else f".{side}"


def encode_block(job: EncodingJob) -> EncodedBlock:
    """Encode a block, unless an earlier run has done so: both sides as a source and, where that differs, as a target.

    Raises:
        NeuronspecError: If the model has no embedding for a token.
    """
    if read_shard(job.path, job.key) is None:
        write_shard(job.path, _encode_sides(job), key=job.key, described={})
    return EncodedBlock(pair=job.pair, count=job.count, size=job.lines.size, path=job.path)


def _encode_sides(job: EncodingJob) -> dict[str, NDArray[Any]]:
    encoders = _open_encoders(job.encoding)
    lines = (line.decode().split("\t") for line in job.lines.split())
    ids: dict[str, list[NDArray[Any]]] = {}
    lengths: dict[str, list[NDArray[np.int64]]] = {}

    # Chunk by chunk: lists of ids take far more memory than arrays.
    while chunk := list(itertools.islice(lines, CHUNK)):
        for side, sentences in enumerate(zip(*chunk, strict=True)):
            for as_target, encode in encoders.items():
                name = name_side(side, as_target)
                found, counts = _concatenate(encode(list(sentences)), job.encoding.dtype)
                ids.setdefault(name, []).append(found)
                lengths.setdefault(name, []).append(counts)

    tensors: dict[str, NDArray[Any]] = {}
    for name in ids:
        tensors[f"{name}.ids"] = np.concatenate(ids[name])
        tensors[f"{name}.lengths"] = np.concatenate(lengths[name])
    return tensors


_opened = threading.local()  # the encoders of the latest text that was encoded in this thread, and their name


def _open_encoders(encoding: Encoding) -> Mapping[bool, Encode]:
    """Return the encoders, which are made once in every thread: tokenizers serve one at a time."""
    if getattr(_opened, "name", None) != encoding.name:
        _opened.encoders = {as_target: make() for as_target, make in encoding.make_encoders.items()}
        _opened.name = encoding.name
    encoders: Mapping[bool, Encode] = _opened.encoders
    return encoders


def _concatenate(sequences: Sequence[Sequence[int]], dtype: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return all ids one after the other, and the length of each sequence."""
    lengths = np.fromiter(map(len, sequences), dtype=np.int64, count=len(sequences))
    ids = itertools.chain.from_iterable(sequences)
    return np.fromiter(ids, dtype=dtype, count=int(lengths.sum())), lengths
