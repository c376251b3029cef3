"""Error messages about files that cannot be read."""

from __future__ import annotations

import contextlib
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import zstandard

from neuronspec.data import quickstart
from neuronspec.durability import is_temporary
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.reading_limits import WINDOW

_LISTED = 5  # entries of a folder that a message names


@contextlib.contextmanager
def explained_reading(name: str | Path) -> Iterator[None]:
    """Turn what goes wrong while `name` is read into one clear sentence."""
    try:
        yield
    except FileNotFoundError:
        raise explain_missing(Path(name)) from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, zipfile.BadZipFile) as error:
        # With a reason, the system refuses the file; without one, a decompressor has met damage.
        if isinstance(error, OSError) and error.strerror:
            raise NeuronspecError(f"cannot read {name}: {error.strerror}") from error
        if _asks_for_memory(error):
            raise WINDOW.refuse(f"{name} needs more memory to be unpacked than", "compress it anew") from error
        raise NeuronspecError(f"{name} is damaged or truncated ({error}); fetch it again") from error


def _asks_for_memory(error: Exception) -> bool:
    """Return whether a decompressor has refused a file for the memory that it asks for."""
    return any(words in str(error) for words in ("Memory usage limit", "requires too much memory"))


def explain_missing(path: Path) -> NeuronspecError:
    """Return the error for a path that does not exist; it names what is in its folder."""
    # The folder of a file that a command fetches says nothing to whoever looks for it.
    if path.name == quickstart.FILE:
        return NeuronspecError(
            "the text of the quick start is not here yet: neuronspec demo downloads it (43 MB), and then works with it"
        )

    # Report the first part of the path that is missing.
    path = path.absolute()
    while not path.parent.exists():
        path = path.parent

    # What stands there instead shows a mistyped name.
    entries = path.parent.iterdir() if path.parent.is_dir() else ()
    names = sorted(entry.name for entry in entries if not is_temporary(entry))
    hint = did_you_mean(path.name, names)
    more = ", ..." if len(names) > _LISTED else ""
    found = ", ".join(names[:_LISTED]) + more or "nothing"
    return NeuronspecError(f"{path} does not exist{hint}; {path.parent} holds {found}")


def explain_unreadable(path: Path, error: OSError) -> str:
    """Return why a file cannot be read: what is in its folder if it is missing, else the system's reason."""
    if isinstance(error, FileNotFoundError):
        return str(explain_missing(path))
    return (error.strerror or str(error)).lower()


def explain_missing_member(archive: Path | str, member: str, names: list[str]) -> NeuronspecError:
    """Return the error for a member that an archive does not have."""
    return NeuronspecError(f"{archive} holds no file {member}{did_you_mean(member, names)}")
