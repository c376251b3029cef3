"""Opening a file of text: plain, compressed, or within a zip archive, as its content shows and not its name."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from neuronspec.data.compression import MAGIC_LENGTH, decompress, is_compressed
from neuronspec.data.reading_errors import explained_reading
from neuronspec.data.text_encoding import decode_text
from neuronspec.data.zip_files import open_archive, open_member, split_archive
from neuronspec.errors import NeuronspecError
from neuronspec.reading_limits import LINE, check_file


def open_bytes(path: str | Path) -> contextlib.AbstractContextManager[BinaryIO]:
    """Open a file, or `ARCHIVE!MEMBER` of a zip archive, and decompress it if it is compressed.

    Gzip, bzip2, xz and Zstandard are recognized by the first bytes, whatever the name. Nothing is ever unpacked to
    disk, and memory holds a block at a time.

    Args:
        path: Path of the file. If its name holds a `!`, it is taken as a file where such a file exists.

    Raises:
        NeuronspecError: If it is missing, damaged, truncated, compressed twice, or an archive itself. Faults that
            are found while it is read are raised within the context.

    Example:
        >>> import gzip, tempfile
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
        NeuronspecError: If the file is missing, damaged or not UTF-8, or if a line has no end.
    """
    for number, raw in enumerate(read_raw_lines(path), 1):
        yield decode_text(raw.removesuffix(b"\n").removesuffix(b"\r"), path, number)


def read_raw_lines(path: str | Path) -> Generator[bytes]:
    """Yield the lines of a file that `open_bytes` opens as they are, with their ends.

    Raises:
        NeuronspecError: If the file is missing or damaged, or if a line has no end.
    """
    longest = LINE.largest
    with open_bytes(path) as stream:
        read_line = functools.partial(stream.readline, longest + 1)
        for number, raw in enumerate(iter(read_line, b""), 1):
            # The stream stops reading at the limit, so that no file can fill the memory.
            if len(raw) > longest:
                raise LINE.refuse(f"{path}:{number} is longer than", "expected one sentence a line")

            yield raw


def is_plain(path: str | Path) -> bool:
    """Return whether a file is neither compressed nor in an archive, so that reading can begin anywhere in it.

    Raises:
        NeuronspecError: If it is missing or unreadable.
    """
    archive, _ = split_archive(path)
    if archive is not None:
        return False
    with explained_reading(path), Path(path).open("rb") as file:
        return not is_compressed(file.read(MAGIC_LENGTH))


def exists(path: str | Path) -> bool:
    """Return whether there is such a file, or such a member of a zip archive."""
    # The archive is asked only if it is there: a missing one is no error here.
    archive, member = split_archive(path)
    if archive is None:
        return Path(path).exists()
    if not archive.is_file():
        return False
    with open_archive(archive) as opened:
        return member in opened.namelist()


@contextlib.contextmanager
def _open_bytes(path: str) -> Iterator[BinaryIO]:
    # A member of a zip archive
    name, member = split_archive(path)
    if name is not None:
        with open_archive(name) as archive, open_member(archive, member) as stream:
            yield stream
        return

    # A file of its own; unbuffered, because `decompress` buffers it.
    if "\0" in path:
        raise NeuronspecError(f"{path!r} is no name of a file: it holds a NUL character")
    with explained_reading(path):
        check_file(path)  # what is read twice, as where its format is recognized, cannot be a pipe
    with explained_reading(path), Path(path).open("rb", buffering=0) as raw:
        yield decompress(cast(BinaryIO, raw), path)
