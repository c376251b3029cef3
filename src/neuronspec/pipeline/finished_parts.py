"""Finished parts of a stage: what an interrupted stage has written whole need not be made again."""

from __future__ import annotations

from pathlib import Path

from neuronspec.errors import NeuronspecError
from neuronspec.files import read_json, write_json


class FinishedParts:
    """The outputs of a stage that are there, noted in its workspace, which is emptied when the inputs change.

    Args:
        workspace: Directory of the stage's unfinished work.
    """

    def __init__(self, workspace: Path) -> None:
        self._file = workspace / "finished.json"

    def note(self, output: Path) -> None:
        """Note that an output is finished."""
        write_json(self._file, {**self._read(), output.name: _stamp(output)})

    def hold(self, output: Path) -> bool:
        """Return whether an output is finished, and as it was then."""
        return output.exists() and self._read().get(output.name) == _stamp(output)

    def _read(self) -> dict[str, object]:
        # A damaged note is none: the part is made again.
        try:
            noted = read_json(self._file)
        except (NeuronspecError, OSError):
            return {}
        return noted if isinstance(noted, dict) else {}


def _stamp(output: Path) -> list[list[object]]:
    """Return the names, sizes and times of all files of an output."""
    files = sorted(path for path in output.rglob("*") if path.is_file())
    stats = [(file.relative_to(output).as_posix(), file.stat()) for file in files]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
