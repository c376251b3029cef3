"""The surroundings of a task: a worker must have the same ones as the process that wants the result."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import platform
import secrets
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as find_version
from pathlib import Path

from neuronspec.errors import NeuronspecError, first_line
from neuronspec.files import explained
from neuronspec.registry import list_registering_modules
from neuronspec.version import __version__

MAIN = "__main__"
PROBE = ".neuronspec-{}"  # name of a hidden file, with something random

# Libraries on which the bits of results depend
_LIBRARIES = (
    *("torch", "transformers", "tokenizers", "sentencepiece", "sacrebleu", "numpy", "scipy", "py3langid"),
    *("ctranslate2",),
)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The state of a process that tasks depend on, to be found again on a worker.

    Attributes:
        level: Level of the least important messages to collect.
        extensions: Names and folders of the modules that have registered formats, metrics and other entries.
        directory: Working directory, from which relative paths lead to the same files everywhere; None for workers that
            have it already.
        probes: Hidden files that a worker sees if it shares the folders that they are in.
        versions: Versions of Python, this package and libraries; empty for workers that cannot differ.
    """

    level: int
    extensions: tuple[tuple[str, str], ...] = ()
    directory: str | None = None
    probes: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()

    @functools.cache  # noqa: B019 - a worker sees few different surroundings
    def check(self) -> None:
        """Refuse to work where the versions or the files differ; what was found to be equal is not checked again.

        Raises:
            NeuronspecError: If this process has another version, does not see a folder, or lacks a module.
        """
        if self.versions:
            _check_versions(self.versions)
        places = [self.directory] if self.directory is not None else []
        for place in (*places, *self.probes):
            if not Path(place).exists():
                folder = place if place == self.directory else str(Path(place).parent)
                raise NeuronspecError(
                    f"the worker {_name_worker()} does not see the files in {folder}: start workers where they share a "
                    "file system with this command"
                )
        for module, folder in self.extensions:
            _import_extension(module, folder)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Check the surroundings, and be in the working directory for the block."""
        self.check()
        if self.directory is None:
            yield
            return
        with contextlib.chdir(self.directory):
            yield


def list_extension_folders() -> tuple[tuple[str, str], ...]:
    """Return the modules that have registered something, with the folders from which they were imported."""
    found = []
    for name in list_registering_modules():
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is None:  # an interactive program, or a module that is gone
            found.append((name, ""))
            continue

        # The folder on the path lies as many levels above the file as the name has parts.
        path = Path(file).resolve()
        levels = name.count(".") + (path.stem == "__init__")
        found.append((name, str(path.parents[levels])))
    return tuple(found)


def list_versions() -> tuple[tuple[str, str], ...]:
    """Return the versions of everything on which the bits of results depend."""
    found = [("python", ".".join(platform.python_version_tuple()[:2])), ("neuronspec", __version__)]
    for library in _LIBRARIES:
        try:
            found.append((library, find_version(library)))
        except PackageNotFoundError:
            found.append((library, "none"))
    return tuple(found)


@contextlib.contextmanager
def shared_folders(folders: Sequence[Path]) -> Iterator[tuple[str, ...]]:
    """Yield hidden files by which workers recognize folders, or the nearest ones above those that do not exist yet."""
    probes = []
    try:
        for folder in dict.fromkeys(map(_find_existing, folders)):
            probe = folder / PROBE.format(secrets.token_hex(8))
            with explained(folder):
                probe.touch(exist_ok=False)
            probes.append(probe)
        yield tuple(map(str, probes))
    finally:
        for probe in probes:
            probe.unlink(missing_ok=True)


def _find_existing(folder: Path) -> Path:
    """Return a folder as an absolute path, or the nearest folder above it that exists."""
    path = folder.resolve()
    return next(place for place in (path, *path.parents) if place.is_dir())


def _check_versions(expected: Sequence[tuple[str, str]]) -> None:
    """Refuse a worker whose results could differ.

    Raises:
        NeuronspecError: If a version differs.
    """
    own = dict(list_versions())
    different = [
        f"{name} {own.get(name, 'none')} instead of {version}" for name, version in expected if own.get(name) != version
    ]
    if different:
        raise NeuronspecError(
            f"the worker {_name_worker()} has {' and '.join(different)}: results could differ; start workers from the "
            "same environment as this command"
        )


def _import_extension(module: str, folder: str) -> None:
    """Import a module that registers something, which may come from a folder that is not on the path here."""
    sys.path.append(folder)
    try:
        importlib.import_module(module)
    except Exception as error:
        raise NeuronspecError(
            f"the worker {_name_worker()} cannot import {module}, which registers something: {first_line(error)}"
        ) from error
    finally:
        sys.path.remove(folder)


def _name_worker() -> str:
    return f"on {socket.gethostname()} (process {os.getpid()})"
