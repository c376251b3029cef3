"""Files of tensors read and written as they are, whatever their header says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def read_raw(path: Path) -> tuple[dict[str, torch.Tensor], Any]:
    """Return the tensors and the header of a file."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        return tensors, json.loads(file.metadata()["neuronspec"])


def write_raw(path: Path, tensors: Mapping[str, torch.Tensor], header: Any) -> None:
    """Write tensors with any JSON value as their header."""
    save_file(dict(tensors), path, {"neuronspec": json.dumps(header)})
