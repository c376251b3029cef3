"""Lines that a run prints about its stages."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LINE = re.compile(r"stage \d+ of \d+, (.*)")
_FINISHED = re.compile(r"(\S+): .* \([0-9.]+ (s|min|h)[^()]*\)")


def read_stages(lines: Iterable[str]) -> list[str]:
    """Return lines without the numbers of stages; that of a stage which has run is `train: finished`."""
    found = []
    for line in lines:
        numbered = _LINE.fullmatch(line)
        finished = numbered and _FINISHED.fullmatch(numbered[1])
        found.append(f"{finished[1]}: finished" if finished else numbered[1] if numbered else line)
    return found


def list_finished(lines: Iterable[str]) -> list[str]:
    """Return the names of the stages that have run."""
    return [line.removesuffix(": finished") for line in read_stages(lines) if line.endswith(": finished")]


def reasons_of(lines: Iterable[str]) -> dict[str, str]:
    """Return the stages that have run, each with the reason why it ran again, empty if it had not run before."""
    again = dict(line.split(" again: ", 1) for line in read_stages(lines) if " again: " in line)
    return {name: again.get(name, "") for name in list_finished(lines)}
