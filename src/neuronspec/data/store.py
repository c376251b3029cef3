"""The token store: encoded pairs on disk, memory-mapped, so that a corpus never has to fit into memory."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from neuronspec.artifacts.typed_json import Stored, read_typed
from neuronspec.data.encoding import Encode as Encode
from neuronspec.data.encoding import Encoding, MakeEncoder, encode_block, list_encoding_jobs, name_side
from neuronspec.data.tasks import Meter, map_blocks
from neuronspec.errors import NeuronspecError
from neuronspec.files import publish, write_json
from neuronspec.format_versions import add_format
from neuronspec.names import child
from neuronspec.progress import show_progress

_CHECKED = 1 << 20  # offsets that are compared at a time


class _Description(Stored):
    dtype: Literal["uint16", "uint32"]
    pairs: dict[str, Annotated[int, Field(ge=0, lt=1 << 48)]]
    targets: bool = False


class TokenStore:
    """Pairs of token sequences without tags, one set of files for each pair of languages.

    A pair of languages serves both of its directions. Files: `{pair}.{side}.tokens` holds all ids one after the
    other, `{pair}.{side}.offsets` where each sequence starts (int64, one more than there are sequences). Where a text
    has other ids as a target than as a source, `{pair}.{side}.target.tokens` and `.offsets` hold those.

    Args:
        directory: Directory that `build_store` wrote.

    Raises:
        NeuronspecError: If there is no token store.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        description = read_typed(directory / "store.json", _Description, "run prepare again with --force")
        self.pairs = description.pairs
        self._dtype = np.dtype(description.dtype)
        self._has_targets = description.targets
        self._sides: dict[tuple[str, int, bool], tuple[NDArray[Any], NDArray[Any]]] = {}

    def lengths(self, pair: str, source_side: int = 0) -> NDArray[np.int32]:
        """Return the number of tokens of source and target, (pairs, 2).

        Args:
            pair: Pair of languages.
            source_side: Side (0 or 1) that is the source.
        """
        source = self._side(pair, source_side, as_target=False)[1]
        target = self._side(pair, 1 - source_side, as_target=True)[1]

        # A sequence ends where the next one starts.
        return np.stack([np.diff(offsets).astype(np.int32) for offsets in (source, target)], axis=1)

    def sequence(self, pair: str, side: int, example: int, *, as_target: bool = False) -> NDArray[np.unsignedinteger]:
        """Return the ids (length,) of one side (0 or 1) of one example, as a source or as a target."""
        tokens, offsets = self._side(pair, side, as_target)
        return tokens[offsets[example] : offsets[example + 1]]

    def __getstate__(self) -> dict[str, object]:  # a worker maps the files again instead of receiving them
        return {**self.__dict__, "_sides": {}}

    def _side(self, pair: str, side: int, as_target: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the ids of one side, and where each of its sequences starts."""
        if pair not in self.pairs:
            raise NeuronspecError(f"{self.directory} holds no pair {pair!r}; it has {', '.join(self.pairs)}")

        # Files are mapped when they are first asked for.
        as_target = as_target and self._has_targets
        key = (pair, side, as_target)
        if key not in self._sides:
            suffix = name_side(side, as_target)
            offsets_file = child(self.directory, pair, f"{suffix}.offsets")
            tokens_file = child(self.directory, pair, f"{suffix}.tokens")

            offsets = _map_file(offsets_file, np.dtype(np.int64), self.pairs[pair] + 1)
            _check_offsets(offsets, offsets_file)
            tokens = _map_file(tokens_file, self._dtype, int(offsets[-1]))
            self._sides[key] = tokens, offsets
        return self._sides[key]


def build_store(
    directory: Path,
    texts: dict[str, Path],
    make_encoder: MakeEncoder,
    vocabulary_size: int,
    make_target_encoder: MakeEncoder | None = None,
    *,
    workspace: Path | None = None,
    fingerprint: str = "",
) -> TokenStore:
    """Encode text files into a token store, in parallel where there is much to do.

    Args:
        directory: Directory to write; it appears whole or not at all.
        texts: File of `first<TAB>second` lines, for each pair of languages.
        make_encoder: Function that returns the function from sentences to ids without special tokens. It must be
            picklable, since it is called once in every process.
        vocabulary_size: Number of ids, which decides whether an id takes two bytes or four.
        make_target_encoder: The same for targets, where they are encoded in another way than sources.
        workspace: Directory that keeps finished blocks, for the next call if this one is interrupted. The caller
            removes it in the end.
        fingerprint: Hash of what encodes, so that blocks of another vocabulary are not used.

    Returns:
        The store.
    """
    dtype = "uint16" if vocabulary_size <= 1 << 16 else "uint32"  # half the disk where it suffices
    encoders = {False: make_encoder}  # by whether they encode targets
    if make_target_encoder is not None:
        encoders[True] = make_target_encoder

    with publish(directory) as temporary:
        temporary.mkdir()
        folder = temporary / ".blocks" if workspace is None else workspace
        encoding = Encoding(encoders, dtype=dtype, fingerprint=fingerprint)
        counts = _encode_texts(temporary, texts, encoding, folder)
        if workspace is None:
            shutil.rmtree(folder, ignore_errors=True)

        # What `TokenStore` needs to read the files again.
        description: dict[str, Any] = {"dtype": dtype, "pairs": counts}
        if make_target_encoder is not None:
            description["targets"] = True
        write_json(temporary / "store.json", add_format(description))
    return TokenStore(directory)


def _encode_texts(directory: Path, texts: dict[str, Path], encoding: Encoding, folder: Path) -> dict[str, int]:
    """Encode files in blocks, join these, and return the number of lines of each pair of languages."""
    meter = Meter(sum(path.stat().st_size for path in texts.values()))
    blocks = map_blocks(encode_block, list_encoding_jobs(texts, encoding, folder), lambda job: job.count)
    counts = dict.fromkeys(texts, 0)

    with show_progress("encoding the text (MiB)", meter.total) as advance, closing(blocks):
        block = next(blocks, None)
        for pair in texts:
            # The files of one pair at a time; they are there even if it has no lines.
            with ExitStack() as stack:
                names = [name_side(side, as_target) for side in (0, 1) for as_target in encoding.make_encoders]
                writers = [_SideWriter(stack, directory, pair=pair, name=name) for name in names]

                # Blocks come in the order of the pairs.
                while block is not None and block.pair == pair:
                    for writer in writers:
                        writer.write(*block.read(writer.name))
                    counts[pair] += block.count
                    advance(meter.add(block.size), note=pair)
                    block = next(blocks, None)
    return counts


class _SideWriter:
    """Writes the token sequences of one side of a pair, and where each of them starts."""

    def __init__(self, stack: ExitStack, directory: Path, *, pair: str, name: str) -> None:
        self._tokens = stack.enter_context(child(directory, pair, f"{name}.tokens").open("wb"))
        self._offsets = stack.enter_context(child(directory, pair, f"{name}.offsets").open("wb"))
        self.name = name
        self._end = 0  # number of ids so far
        # The first sequence starts at 0, every other one where the one before it ends.
        self._offsets.write(np.zeros(1, dtype=np.int64).tobytes())

    def write(self, ids: NDArray[Any], lengths: NDArray[np.int64]) -> None:
        self._tokens.write(ids.data)
        self._offsets.write((self._end + np.cumsum(lengths)).tobytes())
        self._end += int(lengths.sum())


def _check_offsets(offsets: NDArray[Any], path: Path) -> None:
    """Refuse starts of sequences that do not follow each other: others would be read as sequences."""
    # Block by block: the differences of all at once would fill the memory.
    sound = int(offsets[0]) == 0
    for start in range(0, len(offsets) - 1, _CHECKED):
        sound = sound and bool((np.diff(offsets[start : start + _CHECKED + 1]) >= 0).all())
    if not sound:
        raise NeuronspecError(f"{path} does not hold the starts of sequences: run prepare again with --force")


def _map_file(path: Path, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """Return the numbers in a file, mapped into memory.

    Raises:
        NeuronspecError: If the file is missing or has another size.
    """
    # A file that was cut off would give wrong ids instead of an error.
    expected = count * dtype.itemsize
    size = path.stat().st_size if path.is_file() else None
    if size != expected:
        found = "is missing" if size is None else f"has {size} bytes, not {expected}"
        raise NeuronspecError(f"{path} {found}: the token store is damaged; run prepare again with --force")

    # An empty file cannot be mapped.
    return np.memmap(path, dtype=dtype, mode="r") if count else np.empty(0, dtype=dtype)
