"""The table of methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neuronspec.config.schema import METHOD, own_options
from neuronspec.config.sections import Section
from neuronspec.registry import Registry
from neuronspec.training.method import Method

METHODS: Registry[type[Method]] = Registry("method")


def find_method(name: str, options: Mapping[str, Any] | None = None) -> type[Method]:
    """Return the method that a name in a configuration means: the one its options name, else that of this name.

    So a run can have one method in several ways: `{ours_enc: {method: neuron_specialization, stacks: encoder}}`.

    Raises:
        NeuronspecError: there is no such method.
    """
    return METHODS[(options or {}).get(METHOD, name)]


def make_method(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """Return a method with its options; see `find_method`.

    Raises:
        NeuronspecError: there is no such method.
    """
    kind = find_method(name, options)
    return kind(kind.Options.model_validate(own_options(options or {})))


def method_options() -> dict[str, type[Section]]:
    """Return the options class of every method."""
    return {name: kind.Options for name, kind in METHODS.items()}
