"""The log of a training: JSON lines, and trackers such as TensorBoard if the configuration names some."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from neuronspec.files import write_text

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
    """Return the entries of a log, without a last line that a crash has cut short."""
    if not path.is_file():
        return []

    # After a line that is no JSON there can be nothing: lines are only appended.
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries


def _flatten_keys(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten_keys(value, f"{prefix}{key}/")
        elif not isinstance(value, list):
            flat[f"{prefix}{key}"] = value
    return flat
