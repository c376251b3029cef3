"""Zip archives, and the files in them, named as `ARCHIVE!MEMBER`."""

from __future__ import annotations

import contextlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from neuronspec.data.compression import decompress
from neuronspec.data.reading_errors import explain_missing, explain_missing_member, explained_reading
from neuronspec.errors import NeuronspecError
from neuronspec.reading_limits import check_file

# `ARCHIVE!MEMBER`, or a path alone; a "!" elsewhere belongs to a name.
ARCHIVE_PATH = re.compile(r"(?:(.+?\.\w{3})!)?(.+)", re.DOTALL)


def split_archive(path: str | Path) -> tuple[Path | None, str]:
    """Return the archive and the member that `ARCHIVE!MEMBER` names; None and the path itself for a plain path."""
    # A file whose own name holds a `!` comes first.
    found = ARCHIVE_PATH.fullmatch(str(path))
    if found is None or found[1] is None or Path(path).exists():
        return None, str(path)
    return Path(found[1]), found[2]


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive.

    Raises:
        NeuronspecError: If it is missing or damaged.
    """
    try:
        check_file(path)
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise explain_missing(path) from None
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise NeuronspecError(f"{path} is not a sound zip archive ({error}); fetch it again") from error

    # Outside of `try`, so that the errors of the body are not taken for damage.
    with archive:
        yield archive


@contextlib.contextmanager
def open_member(archive: zipfile.ZipFile, member: str) -> Iterator[BinaryIO]:
    """Open a file within an open zip archive, and decompress it if it is compressed itself.

    Raises:
        NeuronspecError: If the archive has no such member, or if it is damaged, encrypted, or compressed in an
            unknown way.
    """
    name = f"{archive.filename}!{member}"
    if member not in archive.NameToInfo:
        raise explain_missing_member(str(archive.filename), member, archive.namelist())

    with explained_reading(name):
        # Only opening it shows that it is encrypted, or compressed by an unknown method.
        try:
            stream = archive.open(member)
        except (RuntimeError, NotImplementedError) as error:
            raise NeuronspecError(f"cannot read {name}: {error}; unpack the archive yourself") from error
        with stream:
            yield decompress(cast(BinaryIO, stream), name)
