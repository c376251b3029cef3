"""Values from Python programs as YAML would give them: numbers, texts, lists and mappings of Python itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from neuronspec.reading_limits import VALUES


def make_plain(value: Any, name: str = "a value") -> Any:
    """Return a value as YAML would give it: lists for tuples, ranges and arrays, numbers for scalars of numpy.

    Args:
        value: Value from a program, or from YAML, whose aliases may repeat lists again and again.
        name: Name of what holds the value, for the message.

    Raises:
        NeuronspecError: If it has more values than a configuration needs.

    Example:
        >>> make_plain({"select.k": (0.7, 0.8), "seed": range(1, 3)})
        {'select.k': [0.7, 0.8], 'seed': [1, 2]}
    """
    return _make_plain(value, name, count(1), VALUES.largest)


def _make_plain(value: Any, name: str, numbers: Iterator[int], largest: int) -> Any:
    # What aliases repeat is counted each time.
    if next(numbers) > largest:
        raise VALUES.refuse(f"{name} holds more than", "expected a configuration")

    # Scalars and arrays of numpy and torch, without an import of either
    if hasattr(value, "tolist"):
        return _make_plain(value.tolist(), name, numbers, largest)

    if isinstance(value, Mapping):
        return {
            _make_plain(key, name, numbers, largest): _make_plain(entry, name, numbers, largest)
            for key, entry in value.items()
        }
    if isinstance(value, list | tuple | range):
        return [_make_plain(entry, name, numbers, largest) for entry in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
