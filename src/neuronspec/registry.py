"""One registry for everything that can be extended by name: architectures, rules, methods, presets, formats."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, Generic, TypeVar, overload

from neuronspec.errors import NeuronspecError, did_you_mean

Entry = TypeVar("Entry")
Other = TypeVar("Other")

_OWN = __name__.partition(".")[0]


class Registry(Mapping[str, Entry], Generic[Entry]):
    """A mapping from names to entries that refuses duplicates and suggests the nearest known name.

    Args:
        kind: Kind of the entries, for error messages (`"method"`).

    Example:
        >>> rules = Registry[int]("rule")
        >>> rules.register("one")(1)
        1
        >>> rules["one"], list(rules)
        (1, ['one'])
        >>> rules["on"]
        Traceback (most recent call last):
        neuronspec.errors.NeuronspecError: unknown rule 'on' (did you mean 'one'?); known: one
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}  # in the order of registration, which lists and messages keep
        self._modules: dict[str, str] = {}  # modules outside of this package, by the entries that they registered
        _registries.append(weakref.ref(self))

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Return a decorator that files its argument under `name`.

        Raises:
            NeuronspecError: If the name is taken.
        """

        module = _find_module(sys._getframe(1))

        def add(entry: Entry) -> Entry:
            # A second entry would replace the first in silence.
            if name in self._entries:
                raise NeuronspecError(f"the {self.kind} {name!r} is registered already")
            self._entries[name] = entry
            if module.partition(".")[0] != _OWN:
                self._modules[name] = module
            return entry

        return add

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise NeuronspecError(
                f"unknown {self.kind} {name!r}{did_you_mean(name, self._entries)}; known: {', '.join(self._entries)}"
            )
        return self._entries[name]

    @overload
    def get(self, name: str, default: None = None, /) -> Entry | None: ...
    @overload
    def get(self, name: str, default: Entry | Other, /) -> Entry | Other: ...
    def get(self, name: str, default: Any = None, /) -> Any:
        """Return the entry of a name, or the default if there is none."""
        # The version of `Mapping` expects a KeyError from `__getitem__`.
        return self._entries.get(name, default)

    def __contains__(self, name: object) -> bool:
        # The version of `Mapping` looks the name up and expects a KeyError.
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


# Not a set: a registry equals any mapping with the same entries, so it has no hash.
_registries: list[weakref.ref[Registry[Any]]] = []


def list_registering_modules() -> list[str]:
    """Return the modules outside of this package that have registered something, in the order of their names.

    A process that works for this one has to import them.
    """
    living = [registry for reference in _registries if (registry := reference()) is not None]
    found = {module for registry in living for name, module in registry._modules.items() if name in registry}
    return sorted(found)


def _find_module(frame: FrameType | None) -> str:
    """Return the module whose code registers something, through functions of this package or not."""
    name = ""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        # A function of this package registers for its caller; its modules register for themselves.
        if name.partition(".")[0] != _OWN or frame.f_code.co_name == "<module>":
            break
        frame = frame.f_back
    return name
