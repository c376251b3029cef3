"""Words in front of a source that tell a model without language tags the direction (`translate German to English:`)."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Any

from transformers import PretrainedConfig

from neuronspec.errors import NeuronspecError
from neuronspec.languages import find_language, match_direction, split_direction

SourcePrefix = str | Mapping[str, str]
"""Words in front of every source, such as `translate {src_name} to {tgt_name}: `, or such words for each task."""

PLACEHOLDERS = ("src", "tgt", "src_name", "tgt_name")
HOW_TO_PREFIX = (
    "say it in words that the model reads in front of each source, such as "
    "model.source_prefix='translate {src_name} to {tgt_name}: ' in a configuration, or --source-prefix"
)


def check_source_prefix(prefix: SourcePrefix) -> None:
    """Refuse a prefix that cannot be filled in.

    Raises:
        NeuronspecError: It has an unknown placeholder, or a brace stands alone.
    """
    for text in prefix.values() if isinstance(prefix, Mapping) else [prefix]:
        try:
            fields = [name for _, name, _, _ in string.Formatter().parse(text)]
        except ValueError as error:
            raise NeuronspecError(f"cannot read the source_prefix {text!r}: {error}") from error
        unknown = [name for name in fields if name is not None and name not in PLACEHOLDERS]
        if unknown:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise NeuronspecError(f"unknown placeholder {{{unknown[0]}}} in the source_prefix {text!r}; known: {known}")


def fill_prefix(prefix: SourcePrefix, task: str) -> str:
    """Return the words in front of the sources of a task.

    Args:
        prefix: Words for all tasks, or for each of them; see `SourcePrefix`.
        task: Direction `src-tgt`.

    Raises:
        NeuronspecError: There are none for this task.

    Example:
        >>> fill_prefix("translate {src_name} to {tgt_name}: ", "de-en")
        'translate German to English: '
    """
    template = _choose(prefix, task) if isinstance(prefix, Mapping) else prefix
    if template is None:
        raise NeuronspecError(f"there is no source_prefix for {task}: give one, or one for all tasks")
    source, target = split_direction(task)
    names = {"src_name": find_language(source).name, "tgt_name": find_language(target).name}
    return template.format(src=source, tgt=target, **names)


def find_declared_prefix(config: PretrainedConfig, task: str) -> str:
    """Return the prefix of a task in a model's configuration, as the first T5 models have some; empty without any.

    Raises:
        NeuronspecError: The configuration has prefixes for other tasks only.
    """
    declared: dict[str, Any] = getattr(config, "task_specific_params", None) or {}
    prefixes = {}
    for name, parameters in declared.items():
        direction = re.fullmatch(r"translation_(\w+)_to_(\w+)", name)
        if direction and isinstance(parameters, dict) and parameters.get("prefix"):
            prefixes[f"{direction[1]}-{direction[2]}"] = str(parameters["prefix"])

    if not prefixes:
        return ""
    found = _choose(prefixes, task)
    if found is None:
        known = ", ".join(prefixes)
        raise NeuronspecError(f"the model's configuration has a prefix for {known}, none for {task}: {HOW_TO_PREFIX}")
    return found


def _choose(prefixes: Mapping[str, str], task: str) -> str | None:
    """Return the prefix of a task, whatever codes its languages are spelled with there; None without one."""
    name = match_direction(task, prefixes)
    return None if name is None else prefixes[name]
