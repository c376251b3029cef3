"""Limits on what is read, all in one place: no file can fill the memory or keep a command busy forever.

Files of other people are not trusted: a few kilobytes can unpack to gigabytes, and a pattern can take longer than
anybody waits. Each limit lies far above what real text and real models need. Where one is in the way all the same, an
environment variable of its own raises it; the message names the variable.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from neuronspec.errors import NeuronspecError

_BLOCK: Final = 1 << 20  # bytes that are read at a time
_MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A limit on what is read.

    Attributes:
        variable: Environment variable that sets another limit.
        default: Largest number that is accepted, unless the variable says otherwise.
        unit: Unit of that number, in the plural: `bytes`.
        description: Description of what is limited, for the documentation.
    """

    variable: str
    default: int
    unit: str
    description: str

    @property
    def largest(self) -> int:
        """The largest number that is accepted.

        Raises:
            NeuronspecError: If the environment variable holds no such number.
        """
        text = os.environ.get(self.variable, "").strip()
        if not text:
            return self.default
        if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text)):
            raise NeuronspecError(
                f"{self.variable} is {text[:40]!r}; expected a whole number of {self.unit}, from 1 on"
            )
        return int(text)

    def __str__(self) -> str:
        """Return the limit with its unit: `16 MiB`, `100,000 values`."""
        largest = self.largest
        if self.unit == "bytes" and largest % _MEBIBYTE == 0:
            return f"{largest >> 30:,} GiB" if largest % (_MEBIBYTE << 10) == 0 else f"{largest >> 20:,} MiB"
        return f"{largest:,} {self.unit}"

    def refuse(self, found: str, reason: str) -> NeuronspecError:
        """Return the error for something that is over the limit; it says how to raise the limit.

        Args:
            found: Beginning of the sentence, which ends before the limit: `my.tsv:3 is longer than`.
            reason: Description of what is expected instead.
        """
        return NeuronspecError(
            f"{found} {self}: {reason}; if it is right, set {self.variable} to a larger number of {self.unit}"
        )


LINE: Final = Limit(
    variable="NEURONSPEC_MAX_LINE",
    default=16 * _MEBIBYTE,
    unit="bytes",
    description="A line of text, JSON or a table, or a unit of a translation memory",
)
FILE: Final = Limit(
    variable="NEURONSPEC_MAX_FILE",
    default=64 * _MEBIBYTE,
    unit="bytes",
    description="A file that is read as a whole, unpacked: JSON, a catalog, a member of an archive",
)
TEXT: Final = Limit(
    variable="NEURONSPEC_MAX_TEXT",
    default=1024 * _MEBIBYTE,
    unit="bytes",
    description="Text that is held in memory at once: the outputs of a system, a test set",
)
WINDOW: Final = Limit(
    variable="NEURONSPEC_MAX_WINDOW",
    default=128 * _MEBIBYTE,
    unit="bytes",
    description="Memory that a compressed file (xz, Zstandard) asks for to be unpacked",
)
TENSORS: Final = Limit(
    variable="NEURONSPEC_MAX_TENSORS",
    default=4096 * _MEBIBYTE,
    unit="bytes",
    description="The tensors of a PyTorch file that is imported, unpacked, all together",
)
CONFIGURATION: Final = Limit(
    variable="NEURONSPEC_MAX_CONFIGURATION",
    default=4 * _MEBIBYTE,
    unit="bytes",
    description="A configuration or another YAML file",
)
VALUES: Final = Limit(
    variable="NEURONSPEC_MAX_VALUES",
    default=100_000,
    unit="values",
    description="The keys and values of a configuration, with those that its aliases repeat",
)
SECONDS: Final = Limit(
    variable="NEURONSPEC_MAX_SECONDS",
    default=10,
    unit="seconds",
    description="Computing time of a pattern (`prepare.drop_matching`) on one text",
)

LIMITS: Final = (LINE, FILE, TEXT, WINDOW, TENSORS, CONFIGURATION, VALUES, SECONDS)
"""All limits, in the order of the documentation."""


def read_whole(stream: BinaryIO, name: str | Path, limit: Limit = FILE) -> bytes:
    """Return everything that a stream holds, which is not more than a limit.

    Args:
        stream: Stream of bytes, which may unpack them.
        name: Name of the file, for the message.
        limit: Limit in bytes.

    Raises:
        NeuronspecError: If it holds more.
    """
    # Block by block: the size that a file claims is not believed.
    largest, blocks, size = limit.largest, [], 0
    while block := stream.read(_BLOCK):
        blocks.append(block)
        size += len(block)
        if size > largest:
            raise limit.refuse(f"{name} is larger than", "expected a file of the usual size")
    return b"".join(blocks)


def read_file(path: str | Path, limit: Limit = FILE) -> bytes:
    """Return the content of a file that is read as a whole.

    Args:
        path: Path of the file.
        limit: Limit in bytes.

    Raises:
        NeuronspecError: If it is missing, cannot be read, is no file, or is larger than the limit.
    """
    try:
        return read_bytes(path, limit)
    except FileNotFoundError as error:
        raise NeuronspecError(f"{path} does not exist") from error
    except OSError as error:
        raise NeuronspecError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:  # a NUL in the name
        raise NeuronspecError(f"cannot read {str(path)!r}: it is no name of a file") from error


def read_bytes(path: str | Path, limit: Limit = FILE) -> bytes:
    """Return the content of a file that is read as a whole, for callers that explain what the system refuses.

    Args:
        path: Path of the file.
        limit: Limit in bytes.

    Raises:
        NeuronspecError: If it is larger than the limit.
        OSError: If it is missing, cannot be read, or is something else than a file: a directory, or a pipe or a device,
            which may have no end.
    """
    check_file(path)
    with open(path, "rb") as file:  # noqa: PTH123
        return read_whole(file, path, limit)


def check_file(path: str | Path) -> None:
    """Refuse a pipe or a device: the first waits until somebody writes, the second may have no end.

    Args:
        path: Path of something that is going to be opened as a file.

    Raises:
        OSError: If it is missing, or a pipe or a device. A directory is left to whoever opens it.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116 - strings are paths, too
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "It is a pipe or a device, not a file")
