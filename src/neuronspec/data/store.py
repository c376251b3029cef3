"""The token store: encoded pairs on disk, memory-mapped, so that a corpus never has to fit into memory."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronspec.errors import NeuronspecError
from neuronspec.files import publish, read_json, write_json
from neuronspec.names import child

CHUNK = 8_192  # pairs encoded at a time
PARALLEL_FROM = 64 << 20  # bytes of text that make worth starting processes

Encode = Callable[[list[str]], list[list[int]]]


class TokenStore:
    """Pairs of token sequences without tags, one set of files for each pair of languages.

    A pair of languages serves both of its directions. Files: `{pair}.{side}.tokens` holds all ids one after the
    other, `{pair}.{side}.offsets` where each sequence starts (int64, one more than there are sequences).

    Args:
        directory: where `build_store` wrote it.

    Raises:
        NeuronspecError: there is no token store.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        description = read_json(directory / "store.json")
        self.pairs: dict[str, int] = description["pairs"]
        self._dtype = np.dtype(description["dtype"])
        self._sides: dict[tuple[str, int], tuple[NDArray[Any], NDArray[Any]]] = {}

    def lengths(self, pair: str) -> NDArray[np.int32]:
        """Return the (pairs, 2) numbers of tokens of both sides."""
        return np.stack([np.diff(self._side(pair, side)[1]).astype(np.int32) for side in (0, 1)], axis=1)

    def sequence(self, pair: str, side: int, example: int) -> NDArray[np.unsignedinteger]:
        """Return the ids (length,) of one side (0 or 1) of one example."""
        tokens, offsets = self._side(pair, side)
        return tokens[offsets[example] : offsets[example + 1]]

    def __getstate__(self) -> dict[str, object]:  # a worker maps the files again instead of receiving them
        return {**self.__dict__, "_sides": {}}

    def _side(self, pair: str, side: int) -> tuple[NDArray[Any], NDArray[Any]]:
        if pair not in self.pairs:
            raise NeuronspecError(f"{self.directory} holds no pair {pair!r}; it has {', '.join(self.pairs)}")
        if (pair, side) not in self._sides:
            offsets = _map(child(self.directory, pair, f".{side}.offsets"), np.dtype(np.int64), self.pairs[pair] + 1)
            tokens = _map(child(self.directory, pair, f".{side}.tokens"), self._dtype, int(offsets[-1]))
            self._sides[pair, side] = tokens, offsets
        return self._sides[pair, side]


def build_store(
    directory: Path, texts: dict[str, Path], make_encoder: Callable[[], Encode], vocabulary_size: int
) -> TokenStore:
    """Encode text files into a token store, in parallel where there is much to do.

    Args:
        directory: where to put it; it appears whole or not at all.
        texts: for each pair of languages, a file of `first<TAB>second` lines.
        make_encoder: returns the function that turns sentences into ids without special tokens; picklable, since
            it is called once in every process.
        vocabulary_size: decides whether ids take two bytes or four.

    Returns:
        The store.
    """
    dtype = "uint16" if vocabulary_size <= 1 << 16 else "uint32"
    with publish(directory) as temporary:
        temporary.mkdir()
        workers = min(len(texts), os.cpu_count() or 1)
        columns = [(child(temporary, pair), path, make_encoder, dtype) for pair, path in texts.items()]
        if workers > 1 and sum(path.stat().st_size for path in texts.values()) >= PARALLEL_FROM:
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                counts = list(pool.map(_encode_pair, *zip(*columns, strict=True)))
        else:
            counts = [_encode_pair(*column) for column in columns]
        write_json(temporary / "store.json", {"dtype": dtype, "pairs": dict(zip(texts, counts, strict=True))})
    return TokenStore(directory)


def read_columns(path: Path) -> Iterator[list[str]]:
    """Yield the columns of each line of a prepared text file."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.removesuffix("\n").split("\t")


def _encode_pair(stem: Path, path: Path, make_encoder: Callable[[], Encode], dtype: str) -> int:
    encode = make_encoder()
    lines = read_columns(path)
    count, ends = 0, [0, 0]
    with ExitStack() as stack:
        files = [
            [stack.enter_context(Path(f"{stem}.{side}.{kind}").open("wb")) for kind in ("tokens", "offsets")]
            for side in (0, 1)
        ]
        for _, offsets in files:
            offsets.write(np.zeros(1, dtype=np.int64).tobytes())
        while chunk := list(itertools.islice(lines, CHUNK)):
            for side, sentences in enumerate(zip(*chunk, strict=True)):
                ids, lengths = _flatten(encode(list(sentences)), dtype)
                files[side][0].write(ids.tobytes())
                files[side][1].write((ends[side] + np.cumsum(lengths)).tobytes())
                ends[side] += int(lengths.sum())
            count += len(chunk)
    return count


def _flatten(sequences: Sequence[Sequence[int]], dtype: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    lengths = np.fromiter(map(len, sequences), dtype=np.int64, count=len(sequences))
    return np.fromiter(itertools.chain.from_iterable(sequences), dtype=dtype, count=int(lengths.sum())), lengths


def _map(path: Path, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    size = path.stat().st_size if path.is_file() else None
    if size != count * dtype.itemsize:
        found = "is missing" if size is None else f"has {size} bytes, not {count * dtype.itemsize}"
        raise NeuronspecError(f"{path} {found}: the token store is damaged; run prepare again with --force")
    return np.memmap(path, dtype=dtype, mode="r") if count else np.empty(0, dtype=dtype)
