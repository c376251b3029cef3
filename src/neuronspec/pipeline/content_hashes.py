"""Hashes of contents: a file is read again only after something about it has changed that its file system notes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from neuronspec.errors import NeuronspecError
from neuronspec.files import hash_json, hash_path, read_json, write_json
from neuronspec.pipeline.layout import Layout

State = list[int]
"""Size, time of the last change of the content, inode, and time of the last change of any kind. A program can set the
first time back (`cp -p`, `rsync -t`, `os.utime`), but not the last one."""

_DIGITS: Final = 64  # of a SHA-256
# Two changes within this time can get equal times: a tick of the system's clock, or two seconds where times are whole
_TICK, _COARSE_TICK = 20_000_000, 2_000_000_000  # nanoseconds


class ContentHashes:
    """The hashes of the files that the stages of a run read and write, kept in the directory of the run.

    A hash is reused while a file of the same name has the same size, times and inode, so that what has not changed is
    read once, whatever number of stages depends on it. Names are relative to the directory of the run, which may be
    moved; in a copy, all files are new, and are read once more.

    Args:
        layout: Paths of the run.
        sources: Directories of other runs, which may have read the same files.
    """

    def __init__(self, layout: Layout, sources: Sequence[Path] = ()) -> None:
        self._layout = layout
        self._known = [_read(Layout(place)) for place in (layout.out, *sources)]
        self._is_new = False

    def take(self, paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
        """Return the fingerprints of files and directories by their name in records."""
        return {name_path(path, self._layout): {"hash": self.hash(path)} for path in paths}

    def hash(self, path: Path) -> str | None:
        """Return the hash of the content of a file or directory; None if there is none.

        The hash of a directory is made of the names and contents of those of its files that a stage depends on.
        """
        if path.is_dir():
            files = list_files(path, self._layout)
            return hash_json({file.relative_to(path).as_posix(): self._hash_file(file) for file in files})
        return self._hash_file(path) if path.exists() else None

    def adopt(self, path: Path, state: State, content: str) -> None:
        """Note the hash of a file that was just linked to another one, which changes nothing but the latest time.

        Args:
            path: File of this run.
            state: State of the other file before it was linked.
            content: Hash of the other file in that state.
        """
        now = read_state(path)
        if now[:-1] == state[:-1]:
            self._note(path, now, content)

    def find(self, path: Path) -> tuple[State, str] | None:
        """Return the state of a file and its hash, if the hash is known."""
        state, name = read_state(path), name_path(path, self._layout)
        for known in self._known:
            if name in known and known[name][0] == state:
                return state, known[name][1]
        return None

    def save(self) -> None:
        """Keep what is new for the next command, where that is possible: without it, files are read once more."""
        if self._is_new:
            self._is_new = False
            with contextlib.suppress(NeuronspecError, OSError):
                write_json(self._layout.hashes, self._known[0])

    def _hash_file(self, path: Path) -> str:
        found = self.find(path)
        if found is not None:
            self._note(path, *found)  # what another run knows, too
            return found[1]

        # The state of before reading: what changes meanwhile has another one.
        state = read_state(path)
        is_settled = _is_settled(state)
        content = hash_path(path)
        if is_settled:
            self._note(path, state, content)
        return content

    def _note(self, path: Path, state: State, content: str) -> None:
        own, name = self._known[0], name_path(path, self._layout)
        if own.get(name) != (state, content):
            own[name] = (state, content)
            self._is_new = True


def read_state(path: Path) -> State:
    """Return the state of a file; of a link, that of the file which it leads to."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns]


def list_files(directory: Path, layout: Layout) -> list[Path]:
    """Return the files of a directory that a stage depends on: all but notes about how to use a model."""
    files = (file for file in directory.rglob("*") if file.is_file())
    return sorted(file for file in files if not layout.is_note(file))


def name_path(path: Path, layout: Layout) -> str:
    """Return the name of a path in records: relative within the run, so that a run that was moved stays done."""
    return str(path.relative_to(layout.out)) if path.is_relative_to(layout.out) else str(path)


def _is_settled(state: State) -> bool:
    """Return whether any further change of a file would give it another state: not right after its latest change."""
    changed = state[-1]
    tick = _COARSE_TICK if changed % 1_000_000_000 == 0 else _TICK
    return time.time_ns() - changed > tick


def _read(layout: Layout) -> dict[str, tuple[State, str]]:
    """Return the hashes that a run has kept; of a damaged file, what can be read of it."""
    try:
        kept = read_json(layout.hashes)
    except (NeuronspecError, OSError):
        return {}
    if not isinstance(kept, Mapping):
        return {}
    return {name: (entry[0], entry[1]) for name, entry in kept.items() if _is_entry(entry)}


def _is_entry(entry: Any) -> bool:
    """Return whether this is a state and a hash."""
    if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], list)):
        return False
    state, content = entry
    has_numbers = len(state) == 4 and all(type(number) is int for number in state)
    return has_numbers and isinstance(content, str) and len(content) == _DIGITS
