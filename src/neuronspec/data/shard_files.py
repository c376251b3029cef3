"""Files of unfinished work: each is there whole or not at all, and is used only where it was made from the same.

They are not flushed to the disk, since they can be made again: what a power cut leaves of them is known by a checksum.
"""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronspec.artifacts import read_tensors, write_tensors
from neuronspec.errors import NeuronspecError


def write_shard(path: Path, tensors: Mapping[str, NDArray[Any]], *, key: str, described: Mapping[str, Any]) -> None:
    """Write a file of unfinished work.

    Args:
        path: File to write.
        tensors: Arrays by name.
        key: Hash of what they were made from.
        described: Further facts about them, as JSON.
    """
    facts = {"key": key, "checksum": _sum_up(tensors), "described": json.dumps(described)}
    path.parent.mkdir(parents=True, exist_ok=True)

    # A worker of a command that was killed may be at the same block for another moment.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    write_tensors(temporary, tensors, facts)
    temporary.replace(path)


def read_shard(path: Path, key: str) -> dict[str, Any] | None:
    """Return what is known about a file of unfinished work; None if it must be made, or made again.

    Args:
        path: The file.
        key: Hash of what it would be made from now.
    """
    try:
        tensors, facts = read_tensors(path, "np", "unfinished work")
        if facts["key"] == key and facts["checksum"] == _sum_up(tensors):
            return dict(json.loads(facts["described"]))
    except (NeuronspecError, KeyError, ValueError, TypeError):
        # Nothing, or what a power cut left of it
        pass
    return None


def _sum_up(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return a checksum of all numbers."""
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(np.ascontiguousarray(tensors[name]).view(np.uint8).data, total)
    return f"{total:08x}"
