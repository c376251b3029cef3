"""Opening a file of text: plain, compressed, or within a zip archive, as its content says and not its name."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import functools
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from neuronspec.errors import NeuronspecError, did_you_mean

# `ARCHIVE!MEMBER`, or a path alone; a "!" elsewhere belongs to a name.
ARCHIVE_PATH = re.compile(r"(?:(.+?\.\w{3})!)?(.+)", re.DOTALL)

LONGEST_LINE = 1 << 28  # bytes; more than any text, less than memory

_PEEK = 512  # bytes that tell what a file is
_TAR_MAGIC = slice(257, 262)


@dataclass(frozen=True)
class _Compression:
    """A format of compressed files.

    Args:
        name: name of the format, for messages.
        suffix: usual end of file names.
        magic: pattern of the first bytes of every such file, and of no UTF-8 text.
        start: bytes that every such file begins with, by which a truncated one is known.
        open: function from the stream of a file to that of its content.
    """

    name: str
    suffix: str
    magic: re.Pattern[bytes]
    start: bytes
    open: Callable[[BinaryIO], BinaryIO]


def open_bytes(path: str | Path) -> contextlib.AbstractContextManager[BinaryIO]:
    """Open a file, or `ARCHIVE!MEMBER` of a zip archive, and decompress it if it is compressed.

    Gzip, bzip2, xz and Zstandard are recognized by the first bytes, whatever the name. Nothing is ever unpacked to
    disk, and memory holds a block at a time.

    Args:
        path: the file. One whose name holds a `!` is taken as a file if it exists.

    Raises:
        NeuronspecError: it is missing, damaged, truncated, compressed twice, or an archive itself. What is found
            while it is read is raised within the context.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "plain-name")
        ...     _ = file.write_bytes(gzip.compress(b"Guten Morgen"))
        ...     with open_bytes(file) as stream:
        ...         stream.read()
        b'Guten Morgen'
    """
    return _open_bytes(str(path))


def read_lines(path: str | Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file that `open_bytes` opens, without their ends.

    A line ends with a line feed, or a carriage return and a line feed, and with nothing else: the other
    characters that Unicode calls line breaks belong to the text, or two aligned files would lose step.

    Raises:
        NeuronspecError: the file is missing, damaged or not UTF-8, or a line has no end.
    """
    with open_bytes(path) as stream:
        for number, raw in enumerate(iter(functools.partial(stream.readline, LONGEST_LINE), b""), 1):
            if len(raw) == LONGEST_LINE:
                raise NeuronspecError(
                    f"{path}:{number} is longer than {LONGEST_LINE >> 20} MiB, which is no line of text; "
                    "expected one sentence a line"
                )
            yield decode(raw.removesuffix(b"\n").removesuffix(b"\r"), path, number)


def exists(path: str | Path) -> bool:
    """Tell whether there is such a file, or such a member of a zip archive."""
    archive, member = split_archive(path)
    if archive is None:
        return Path(path).exists()
    if not archive.is_file():
        return False
    with open_archive(archive) as opened:
        return member in opened.namelist()


def split_archive(path: str | Path) -> tuple[Path | None, str]:
    """Return the archive and the member that `ARCHIVE!MEMBER` names; None and the path itself for a plain path."""
    found = ARCHIVE_PATH.fullmatch(str(path))
    if found is None or found[1] is None or Path(path).exists():
        return None, str(path)
    return Path(found[1]), found[2]


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive.

    Raises:
        NeuronspecError: it is missing or damaged.
    """
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise NeuronspecError(f"{path} is not a sound zip archive ({error}); fetch it again") from error
    with archive:
        yield archive


@contextlib.contextmanager
def open_member(archive: zipfile.ZipFile, member: str) -> Iterator[BinaryIO]:
    """Open a file within an open zip archive, as `open_bytes` does.

    Raises:
        NeuronspecError: the archive has no such member, or it is damaged, encrypted, or compressed in an unknown way.
    """
    name = f"{archive.filename}!{member}"
    if member not in archive.NameToInfo:
        raise missing_member(str(archive.filename), member, archive.namelist())
    with explained_reading(name):
        try:
            stream = archive.open(member)
        except (RuntimeError, NotImplementedError) as error:
            raise NeuronspecError(f"cannot read {name}: {error}; unpack the archive yourself") from error
        with stream:
            yield _decompress(cast(BinaryIO, stream), name)


@contextlib.contextmanager
def explained_reading(name: str | Path) -> Iterator[None]:
    """Turn what goes wrong while `name` is read into one clear sentence."""
    try:
        yield
    except FileNotFoundError:
        raise missing(Path(name)) from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and error.strerror:
            raise NeuronspecError(f"cannot read {name}: {error.strerror}") from error
        raise NeuronspecError(f"{name} is damaged or truncated ({error}); fetch it again") from error


def decode(raw: bytes, name: str | Path, line: int = 1, encoding: str = "utf-8") -> str:
    """Return `raw`, which begins at line `line` of the file `name`, as text; a byte order mark is dropped.

    Args:
        raw: the bytes.
        name: the file, for messages.
        line: number of the first line in `raw`.
        encoding: name of the encoding.

    Raises:
        NeuronspecError: the bytes are not in this encoding.
    """
    if line == 1:
        _refuse_wide(raw, name)
        raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line += before.count(b"\n")
        column = len(before[before.rfind(b"\n") + 1 :].decode(encoding, errors="replace")) + 1
        byte = f"byte 0x{raw[error.start]:02x} at column {column}"
    if encoding == "utf-8":
        raise NeuronspecError(
            f"{name}:{line} is not UTF-8 ({byte}); convert it with iconv -f ITS_ENCODING -t UTF-8"
        ) from None
    raise NeuronspecError(f"{name}:{line} is not {encoding} ({byte}), though the file declares it; mend its header")


def missing(path: Path) -> NeuronspecError:
    """Return the error for a path that does not exist; it names what stands beside it."""
    path = path.absolute()
    while not path.parent.exists():
        path = path.parent
    names = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    hint = did_you_mean(path.name, names)
    beside = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") or "nothing"
    return NeuronspecError(f"{path} does not exist{hint}; {path.parent} holds {beside}")


def missing_member(archive: Path | str, member: str, names: list[str]) -> NeuronspecError:
    """Return the error for a member that an archive does not have."""
    return NeuronspecError(f"{archive} holds no file {member}{did_you_mean(member, names)}")


@contextlib.contextmanager
def _open_bytes(path: str) -> Iterator[BinaryIO]:
    name, member = split_archive(path)
    if name is not None:
        with open_archive(name) as archive, open_member(archive, member) as stream:
            yield stream
        return
    if "\0" in path:
        raise NeuronspecError(f"{path!r} is no name of a file: it holds a NUL character")
    with explained_reading(path), Path(path).open("rb", buffering=0) as raw:
        yield _decompress(cast(BinaryIO, raw), path)


def _decompress(raw: BinaryIO, name: str) -> BinaryIO:
    """Return the stream of a file's content, given the stream of its bytes."""
    raw, start = _peek(raw)
    compression = _recognize(start)
    if compression is None:
        _refuse_truncated_magic(start, name)
        _refuse_archive(start, name)
        return raw
    inner, start = _peek(compression.open(raw))
    if (again := _recognize(start)) is not None:
        raise NeuronspecError(f"{name} is compressed twice ({again.name} within {compression.name}); unpack it once")
    _refuse_archive(start, name)
    return inner


