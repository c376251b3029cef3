"""Names of registered things in a configuration: rules, metrics, formats, presets and engines, including your own.

A section marks such a key with the registry that knows its names. The registries are in rooms that are built on the
configuration, so they are imported by name, and only when a key has another value than its default.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from neuronspec.errors import did_you_mean
from neuronspec.registry import Registry


@dataclass(frozen=True)
class Registered:
    """Mark of a key whose values are names in a registry.

    Attributes:
        module: Module of the registry.
        registry: Name of the registry in the module.
        also: Other values that the key can have.
    """

    module: str
    registry: str
    also: tuple[str, ...] = ()

    def load(self) -> Registry[Any]:
        """Import and return the registry."""
        found = getattr(importlib.import_module(self.module), self.registry)
        assert isinstance(found, Registry)
        return found

    def list_names(self) -> list[str]:
        """Return every name that the key can have, without short forms."""
        return [*self.also, *self.load()]


def find_mark(field: FieldInfo) -> Registered | None:
    """Return the mark of a key, if its values are registered names."""
    return next((mark for mark in field.metadata if isinstance(mark, Registered)), None)


def find_unregistered(section: type[BaseModel], values: Any, prefix: str = "") -> Iterator[str]:
    """Yield a problem for each name that is not registered, in a section and in the sections within it.

    Args:
        section: Type of the section.
        values: Values that were given for it, before any check.
        prefix: Key of the section with a dot, for messages.
    """
    for name, field in section.model_fields.items() if isinstance(values, dict) else ():
        value, key = values.get(name), f"{prefix}{name}"

        # Not given: defaults are registered in any case.
        if value is None:
            continue

        mark, inner = find_mark(field), find_section(field)

        # A list of names or of sections is checked entry by entry, each with its index in the message.
        entries = {f"{key}.{number}": entry for number, entry in enumerate(value)} if isinstance(value, list) else {}
        for place, entry in (entries or {key: value}).items():
            # Sections are searched in turn; only texts can be names, and other types are for the schema.
            if inner is not None:
                yield from find_unregistered(inner, entry, f"{place}.")
            elif mark is not None and isinstance(entry, str):
                yield from _find_unknown(place, entry, mark)


def find_section(field: FieldInfo) -> type[BaseModel] | None:
    """Return the type of the section, or of the list of sections, that a key holds; None for any other key."""
    # The type itself, or the argument of `list[...]` or `... | None`
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _find_unknown(key: str, name: str, mark: Registered) -> Iterator[str]:
    registry, known = mark.load(), mark.list_names()
    # Short forms are allowed, but only full names are listed.
    short = [alias for entry in registry.values() for alias in getattr(entry, "aliases", ())]
    if name not in known and name not in short:
        yield f"{key}: unknown {registry.kind} {name!r}{did_you_mean(name, known)}; known: {', '.join(known)}"
