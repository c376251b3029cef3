"""Values from Python programs as YAML would give them: numbers, texts, lists and mappings of Python itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any


def make_plain(value: Any) -> Any:
    """Return a value as YAML would give it: lists for tuples, ranges and arrays, numbers for scalars of numpy.

    Example:
        >>> make_plain({"select.k": (0.7, 0.8), "seed": range(1, 3)})
        {'select.k': [0.7, 0.8], 'seed': [1, 2]}
    """
    # Scalars and arrays of numpy and torch, without an import of either
    if hasattr(value, "tolist"):
        return make_plain(value.tolist())

    if isinstance(value, Mapping):
        return {make_plain(key): make_plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | range):
        return [make_plain(entry) for entry in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
