"""The journal of a training: JSON lines always, trackers on request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from neuronspec.files import write_text

LOG_FILE = "log.jsonl"


class Journal:
    """Appends one JSON object a line to `log.jsonl`; a resumed training goes on where its checkpoint left off.

    Args:
        directory: where the log is.
        update: the updates that the resumed checkpoint had done; later lines are of a lost run and are dropped.
        accelerator: knows the trackers, and which process writes.
    """

    def __init__(self, directory: Path, update: int, accelerator: Accelerator) -> None:
        self.path = directory / LOG_FILE
        self.accelerator = accelerator
        if accelerator.is_main_process:
            kept = [entry for entry in read_log(self.path) if entry["update"] <= update]
            write_text(self.path, "".join(json.dumps(entry) + "\n" for entry in kept))

    def write(self, update: int, values: Mapping[str, Any]) -> None:
        """Log values after `update` updates; nested mappings become `a/b` for trackers."""
        if self.accelerator.is_main_process:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"update": update, **values}) + "\n")
            self.accelerator.log(_flatten(values), step=update)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a log; a last line that a crash cut short is left out."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}/") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
