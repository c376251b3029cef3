"""All training methods: every module of this package is imported, so that each method in it registers itself."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuronspec.config.schema import METHOD, own_options
from neuronspec.config.sections import Section
from neuronspec.methods.registry import METHODS as METHODS
from neuronspec.training.method import Method


def find_method(name: str, options: Mapping[str, Any] | None = None) -> type[Method]:
    """Return the method that a name in a configuration refers to.

    That is the method that its options name (`method`), or else the method of this name. So a run can use one method
    in several ways: `{ours_enc: {method: neuron_specialization, stacks: encoder}}`.

    Args:
        name: Key in the section `methods`.
        options: Options under that key.

    Raises:
        NeuronspecError: If there is no such method.
    """
    return METHODS[(options or {}).get(METHOD, name)]


def make_method(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """Return a method with its options; the arguments are those of `find_method`.

    Raises:
        NeuronspecError: If there is no such method.
    """
    kind = find_method(name, options)
    return kind(kind.Options.model_validate(own_options(options or {})))


def method_options() -> dict[str, type[Section]]:
    """Return the options class of every method."""
    return {name: kind.Options for name, kind in METHODS.items()}


# A new file in this folder is found without being listed anywhere.
for _module in pkgutil.iter_modules([str(Path(__file__).parent)]):
    importlib.import_module(f"neuronspec.methods.{_module.name}")
