"""One registry for everything that can be extended by name: architectures, rules, methods, presets, formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, overload

from neuronspec.errors import NeuronspecError, did_you_mean

Entry = TypeVar("Entry")
Other = TypeVar("Other")


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

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Return a decorator that files its argument under `name`.

        Raises:
            NeuronspecError: If the name is taken.
        """

        def add(entry: Entry) -> Entry:
            # A second entry would replace the first in silence.
            if name in self._entries:
                raise NeuronspecError(f"the {self.kind} {name!r} is registered already")
            self._entries[name] = entry
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
