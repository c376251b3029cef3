"""Files of other tools on their way in: what a PyTorch file holds, and which mask file belongs to which task."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from neuronspec.artifacts.torch_archives import read_torch_archive
from neuronspec.errors import NeuronspecError

Kind = Literal["checkpoint", "masks", "LAPE"]

_SUFFIXES = (".pt", ".pth", ".bin")
_DIRECTION = re.compile(r"[A-Za-z]{2,8}(?:_[A-Za-z]{2,8})?-[A-Za-z]{2,8}(?:_[A-Za-z]{2,8})?")


def find_kind(path: Path) -> Kind:
    """Return what a PyTorch file holds: a checkpoint of fairseq, released masks, or LAPE's lists of neurons.

    Args:
        path: Path of a file, or of a folder of masks.

    Raises:
        NeuronspecError: If it is damaged, or holds something else.
    """
    if path.is_dir():
        return "masks"

    content = read_torch_archive(path, allowed=[argparse.Namespace], lazily=True)
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        return "checkpoint"
    if isinstance(content, Mapping) and any("fc1.weight" in str(name) for name in content):
        return "masks"
    if isinstance(content, list):
        return "LAPE"
    raise NeuronspecError(
        f"{path} is neither a fairseq checkpoint (with 'model'), nor released masks (encoder.layers.N.fc1.weight), nor "
        f"LAPE's lists of neurons: it holds {_describe(content)}"
    )


def find_mask_files(paths: Sequence[Path], named: Iterable[str]) -> dict[str, Path]:
    """Return the file of each task: named by the user, or by the direction in its own name.

    Args:
        paths: Files, and folders of files.
        named: `NAME=FILE` for files whose names do not show their task; a file may be in a folder of `paths`.

    Raises:
        NeuronspecError: If a file shows no task, or two files the same.
    """
    files: dict[str, Path] = {}
    for text in named:
        task, equals, place = text.partition("=")
        if not (task and equals and place):
            raise NeuronspecError(f"--task is {text[:80]!r}: expected NAME=FILE, such as de-en=masks/one.pt")
        _add_file(files, task, Path(place))

    taken = {path.resolve() for path in files.values()}
    for path in paths:
        for file in _list_files(path):
            if file.resolve() not in taken:
                _add_file(files, _read_task(file), file)
    return files


def _add_file(files: dict[str, Path], task: str, path: Path) -> None:
    if task in files:
        raise NeuronspecError(f"{files[task]} and {path} are both masks of {task}: name one with --task NAME=FILE")
    files[task] = path


def _list_files(path: Path) -> list[Path]:
    """Return a file, or the PyTorch files of a folder, sorted."""
    if not path.is_dir():
        return [path]

    found = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES and file.is_file())
    if not found:
        raise NeuronspecError(
            f"{path} holds no PyTorch files ({', '.join(_SUFFIXES)}): expected the masks of a direction in each"
        )
    return found


def _read_task(path: Path) -> str:
    """Return the direction in a file's name: `de-en.pt`, `masks_de-en.pt`, `de-en.k95.pt`."""
    if _DIRECTION.fullmatch(path.stem):
        return path.stem

    parts = [part for part in re.split(r"[._]", path.stem) if _DIRECTION.fullmatch(part)]
    if len(parts) != 1:
        raise NeuronspecError(f"{path.name} does not show its direction: name it with --task NAME={path}")
    return parts[0]


def _describe(content: Any) -> str:
    """Return what a file holds, in a few words."""
    if isinstance(content, Mapping):
        names = ", ".join(repr(str(name)[:40]) for name in list(content)[:3])
        return f"a mapping with {names or 'nothing'}"
    return f"a {type(content).__name__}"