def _peek(stream: BinaryIO) -> tuple[BinaryIO, bytes]:
    """Return a stream of the same bytes, and the first of them."""
    buffered = io.BufferedReader(cast(io.RawIOBase, stream), 1 << 16)
    return buffered, buffered.peek(_PEEK)[:_PEEK]


def _recognize(start: bytes) -> _Compression | None:
    return next((compression for compression in _COMPRESSIONS if compression.magic.match(start)), None)


def _refuse_truncated_magic(start: bytes, name: str) -> None:
    """Refuse a file that is named as a compressed one, and ends before its content could tell."""
    for compression in _COMPRESSIONS:
        if name.endswith(compression.suffix) and compression.start.startswith(start):
            raise EOFError("it is empty" if not start else "it ends after its first bytes")


def _refuse_archive(start: bytes, name: str) -> None:
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        raise NeuronspecError(f"{name} is a zip archive; name a file in it: {name}!MEMBER")
    if start[_TAR_MAGIC] == b"ustar":
        raise NeuronspecError(f"{name} is a tar archive; unpack it, and name a file of it")


def _refuse_wide(raw: bytes, name: str | Path) -> None:
    """Refuse text in UTF-16 or UTF-32, which its byte order mark tells, or the zero in every second byte."""
    marks = {
        codecs.BOM_UTF32_LE: "UTF-32",  # before that of UTF-16, with which it begins
        codecs.BOM_UTF32_BE: "UTF-32",
        codecs.BOM_UTF16_LE: "UTF-16",
        codecs.BOM_UTF16_BE: "UTF-16",
    }
    found = next((encoding for mark, encoding in marks.items() if raw.startswith(mark)), None)
    even, odd = raw[:_PEEK:2], raw[1:_PEEK:2]
    if found is None and len(odd) >= 3:
        if not any(odd) and all(even):
            found = "UTF-16LE"
        elif not any(even) and all(odd):
            found = "UTF-16BE"
    if found is not None:
        raise NeuronspecError(f"{name}:1 is not UTF-8 but {found}; convert it with iconv -f {found} -t UTF-8")


class _ZstdStream(io.RawIOBase):
    """Decompresses frame by frame: the library's own file object ends in silence where a file is cut off."""

    def __init__(self, file: BinaryIO) -> None:
        self._chunks = self._read_chunks(file)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    @staticmethod
    def _read_chunks(file: BinaryIO) -> Iterator[bytes]:
        decompressor = zstandard.ZstdDecompressor(max_window_size=2**31)
        frame = decompressor.decompressobj()
        while block := file.read(1 << 16):
            while block:
                if frame.eof:
                    frame = decompressor.decompressobj()
                yield frame.decompress(block)
                block = frame.unused_data
        if not frame.eof:
            raise EOFError("it ends within a frame")


_COMPRESSIONS = (
    _Compression(
        "gzip", ".gz", re.compile(rb"\x1f\x8b"), b"\x1f\x8b", lambda file: cast(BinaryIO, gzip.GzipFile(fileobj=file))
    ),
    _Compression(
        "bzip2",
        ".bz2",
        re.compile(rb"BZh[1-9](?:\x31\x41\x59\x26\x53\x59|\x17\x72\x45\x38\x50\x90|.{0,5}\Z)", re.DOTALL),
        b"BZh",
        lambda file: cast(BinaryIO, bz2.BZ2File(file)),
    ),
    _Compression(
        "xz",
        ".xz",
        re.compile(rb"\xfd7zXZ\x00"),
        b"\xfd7zXZ\x00",
        lambda file: cast(BinaryIO, lzma.LZMAFile(file)),  # noqa: SIM115
    ),
    _Compression(
        "Zstandard",
        ".zst",
        re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),  # a frame of data, or one to skip
        b"\x28\xb5\x2f\xfd",
        lambda file: cast(BinaryIO, io.BufferedReader(_ZstdStream(file))),
    ),
)
