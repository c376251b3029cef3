"""Files of locks: who holds one, how it gets its name, and whether its owner is gone."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Literal

from neuronspec.lock_owner import LockOwner

SILENCE = 600.0  # seconds without a sign of life after which a process of another machine counts as gone
PATIENCE = 10.0  # seconds to wait for a process that is ending

Grip = Literal["free", "held", "unknown"]
"""Who holds the lock of the system on a file: this process now, another one, or nobody, as the system has none here."""

# The system's reasons why it cannot lock a file here, and why a file cannot have a second name
_NO_FLOCK = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
_NO_LINK = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}


def lock(descriptor: int) -> Grip:
    """Lock a file for this process and return who holds it then: nobody else (`free`), or another (`held`)."""
    try:
        import fcntl
    except ImportError:  # not on Windows, where processes are looked up instead
        return "unknown"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return "held"
        if error.errno in _NO_FLOCK:
            return "unknown"
        raise
    return "free"


def link(own: Path, path: Path) -> bool:
    """Give our file the name of the lock as well; return whether the name was free."""
    try:
        os.link(own, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return _claim(own, path)
    return True


def _claim(own: Path, path: Path) -> bool:
    """Do as `link` does where a file has one name only: an empty file claims it first."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        return False
    own.replace(path)
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file still has a name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def read(descriptor: int) -> LockOwner | None:
    """Return the owner that a lock file describes."""
    try:
        return LockOwner.from_json(json.loads(os.pread(descriptor, 2**16, 0)))
    except (ValueError, RecursionError):
        return None


def is_abandoned(left: Path, now: float) -> bool:
    """Return whether nobody will give a file the name of the lock any more."""
    descriptor = os.open(left, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # A file is locked before it is written: without content, its owner may be about to do both.
        grip, owner = lock(descriptor), read(descriptor)
        silence = now - os.fstat(descriptor).st_mtime
        if owner is None:
            return silence > PATIENCE
        return grip != "held" and is_gone(owner, grip, silence)
    finally:
        os.close(descriptor)


def is_gone(owner: LockOwner | None, grip: Grip, silence: float) -> bool:
    """Return whether the owner of a lock file has ended.

    Args:
        owner: Owner that the file describes; None if it describes none.
        grip: Who holds the system's lock on the file.
        silence: Seconds since the owner's last sign of life.
    """
    # Files of ours appear with their content: one without it claims the name for an instant, or is damaged.
    if owner is None:
        return grip == "free" or silence > PATIENCE
    if owner.is_visible():
        return owner.has_ended()

    # Another container on this machine: the system's lock tells. Another machine: only its signs of life do.
    if owner.is_of_this_boot() and grip != "unknown":
        return grip == "free"
    return owner.has_ended() or silence > SILENCE
