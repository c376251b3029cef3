"""Compressed files, recognized by their first bytes, whatever their name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO, cast

import zstandard

from neuronspec.data.foreign_files import refuse_foreign
from neuronspec.errors import NeuronspecError
from neuronspec.reading_limits import WINDOW

_BLOCK_SIZE = 1 << 16  # bytes that are read at a time
_ZSTD_BLOCK = 1 << 8  # a byte can unpack to 32,000, all at once
MAGIC_LENGTH = 512  # bytes that show what a file is
_TAR_MAGIC = slice(257, 262)  # a tar archive is marked here, not at its beginning


@dataclass(frozen=True, kw_only=True)
class _Compression:
    """A format of compressed files.

    Attributes:
        name: Name of the format, for messages.
        suffix: Usual end of file names.
        magic: Pattern of the first bytes of every such file, and of no UTF-8 text.
        start: Bytes that every such file begins with, by which a truncated one is known.
        open: Function from the stream of a file to that of its content.
    """

    name: str
    suffix: str
    magic: re.Pattern[bytes]
    start: bytes
    open: Callable[[BinaryIO], BinaryIO]


def decompress(raw: BinaryIO, name: str) -> BinaryIO:
    """Return the stream of a file's content, given the stream of its bytes.

    Args:
        raw: Stream of the file's bytes.
        name: Name of the file, for messages.

    Raises:
        NeuronspecError: If the file is compressed twice, or is an archive of several files.
        EOFError: If it has the name of a compressed file and ends after its first bytes.
    """
    # Plain content, unless the name or the first bytes show something else.
    raw, start = _peek(raw)
    compression = _recognize_compression(start)
    if compression is None:
        _refuse_truncated_start(start, name)
        _refuse_archive(start, name)
        return raw

    # The content must be text: one layer is unpacked, and no more.
    inner, start = _peek(compression.open(raw))
    again = _recognize_compression(start)
    if again is not None:
        raise NeuronspecError(f"{name} is compressed twice ({again.name} within {compression.name}); unpack it once")
    _refuse_archive(start, name)
    return inner


def is_compressed(start: bytes) -> bool:
    """Return whether a file with these first bytes is compressed."""
    return _recognize_compression(start) is not None


def strip_compression(path: PurePath) -> PurePath:
    """Return a path without the suffix of a compression.

    Example:
        >>> strip_compression(PurePath("train/de.tsv.xz")).name
        'de.tsv'
    """
    return path.with_suffix("") if path.suffix in _SUFFIXES else path


def _peek(stream: BinaryIO) -> tuple[BinaryIO, bytes]:
    """Return a stream of the same bytes, and the first of them."""
    buffered = io.BufferedReader(cast(io.RawIOBase, stream), _BLOCK_SIZE)
    return buffered, buffered.peek(MAGIC_LENGTH)[:MAGIC_LENGTH]


def _recognize_compression(start: bytes) -> _Compression | None:
    return next((compression for compression in _COMPRESSIONS if compression.magic.match(start)), None)


def _refuse_truncated_start(start: bytes, name: str) -> None:
    """Refuse a file that is named like a compressed one, but ends before its content could show it."""
    for compression in _COMPRESSIONS:
        if name.endswith(compression.suffix) and compression.start.startswith(start):
            raise EOFError("it is empty" if not start else "it ends after its first bytes")


def _refuse_archive(start: bytes, name: str) -> None:
    refuse_foreign(start, name)

    # A zip archive begins with its first file, or, if it is empty, with its end.
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        raise NeuronspecError(f"{name} is a zip archive; name a file in it: {name}!MEMBER")
    if start[_TAR_MAGIC] == b"ustar":
        raise NeuronspecError(f"{name} is a tar archive; unpack it, and name a file of it")


class _ZstdStream(io.RawIOBase):
    """Decompresses frame by frame: the library's own file object ends in silence where a file is cut off."""

    def __init__(self, file: BinaryIO) -> None:
        self._chunks = self._read_chunks(file)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        # A chunk may be empty without being the last one.
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)

        # What the buffer cannot hold waits for the next call.
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    @staticmethod
    def _read_chunks(file: BinaryIO) -> Iterator[bytes]:
        decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW.largest)
        frame = decompressor.decompressobj()

        while block := file.read(_ZSTD_BLOCK):
            while block:
                # A file may hold several frames; a block may hold the end of one and the beginning of the next.
                if frame.eof:
                    frame = decompressor.decompressobj()
                yield frame.decompress(block)
                block = frame.unused_data

        if not frame.eof:
            raise EOFError("it ends within a frame")


class _XzStream(io.RawIOBase):
    """Decompresses stream by stream: the library's own file object sets no limit to the memory that a file asks for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stream = self._begin()
        self._rest = b""  # what was read, but not yet decompressed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        # Little input can make much output, and much input none.
        while not (chunk := self._decompress(len(buffer))):
            if self._stream.eof and not self._has_next():
                return 0
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def _decompress(self, most: int) -> bytes:
        if self._stream.eof:
            return b""
        if self._stream.needs_input:
            self._rest = self._rest or self._file.read(_BLOCK_SIZE)
            if not self._rest:
                raise EOFError("it ends within a stream")
        raw, self._rest = self._rest, b""
        return self._stream.decompress(raw, most)

    def _has_next(self) -> bool:
        """Begin the stream that follows the one that has ended; zeros may stand between them."""
        self._rest = self._stream.unused_data.lstrip(b"\0")
        while not self._rest and (block := self._file.read(_BLOCK_SIZE)):
            self._rest = block.lstrip(b"\0")
        if not self._rest:
            return False
        self._stream = self._begin()
        return True

    @staticmethod
    def _begin() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=WINDOW.largest)


_COMPRESSIONS = (
    _Compression(
        name="gzip",
        suffix=".gz",
        magic=re.compile(rb"\x1f\x8b"),
        start=b"\x1f\x8b",
        open=lambda file: cast(BinaryIO, gzip.GzipFile(fileobj=file)),
    ),
    _Compression(
        name="bzip2",
        suffix=".bz2",
        # A block (pi), the end of an empty file (the root of pi), or a file that is cut off before either.
        magic=re.compile(rb"BZh[1-9](?:\x31\x41\x59\x26\x53\x59|\x17\x72\x45\x38\x50\x90|.{0,5}\Z)", re.DOTALL),
        start=b"BZh",
        open=lambda file: cast(BinaryIO, bz2.BZ2File(file)),
    ),
    _Compression(
        name="xz",
        suffix=".xz",
        magic=re.compile(rb"\xfd7zXZ\x00"),
        start=b"\xfd7zXZ\x00",
        open=lambda file: cast(BinaryIO, io.BufferedReader(_XzStream(file))),
    ),
    _Compression(
        name="Zstandard",
        suffix=".zst",
        magic=re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),  # a frame of data, or one to skip
        start=b"\x28\xb5\x2f\xfd",
        open=lambda file: cast(BinaryIO, io.BufferedReader(_ZstdStream(file))),
    ),
)

_SUFFIXES = frozenset(compression.suffix for compression in _COMPRESSIONS)
