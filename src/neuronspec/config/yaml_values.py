"""YAML read as plain values: no key twice, and no more values and nesting than a configuration needs."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

import yaml

from neuronspec.config.plain_values import make_plain
from neuronspec.errors import NeuronspecError, first_line
from neuronspec.files import read_text
from neuronspec.reading_limits import CONFIGURATION, VALUES

_MERGE: Final = "tag:yaml.org,2002:merge"
_LONGEST_NUMBER: Final = 100  # characters; of longer ones, reading and printing takes longer and longer

# What the YAML library raises: values that look like dates or have a tag (`2026-13-01`, `!!int x`) are converted
# without checks of its own, and lists may be nested too deeply.
_ERRORS: Final = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


def read_yaml(path: Path, what: str = "YAML") -> Any:
    """Return the values in a YAML file, or in JSON, in which no key is given twice.

    Args:
        path: Path of the file, which exists.
        what: Name of what is expected, for the message.

    Raises:
        NeuronspecError: If the file is not valid YAML, or has more values than a configuration needs.
    """
    text = read_text(path, f"{path} is not valid YAML: it is no text in UTF-8; expected {what}", CONFIGURATION)
    return _parse(text, _StrictLoader, name=str(path), refusal=f"{path} is not valid YAML")


def parse_yaml(text: str, refusal: str) -> Any:
    """Return the value that a text has in YAML.

    Args:
        text: YAML.
        refusal: Beginning of the message about a text that is not YAML.

    Raises:
        NeuronspecError: If it is not valid YAML, or has too many values.
    """
    return _parse(text, _LimitedLoader, name="it", refusal=refusal)


def _parse(text: str, loader: type[yaml.SafeLoader], *, name: str, refusal: str) -> Any:
    try:
        # Plain values: an alias that refers to itself would have no end.
        return make_plain(yaml.load(text, loader), name)  # noqa: S506 - a SafeLoader
    except _ERRORS as error:
        raise NeuronspecError(f"{refusal}: {_explain(error)}") from error


class _LimitedLoader(yaml.SafeLoader):
    """Safe YAML whose values are limited in number, with those that merge keys (`<<`) repeat, and in length."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._count = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._add(1)
        return super().compose_node(parent, index)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        before = len(node.value)
        super().flatten_mapping(node)
        self._add(len(node.value) - before)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        if len(node.value) > _LONGEST_NUMBER:
            problem = f"a number has {len(node.value):,} characters"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        is_whole = node.tag.endswith(":int")
        found: int | float = self.construct_yaml_int(node) if is_whole else self.construct_yaml_float(node)
        return found

    def _add(self, count: int) -> None:
        self._count += count
        if self._count > VALUES.largest:
            raise VALUES.refuse("the YAML holds more than", "expected a configuration")


for _kind in ("int", "float"):
    _LimitedLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _LimitedLoader.construct_number)


class _StrictLoader(_LimitedLoader):
    """Safe YAML that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        # The plain loader would keep the last value and drop the others without a word.
        seen: set[Hashable] = set()
        for child, _ in node.value:
            if child.tag == _MERGE:  # `<<` brings the keys of other mappings, which may be given again
                continue
            key = self.construct_object(child, deep=True)
            if not isinstance(key, Hashable):
                break  # which the plain loader refuses
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} is given twice", problem_mark=node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _explain(error: Exception) -> str:
    """Return what is wrong with YAML, in one line."""
    if isinstance(error, RecursionError):
        return "its lists or sections are nested too deeply"

    mark = getattr(error, "problem_mark", None)
    if not isinstance(error, yaml.MarkedYAMLError) or mark is None:
        return first_line(error)

    place = f"line {mark.line + 1}, column {mark.column + 1}"
    if "\\t" in (error.problem or ""):
        return f"{place} holds a TAB; indent with spaces"
    return f"{place}: {error.problem}"
