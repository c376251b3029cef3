"""The log of a training: JSON lines, and trackers such as TensorBoard if the configuration names some."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from neuronspec.durability import remove
from neuronspec.errors import NeuronspecError
from neuronspec.files import write_text
from neuronspec.reading_limits import TEXT, read_bytes

LOG_FILE = "log.jsonl"


class Journal:
    """Appends lines to `log.jsonl`, one JSON object each.

    Args:
        directory: Directory of the log.
        update: Number of updates of the checkpoint from which the training resumes; later lines are dropped.
        accelerator: Accelerator with the trackers; its main process writes.
    """

    def __init__(self, directory: Path, update: int, accelerator: Accelerator) -> None:
        self.path = directory / LOG_FILE
        self.accelerator = accelerator
        # Updates after the checkpoint are made and logged again.
        if accelerator.is_main_process:
            kept = [entry for entry in read_log(self.path) if entry["update"] <= update]
            _clear_place(self.path)
            write_text(self.path, "".join(json.dumps(entry) + "\n" for entry in kept))

    def write(self, update: int, values: Mapping[str, Any]) -> None:
        """Log values after `update` updates; trackers get single values, the keys of nested mappings as `a/b`."""
        if self.accelerator.is_main_process:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"update": update, **values}) + "\n")
                # The checkpoint that follows says that this line was written: it must not reach the disk before it.
                file.flush()
                os.fsync(file.fileno())
            self.accelerator.log(_flatten_keys(values), step=update)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a log; lines that are damaged are left out, so that no log keeps a training from going on.

    A crash can cut the last line short; any other damage comes from outside.
    """
    try:
        lines = read_bytes(path, TEXT).splitlines() if path.is_file() else []
    except (OSError, NeuronspecError):
        return []
    return [entry for entry in map(_parse_entry, lines) if entry is not None]


def _parse_entry(line: bytes) -> dict[str, Any] | None:
    """Return the entry in a line, or None where it is damaged."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    update = entry.get("update") if isinstance(entry, dict) else None
    return entry if isinstance(update, int) and not isinstance(update, bool) and update >= 0 else None


def _clear_place(path: Path) -> None:
    """Put aside what stands in the place of a log, and is no file."""
    if (path.exists() and not path.is_file()) or path.is_symlink():
        aside = path.with_name(f"{path.name}.damaged")
        remove(aside)
        path.rename(aside)


def _flatten_keys(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten_keys(value, f"{prefix}{key}/")
        elif not isinstance(value, list):
            flat[f"{prefix}{key}"] = value
    return flat
