"""A model of a disk: what system calls change, what is flushed, and what may be there after a power cut.

After a power cut, the disk holds what was flushed: the content of a file as of its last `fsync`, the names in a folder
as of that folder's last `fsync`. Everything later may be there or not, name by name; of a file's later content, any
part. That is less than most file systems keep, and what POSIX promises.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

Entries = dict[str, "Node"]


@dataclass(eq=False)
class Node:
    """A file or folder.

    Attributes:
        is_folder: Whether it is a folder.
        content: Bytes of a file.
        flushed: Bytes of a file that are on the disk; None if it was never flushed.
        entries: Names in a folder.
        kept: Names in a folder that are on the disk.
        pending: Changes of the names since then, each a function that makes it.
    """

    is_folder: bool
    content: bytearray = field(default_factory=bytearray)
    flushed: bytes | None = None
    entries: Entries = field(default_factory=dict)
    kept: Entries = field(default_factory=dict)
    pending: list[Callable[[Entries], None]] = field(default_factory=list)


class Disk:
    """The directory of a run and what is in it; paths are relative to it.

    Attributes:
        root: The directory; it is there from the beginning.
    """

    def __init__(self) -> None:
        self.root = Node(is_folder=True)

    def find(self, path: str) -> Node:
        """Return what a path names."""
        node = self.root
        for part in _split(path):
            node = node.entries[part]
        return node

    def make_folder(self, path: str) -> None:
        """Make a folder."""
        self._set(path, Node(is_folder=True))

    def open(self, path: str, *, truncates: bool) -> Node:
        """Return the file of a path, which is made if it is missing."""
        folder, name = self._locate(path)
        if name not in folder.entries:
            self._set(path, Node(is_folder=False))
        node = folder.entries[name]
        if truncates:
            node.content = bytearray()
        return node

    def write(self, node: Node, offset: int, data: bytes) -> None:
        """Write into a file."""
        missing = offset - len(node.content)
        if missing > 0:
            node.content.extend(bytes(missing))
        node.content[offset : offset + len(data)] = data

    def truncate(self, node: Node, length: int) -> None:
        """Cut a file, or fill it up with zeros."""
        del node.content[length:]
        node.content.extend(bytes(length - len(node.content)))

    def rename(self, source: str, target: str) -> None:
        """Rename a file or folder; what had the name is gone."""
        (folder, name), (other, new) = self._locate(source), self._locate(target)
        node = folder.entries[name]
        if folder is other:
            self._change(folder, lambda names: _move(names, name, new, node))
        else:
            self._change(other, lambda names: names.__setitem__(new, node))
            self._change(folder, lambda names: _drop(names, name))

    def exchange(self, one: str, two: str) -> None:
        """Exchange what two names in one folder stand for."""
        (folder, name), (_, other) = self._locate(one), self._locate(two)
        first, second = folder.entries[name], folder.entries[other]
        self._change(folder, lambda names: names.update({name: second, other: first}))

    def link(self, source: str, target: str) -> None:
        """Give a file a second name."""
        self._set(target, self.find(source))

    def remove(self, path: str) -> None:
        """Remove a name."""
        folder, name = self._locate(path)
        self._change(folder, lambda names: _drop(names, name))

    def flush(self, node: Node) -> None:
        """Bring the content of a file, or the names in a folder, to the disk."""
        if node.is_folder:
            node.kept, node.pending = dict(node.entries), []
        else:
            node.flushed = bytes(node.content)

    def _locate(self, path: str) -> tuple[Node, str]:
        *folders, name = _split(path)
        return self.find("/".join(folders)), name

    def _set(self, path: str, node: Node) -> None:
        folder, name = self._locate(path)
        self._change(folder, lambda names: names.__setitem__(name, node))

    def _change(self, folder: Node, change: Callable[[Entries], None]) -> None:
        change(folder.entries)
        folder.pending.append(change)


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _drop(names: Entries, name: str) -> None:
    names.pop(name, None)


def _move(names: Entries, name: str, new: str, node: Node) -> None:
    # Both halves of a rename within a folder reach the disk together.
    names.pop(name, None)
    names[new] = node


State = dict[str, bytes | None]
"""Content of every file by path, None for a folder."""


@dataclass(frozen=True)
class Loss:
    """What a power cut takes of all that was not flushed.

    Attributes:
        draw: Source of what is random; None to take everything.
        keeps_all: Whether nothing is lost, as when a process is killed but the machine runs on.
    """

    draw: random.Random | None = None
    keeps_all: bool = False

    def names(self, folder: Node) -> Entries:
        """Return the names of a folder that are left."""
        if self.keeps_all:
            return folder.entries
        left = dict(folder.kept)
        for change in folder.pending:
            if self.draw is not None and self.draw.random() < 0.5:
                change(left)
        return left

    def content(self, file: Node) -> bytes:
        """Return the content of a file that is left."""
        if self.keeps_all or bytes(file.content) == file.flushed:
            return bytes(file.content)
        if self.draw is None:
            return file.flushed or b""
        return self.draw.choice([file.flushed or b"", bytes(file.content), self._spoil(bytes(file.content))])

    def _spoil(self, content: bytes) -> bytes:
        """Return a content of which the end is cut, or is zeros."""
        assert self.draw is not None
        length = self.draw.randrange(len(content) + 1)
        return content[:length] + (bytes(len(content) - length) if self.draw.random() < 0.5 else b"")


def cut_power(disk: Disk, loss: Loss) -> State:
    """Return what the disk holds after a power cut."""
    state: State = {}

    def visit(folder: Node, path: str) -> None:
        for name, node in loss.names(folder).items():
            place = f"{path}/{name}".lstrip("/")
            state[place] = None if node.is_folder else loss.content(node)
            if node.is_folder:
                visit(node, place)

    visit(disk.root, "")
    return state


def build(state: State, directory: Path) -> None:
    """Write a state into a directory that does not exist."""
    directory.mkdir(parents=True)
    for path, content in sorted(state.items(), key=lambda item: item[0].count("/")):
        place = directory / path
        if content is None:
            place.mkdir(exist_ok=True)
        else:
            place.write_bytes(content)


def list_losses(draw: random.Random, number: int) -> Iterable[Loss]:
    """Return ways of losing what was not flushed: nothing, everything, and some at random."""
    return itertools.chain([Loss(keeps_all=True), Loss()], (Loss(draw) for _ in range(number)))


def sign(state: State) -> int:
    """Return a number that is the same for equal states."""
    return hash(frozenset((path, content) for path, content in state.items()))


def is_below(path: str, directory: Path) -> bool:
    """Return whether an absolute path lies in a directory, or is it."""
    return path == str(directory) or path.startswith(f"{directory}{os.sep}")
