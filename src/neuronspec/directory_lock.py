"""The lock of a directory of results: one command at a time writes there, on this machine or another.

The lock is the file `.lock`, which says who holds it. It appears with its content, in one step, and its owner keeps the
system's lock (`flock`) on it, which ends with the process however that ends. Where the system has no such lock, or it
does not reach other machines, the owner's number, start and boot show if it still runs, and on other machines the
time of the file, which the owner renews.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from neuronspec import lock_files
from neuronspec.durability import CHECKS, make_folder, recover, sync_entry
from neuronspec.errors import NeuronspecError
from neuronspec.files import explained
from neuronspec.lock_owner import LockOwner, describe_this_process

if TYPE_CHECKING:
    from accelerate import PartialState

logger = logging.getLogger(__name__)

LOCK_FILE = ".lock"
HEARTBEAT = 30.0  # seconds between two signs of life
_PAUSE = 0.02  # seconds between two looks
_CONTEST = 0.5  # seconds after which nobody else takes the same lock over, where the system cannot lock it


class DirectoryLock:
    """The lock of a directory, which is taken once and kept until the block ends.

    Example:
        >>> with DirectoryLock(Path("runs/demo")) as lock:  # doctest: +SKIP
        ...     lock.acquire()

    Args:
        directory: Directory of results; made if it is missing.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / LOCK_FILE
        self._owner = describe_this_process()
        self._descriptor: int | None = None
        self._released = threading.Event()

    def __enter__(self) -> DirectoryLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def is_held(self) -> bool:
        """Whether this process has taken the lock."""
        return self._descriptor is not None

    def acquire(self) -> bool:
        """Take the lock before the first change, and put right what a killed process has left in the directory.

        Returns:
            Whether the directory has become ours just now, so that what was read before may have changed.

        Raises:
            NeuronspecError: If another process writes to the directory; the message names it.
        """
        if self.is_held:
            return False

        with explained(self.directory):
            own = self.path.with_name(f"{LOCK_FILE}.{self._owner.token}")
            try:
                make_folder(self.directory)
                descriptor = self._write(own)
            except FileNotFoundError as error:  # as in /proc
                raise NeuronspecError(
                    f"cannot write {self.directory}: nothing can be made there; choose another place with --out"
                ) from error
            try:
                self._take(own)
            except BaseException:
                os.close(descriptor)
                raise
            finally:
                own.unlink(missing_ok=True)

        self._clear()
        self._descriptor = descriptor
        _HELD.add(self)
        threading.Thread(target=self._show_life, name="lock", daemon=True).start()
        recover(self.directory)
        return True

    def acquire_together(self, processes: PartialState) -> None:
        """Take the lock for all processes of a command; the first one holds it.

        Args:
            processes: The processes that run the command together, or the only one.

        Raises:
            NeuronspecError: If another command writes to the directory; in every process, so that none waits for
                another.
        """
        if processes.num_processes == 1:
            self.acquire()
            return

        from accelerate.utils import broadcast_object_list

        refusal = None
        if processes.is_main_process:
            try:
                self.acquire()
            except NeuronspecError as error:
                refusal = str(error)

        # Every process learns the answer that the first one got.
        refusal = broadcast_object_list([refusal])[0]
        if refusal is not None:
            raise NeuronspecError(refusal)

    def release(self) -> None:
        """Give the lock back, if this process holds it."""
        if self._descriptor is None:
            return
        self._released.set()

        # Only our own file is removed: another process may have taken the lock of one that was silent for too long.
        with contextlib.suppress(OSError):
            if lock_files.is_at(self._descriptor, self.path):
                self.path.unlink()
        self.forget()

    def forget(self) -> None:
        """Close the file without giving the lock back, as in a process that was forked from the owner."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
        _HELD.discard(self)

    def _write(self, own: Path) -> int:
        """Write the content of the lock under another name; return its file, which this process has locked."""
        descriptor = os.open(own, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            lock_files.lock(descriptor)
            os.write(descriptor, f"{json.dumps(self._owner.to_json(), indent=2)}\n".encode())
            os.fsync(descriptor)
        except BaseException:
            os.close(descriptor)
            own.unlink(missing_ok=True)
            raise
        return descriptor

    def _take(self, own: Path) -> None:
        """Give our file the name of the lock, once nobody else holds it."""
        deadline = time.monotonic() + lock_files.PATIENCE
        while not (lock_files.link(own, self.path) or self._take_over(own, deadline)):
            time.sleep(_PAUSE)
        sync_entry(self.directory)

    def _take_over(self, own: Path, deadline: float) -> bool:
        """Take the place of a lock whose owner is gone; return whether that succeeded, or is to be tried again.

        Raises:
            NeuronspecError: If the owner may still run.
        """
        descriptor = self._open()
        if descriptor is None:
            return False
        try:
            grip = lock_files.lock(descriptor)
            if not lock_files.is_at(descriptor, self.path):  # given back or taken over in this moment
                return False

            # Whoever holds the file of an owner that is gone is taking over, or ending.
            owner = lock_files.read(descriptor)
            silence = own.stat().st_mtime - os.fstat(descriptor).st_mtime
            is_gone = lock_files.is_gone(owner, grip, silence)
            if grip != "held" and is_gone:
                self._replace(own, owner, grip)
                return True
            if is_gone and time.monotonic() < deadline:
                return False
            raise NeuronspecError(self._refuse(owner))
        finally:
            os.close(descriptor)

    def _open(self) -> int | None:
        """Return the open file of the lock; None if it was given back in this moment."""
        try:
            return os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            if self.path.is_file() and not self.path.is_symlink():
                raise
            raise NeuronspecError(f"{self.path} is no file of a lock, but would be its place: remove it") from error

    def _replace(self, own: Path, owner: LockOwner | None, grip: lock_files.Grip) -> None:
        """Put our file in the place of a lock whose owner is gone."""
        if owner is not None:
            logger.info("taking over %s from %s, which has ended", self.directory, owner.describe())
        own.replace(self.path)
        if grip == "unknown":
            self._check_contest()

    def _check_contest(self) -> None:
        """Refuse to go on if others have taken the same lock over in this moment: the last one has it."""
        time.sleep(_CONTEST)
        try:
            owner = LockOwner.from_json(json.loads(self.path.read_bytes()))
        except (OSError, ValueError):
            owner = None
        if owner != self._owner:
            raise NeuronspecError(self._refuse(owner))

    def _clear(self) -> None:
        """Remove the files of processes that were killed before theirs became the lock."""
        with contextlib.suppress(OSError):
            now = self.path.stat().st_mtime
            for left in self.directory.glob(f"{LOCK_FILE}.*"):
                if lock_files.is_abandoned(left, now):
                    left.unlink()

    def _refuse(self, owner: LockOwner | None) -> str:
        """Return the message about another process that writes to the directory."""
        if owner is None:
            return f"{self.directory} is in use: another process has locked {self.path}; wait for its end"

        advice = "wait for its end, stop it, or choose another --out"
        if not owner.is_visible():
            advice += (
                f"; if it has ended without giving {self.path} back, remove that file, which counts as abandoned "
                f"after {lock_files.SILENCE / 60:.0f} minutes without a sign of life"
            )
        return f"{self.directory} is in use by {owner.describe()}: {advice}"

    def check(self) -> None:
        """Refuse to go on if another process has taken the lock over.

        Raises:
            NeuronspecError: If it has, because this one was silent for too long or the file was removed.
        """
        if self._descriptor is None or lock_files.is_at(self._descriptor, self.path):
            return
        raise NeuronspecError(
            f"{self.path} was removed or taken over while this process worked in {self.directory}: it stops, so that "
            "two processes do not write there; run the same command again"
        )

    def _show_life(self) -> None:
        """Renew the time of the file until the lock is given back."""
        while not self._released.wait(HEARTBEAT):
            # By its name, as the number of a file that is closed in this moment may be another file's.
            with contextlib.suppress(OSError):
                if self._descriptor is not None and lock_files.is_at(self._descriptor, self.path):
                    os.utime(self.path)


# The locks of this process
_HELD: weakref.WeakSet[DirectoryLock] = weakref.WeakSet()


def _check_all(path: Path) -> None:
    """Refuse to publish something into a directory whose lock this process has lost.

    Raises:
        NeuronspecError: If another process has taken such a lock over.
    """
    for lock in list(_HELD):
        if path.is_relative_to(lock.directory):
            lock.check()


def _forget_all() -> None:
    """Close the files of all locks in a process that was forked: it must not keep what its parent gives back."""
    for lock in list(_HELD):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
CHECKS.append(_check_all)
