"""Names on the disk: made, exchanged and removed so that neither a kill nor a power cut leaves half of a change."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

# Endings of hidden names next to a path: what it will hold, what it held before, and what is being deleted
_TEMPORARY, _OLD, _DELETED = ".tmp", ".old", ".del"

# From the system's headers: the current directory as the base of relative paths, and the flag of an exchange
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2

# The system's reasons why two names cannot be exchanged here; a sandbox says EPERM to calls that it does not know
_NO_EXCHANGE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM}

# Functions that are called with every path before it is replaced, and raise an error if it must not be
CHECKS: list[Callable[[Path], None]] = []


def name_temporary(path: Path) -> Path:
    """Return the hidden name under which the next content of a path is written.

    It is the same each time, so that what a killed process has left there is cleared.
    """
    return _hide(path, _TEMPORARY)


def is_temporary(path: Path) -> bool:
    """Return whether a path is what is written before it is in its place.

    Example:
        >>> is_temporary(Path("out/.model.tmp")), is_temporary(Path("out/model"))
        (True, False)
    """
    return path.name.startswith(".") and path.suffix == _TEMPORARY


def make_folder(path: Path) -> None:
    """Make a folder with its parents; the name of each level that is new reaches the disk.

    Args:
        path: Folder; it may exist.
    """
    if path.is_dir():
        return

    # From the top down, since a folder whose own name is lost takes its content with it
    make_folder(path.parent)
    try:
        path.mkdir()
    except FileExistsError:
        if not path.is_dir():
            raise
    with contextlib.suppress(PermissionError):  # of a folder that may be written to but not read
        sync_entry(path.parent)


@contextlib.contextmanager
def leaving_no_empty_folder(path: Path) -> Iterator[None]:
    """Remove a folder and its parents if they were made meanwhile for work that failed before it wrote anything.

    Args:
        path: Folder that the work makes, if it does not exist.
    """
    missing = list(itertools.takewhile(lambda folder: not folder.exists(), (path, *path.parents)))
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # of a folder with content
            for folder in missing:
                folder.rmdir()
        raise


def replace(path: Path, temporary: Path) -> None:
    """Rename a temporary file or directory to `path`, which is there at every instant if it was before.

    Two directories are exchanged in one step where the system and the file system can do that. Elsewhere the old one
    is put aside for a moment, from where `recover` brings it back after a kill.

    Args:
        path: Final name. What it held is gone afterwards.
        temporary: Name next to it, whose content is on the disk.
    """
    for check in CHECKS:
        check(path)

    if not (temporary.is_dir() and path.exists()):
        temporary.replace(path)
        sync_entry(path.parent)
        return

    if exchange(temporary, path):
        # The new name is on the disk before anything of the old content goes.
        sync_entry(path.parent)
        remove(temporary)
        return

    # A directory cannot be renamed over a full one.
    old = _hide(path, _OLD)
    path.rename(old)
    temporary.rename(path)
    sync_entry(path.parent)
    remove(old)


def exchange(one: Path, other: Path) -> bool:
    """Exchange what two names stand for, in one step; return whether that is possible here.

    Args:
        one: Path that exists.
        other: Path that exists, in the same file system.
    """
    rename = _find_renameat2()
    if rename is None:
        return False

    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True

    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


@functools.cache
def _find_renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    """Return the call of Linux that exchanges two names, None where there is none."""
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # another system, or an old library
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    found: Callable[[int, bytes, int, bytes, int], int] = function
    return found


def remove(path: Path) -> None:
    """Remove a file or directory, if it is there; half of a directory never has its name.

    Args:
        path: Path to remove. A link is removed as a link: what it points to stays.
    """
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return

    # The name goes first, on the disk as well, and only then the content; hidden names stand for nothing whole.
    if not path.name.startswith(".") or path.suffix not in (_TEMPORARY, _OLD, _DELETED):
        deleted = _hide(path, _DELETED)
        remove(deleted)
        path.rename(deleted)
        sync_entry(path.parent)
        path = deleted
    shutil.rmtree(path)


def recover_name(path: Path) -> None:
    """Bring back what a path held, if a process was killed between the two renames of `replace`.

    Args:
        path: Path that may be missing.
    """
    old = _hide(path, _OLD)
    if old.exists() and not old.is_symlink() and not os.path.lexists(path):
        old.rename(path)
        sync_entry(path.parent)
    remove(old)  # left by a process that was killed while it deleted it


def recover(directory: Path) -> None:
    """Put right everything below a directory that a killed process has left between two steps.

    What had been put aside gets its name back where nothing new has taken it, and what was being deleted is deleted.

    Args:
        directory: Directory that no other process writes to; it need not exist.
    """
    for folder, folders, _ in os.walk(directory):
        hidden = [name for name in folders if name.startswith(".") and name.endswith((_OLD, _DELETED))]
        for name in hidden:
            folders.remove(name)
            if name.endswith(_DELETED):
                remove(Path(folder, name))
            else:
                recover_name(Path(folder, name[1:].removesuffix(_OLD)))


def sync_tree(path: Path) -> None:
    """Flush a file, or a directory with everything in it, to the disk."""
    # Folders as well as files: what a folder holds is flushed with the folder.
    for entry in [path, *path.rglob("*")] if path.is_dir() else [path]:
        sync_entry(entry)


def sync_entry(path: Path) -> None:
    """Flush the content of a file, or the names in a directory, to the disk."""
    # Opened for reading, since a directory cannot be opened in any other way.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hide(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}{ending}")
