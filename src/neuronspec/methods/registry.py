"""The table of methods."""

from __future__ import annotations

from typing import Any

from neuronspec.config import Section
from neuronspec.registry import Registry
from neuronspec.training.method import Method

METHODS: Registry[type[Method]] = Registry("method")


def make_method(name: str, options: dict[str, Any] | None = None) -> Method:
    """Return a method with its options.

    Raises:
        NeuronspecError: there is no such method.
    """
    kind = METHODS[name]
    return kind(kind.Options.model_validate(options or {}))


def method_options() -> dict[str, type[Section]]:
    """Return the options class of every method."""
    return {name: kind.Options for name, kind in METHODS.items()}
