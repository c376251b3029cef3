"""Things that a worker keeps open from one task to the next, such as a model."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeVar

Opened = TypeVar("Opened")


class _Kept:
    """The latest thing that was opened; one model at a time fits into the memory of a worker."""

    key: Hashable = None
    value: Any = None
    contexts = ExitStack()


def keep_open(key: Hashable, open_thing: Callable[[], AbstractContextManager[Opened]]) -> Opened:
    """Return what a context manager yields, opened once for a key and closed when another one is opened.

    Args:
        key: Description of what is opened, its content included: an equal one is taken for the same.
        open_thing: Function that returns the context manager.
    """
    if key != _Kept.key:
        _Kept.contexts.close()
        _Kept.key = None
        _Kept.value = _Kept.contexts.enter_context(open_thing())
        _Kept.key = key
    opened: Opened = _Kept.value
    return opened
