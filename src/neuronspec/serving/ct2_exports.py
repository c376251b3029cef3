"""Exports for CTranslate2 on disk: finding them, and what each of them translates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from neuronspec.errors import NeuronspecError, first_line
from neuronspec.exports.ct2_usage import CT2Usage, read_usage
from neuronspec.exports.places import EXPORT_FILE
from neuronspec.files import read_json

FORMAT: Final = "ct2"
WEIGHTS: Final = "model.bin"
_HOW_TO_EXPORT: Final = "neuronspec export --model DIR --task en-de --format ct2 --out DIR"

Stamp = tuple[tuple[int, int, int], ...]
"""Device numbers, sizes and times of an export's files, which differ when another export takes its place."""


@dataclass(frozen=True, kw_only=True)
class CT2Export:
    """An export of one direction.

    Attributes:
        directory: Its directory.
        usage: Way of translating with it.
        masked: Whether it has the neurons of the direction only; otherwise it is the dense model.
        bytes: Bytes of its weights.
        stored: Precision that the weights are stored in.
        stamp: State of its files when it was read.
    """

    directory: Path
    usage: CT2Usage
    masked: bool
    bytes: int
    stored: str
    stamp: Stamp


def find_exports(places: Sequence[Path]) -> list[CT2Export]:
    """Return the exports in some directories.

    Args:
        places: Exports, and directories whose folders are exports. Exports of other formats are left out.

    Raises:
        NeuronspecError: If there is none in a place, one is damaged, or two have the same direction and neurons.
    """
    found: dict[tuple[str, bool], CT2Export] = {}
    for place in places:
        for directory in _list_directories(place):
            export = read_export(directory)
            other = found.setdefault((export.usage.task, export.masked), export)
            if other.directory.resolve() != directory.resolve():
                kind = "masked" if export.masked else "dense"
                raise NeuronspecError(
                    f"{other.directory} and {directory} are both {kind} exports of {export.usage.task}: leave one out"
                )
    return list(found.values())


def read_export(directory: Path) -> CT2Export:
    """Return what an export says about itself.

    Args:
        directory: Directory of the export.

    Raises:
        NeuronspecError: If it is missing or damaged, or was exported in another format.
    """
    stamp = read_stamp(directory)
    facts = read_json(directory / EXPORT_FILE)
    signature = facts.get("signature") if isinstance(facts, dict) else None
    if not isinstance(signature, dict) or facts.get("format") != FORMAT:
        raise NeuronspecError(f"{directory} is no export for CTranslate2: {_HOW_TO_EXPORT}")

    return CT2Export(
        directory=directory,
        usage=read_usage(directory),
        masked=any(str(key).startswith("masks.") for key in signature),
        bytes=stamp[-1][1],
        stored=str(signature.get("compute_type", "float32")),
        stamp=stamp,
    )


def read_stamp(directory: Path) -> Stamp:
    """Return the state of the files of an export.

    Raises:
        NeuronspecError: If one of them is missing.
    """
    try:
        found = [(directory / name).stat() for name in (EXPORT_FILE, WEIGHTS)]
    except OSError as error:
        raise NeuronspecError(f"{directory} is no export for CTranslate2 (any more): {first_line(error)}") from error
    return tuple((status.st_ino, status.st_size, status.st_mtime_ns) for status in found)


def _list_directories(place: Path) -> list[Path]:
    """Return the directories of the exports in a place."""
    if (place / EXPORT_FILE).is_file():
        return [place]
    if not place.is_dir():
        raise NeuronspecError(f"{place} is no directory: give an export for CTranslate2, or a directory of some")

    # Exports of other formats may lie next to them; one that is damaged is not left out in silence.
    folders = sorted(folder for folder in place.iterdir() if (folder / EXPORT_FILE).is_file())
    directories = [folder for folder in folders if _has_format(read_json(folder / EXPORT_FILE))]
    if not directories:
        raise NeuronspecError(f"{place} holds no export for CTranslate2: {_HOW_TO_EXPORT}")
    return directories


def _has_format(facts: Any) -> bool:
    return not isinstance(facts, dict) or facts.get("format", FORMAT) == FORMAT
