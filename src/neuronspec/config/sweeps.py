"""Keys with several values: which lists in a configuration are sweeps, and the points of the grid that they span.

A list is a sweep where the key takes a single value: `select.k: [0.7, 0.8]`. Where the key itself takes a list, only a
list of lists is one. `seed: [1, 2]` and `method: [a, b]` have a meaning of their own, and so are no sweeps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from neuronspec.config.registered import find_section
from neuronspec.config.schema import METHOD, SEED, Config, find_method
from neuronspec.config.sections import Section
from neuronspec.errors import NeuronspecError

# Keys at the top whose lists mean something else, or that no result depends on
_OWN_MEANING = (SEED, METHOD, "out")
MAX_POINTS = 10_000  # runs of a sweep
_SHOWN = 20  # values of a key in a message

Sweeps = Mapping[str, list[Any]]
"""Values of each key that has several, by dotted key."""


def find_sweeps(values: Mapping[str, Any], method_options: Mapping[str, type[Section]] | None = None) -> Sweeps:
    """Return the keys of a configuration that have several values.

    Args:
        values: Values of the configuration before any check; what does not fit is left for the checks.
        method_options: Options class of every known method. Without them, options of methods are not looked at.

    Returns:
        Each key with its values, in ascending order where they are numbers, so that no order of keys or values matters.

    Raises:
        NeuronspecError: If a key has a list of values within its list of values.

    Example:
        >>> dict(find_sweeps({"select": {"k": [0.9, 0.7]}, "score": {"metrics": ["bleu", "chrf"]}}))
        {'select.k': [0.7, 0.9]}
    """
    own = {key: value for key, value in values.items() if key not in _OWN_MEANING and key != "methods"}
    found = dict(_search_section(Config, own, ""))

    methods = values.get("methods")
    if method_options is not None and isinstance(methods, dict):
        for name, options in methods.items():
            found |= _search_method(name, options, method_options)
    return {key: found[key] for key in sorted(found)}


def _search_section(section: type[Any], values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield the keys of a section, and of the sections within it, that have several values."""
    for name, value in values.items():
        # Unknown keys are explained by the schema.
        field = section.model_fields.get(name)
        if field is not None:
            yield from _search_key(field, value, f"{prefix}{name}")


def _search_key(field: FieldInfo, value: Any, key: str) -> Iterator[tuple[str, list[Any]]]:
    inner = find_section(field)
    if isinstance(value, dict) and inner is not None:
        yield from _search_section(inner, value, f"{key}.")

    elif isinstance(value, dict) and get_origin(field.annotation) is dict:
        # Entries of a free form have one type; a name with a dot would look like a section.
        entry_type = get_args(field.annotation)[1]
        for name, entry in value.items():
            if "." not in str(name) and (several := _list_values(f"{key}.{name}", entry_type, entry)):
                yield f"{key}.{name}", several

    # A type and its checks; a mark without a meaning stands in where there are none.
    elif several := _list_values(key, Annotated[(field.annotation, "", *field.metadata)], value):
        yield key, several


def _search_method(name: Any, options: Any, method_options: Mapping[str, type[Section]]) -> dict[str, list[Any]]:
    """Return the options of a method that have several values."""
    # What is no name is explained by the checks.
    kind = find_method(name, options)
    names = isinstance(name, str) and isinstance(kind, str)
    if not names or kind not in method_options or not isinstance(options, dict) or "." in name:
        return {}

    found = dict(_search_section(method_options[kind], options, f"methods.{name}."))
    key = f"methods.{name}.{SEED}"
    if several := _list_values(key, int, options.get(SEED)):
        found[key] = several
    return found


def _list_values(key: str, kind: Any, value: Any) -> list[Any]:
    """Return the different values of a list that a type does not take itself; nothing if it is no such list.

    Raises:
        NeuronspecError: If some of the values are in a list within the list.
    """
    if not isinstance(value, list) or not value:
        return []

    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    if not _has_several(adapter, value):
        return []
    for entry in value:
        if isinstance(entry, list) and _has_several(adapter, entry):
            raise NeuronspecError(
                f"{key}: {show_value(entry)} is a list within a list of values: write one list of values"
            )

    # 1 and 1.0 are one value; a section is named as it is written, without its defaults.
    plain = [_simplify(adapter, entry) for entry in value]
    different = {show_value(entry): entry for entry in plain}
    numbers = all(isinstance(entry, int | float) for entry in plain)
    return sorted(different.values()) if numbers else [different[text] for text in sorted(different)]


def _has_several(adapter: TypeAdapter[Any], value: list[Any]) -> bool:
    """Return whether a list holds values of a type, which does not take the list itself."""
    return not _fits(adapter, value) and any(_fits(adapter, entry) for entry in value)


def _fits(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


def _simplify(adapter: TypeAdapter[Any], value: Any) -> Any:
    """Return a number or text as its type reads it, and anything else as it is."""
    if not _fits(adapter, value):
        return value
    read = adapter.validate_python(value)
    return read if isinstance(read, int | float | str) else value


def show_value(value: Any) -> str:
    """Return a value as it is written on the command line.

    Example:
        >>> show_value(0.7), show_value(["bleu", "chrf"]), show_value("auto"), show_value(None)
        ('0.7', '[bleu,chrf]', 'auto', 'null')
    """
    if isinstance(value, float):
        return repr(value)
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**9)
    return text.removesuffix("\n").removesuffix("\n...").replace(", ", ",")


def list_points(sweeps: Sweeps) -> list[dict[str, Any]]:
    """Return the points of the grid: a value of each key.

    Example:
        >>> list_points({"model.dropout": [0.0, 0.1], "select.k": [0.7, 0.9]})[1]
        {'model.dropout': 0.0, 'select.k': 0.9}
    """
    count = math.prod(map(len, sweeps.values()))
    if count > MAX_POINTS:
        keys = ", ".join(sweeps)
        raise NeuronspecError(f"{keys} make {count:,} runs, at most {MAX_POINTS:,} are made; give fewer values")
    return [dict(zip(sweeps, values, strict=True)) for values in itertools.product(*sweeps.values())]


def name_point(point: Mapping[str, Any]) -> str:
    """Return the name of a point, the same whatever the order of its keys.

    Example:
        >>> name_point({"select.k": 0.9, "model.dropout": 0.0})
        'model.dropout=0.0,select.k=0.9'
    """
    return ",".join(f"{key}={show_value(point[key])}" for key in sorted(point))


def _list_some(values: list[Any]) -> str:
    """Return the first of the values of a key, as they are written on the command line."""
    some = ", ".join(map(show_value, values[:_SHOWN]))
    return f"{some}, ..." if len(values) > _SHOWN else some


def explain_sweeps(sweeps: Sweeps) -> str:
    """Return why a configuration with several values of a key is not that of a single run."""
    keys = "; ".join(f"{key} has several values ({_list_some(sweeps[key])})" for key in sweeps)
    one = {key: several[0] for key, several in sweeps.items()}
    choice = " ".join(f"{key}={show_value(value)}" for key, value in one.items())
    return f"{keys}: choose one, as in {choice}, or do all of them with neuronspec run (in Python: neuronspec.sweep)"
