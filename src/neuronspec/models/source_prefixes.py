"""Source prefixes: words that give a model without language tags the direction (`translate German to English:`)."""

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
        NeuronspecError: If it has an unknown placeholder or a single brace.
    """
    texts = list(prefix.values()) if isinstance(prefix, Mapping) else [prefix]
    for text in texts:
        try:
            fields = [name for _, name, _, _ in string.Formatter().parse(text)]
        except ValueError as error:
            raise NeuronspecError(f"cannot read the source_prefix {text!r}: {error}") from error

        # Text without a placeholder has the field None.
        unknown = [name for name in fields if name is not None and name not in PLACEHOLDERS]
        if unknown:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise NeuronspecError(f"unknown placeholder {{{unknown[0]}}} in the source_prefix {text!r}; known: {known}")


def fill_prefix(prefix: SourcePrefix, task: str) -> str:
    """Return the words in front of the sources of a task.

    Args:
        prefix: Words for all tasks or for each task; see `SourcePrefix`.
        task: Direction `src-tgt`.

    Raises:
        NeuronspecError: If there are none for this task.

    Example:
        >>> fill_prefix("translate {src_name} to {tgt_name}: ", "de-en")
        'translate German to English: '
    """
    template = _find_prefix(prefix, task) if isinstance(prefix, Mapping) else prefix
    if template is None:
        raise NeuronspecError(f"there is no source_prefix for {task}: give one, or one for all tasks")

    source, target = split_direction(task)
    names = {"src_name": find_language(source).name, "tgt_name": find_language(target).name}
    return template.format(src=source, tgt=target, **names)


def find_declared_prefix(config: PretrainedConfig, task: str) -> str:
    """Return the prefix that a model's configuration declares for a task, as the first T5 models do; empty for none.

    Raises:
        NeuronspecError: If the configuration has prefixes for other tasks only.
    """
    # Such as `translation_en_to_de: {prefix: "translate English to German: "}`.
    declared: dict[str, Any] = getattr(config, "task_specific_params", None) or {}
    prefixes = {}
    for name, parameters in declared.items():
        direction = re.fullmatch(r"translation_(\w+)_to_(\w+)", name)
        if direction and isinstance(parameters, dict) and parameters.get("prefix"):
            prefixes[f"{direction[1]}-{direction[2]}"] = str(parameters["prefix"])

    if not prefixes:
        return ""

    found = _find_prefix(prefixes, task)
    if found is None:
        known = ", ".join(prefixes)
        raise NeuronspecError(f"the model's configuration has a prefix for {known}, none for {task}: {HOW_TO_PREFIX}")
    return found


def _find_prefix(prefixes: Mapping[str, str], task: str) -> str | None:
    """Return the prefix of a task, in any spelling of its language codes; None for none."""
    name = match_direction(task, prefixes)
    return None if name is None else prefixes[name]
