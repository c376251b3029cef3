"""Placeholders in file names, such as `{src}` and `{lang}`: one name stands for the files of many directions."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from neuronspec.errors import NeuronspecError, did_you_mean

CORPUS_PLACEHOLDERS = ("lang", "src", "tgt")
"""Placeholders in the path of a corpus: the language that a file stands for, the source and the target."""
TASK_PLACEHOLDERS = ("src", "tgt", "task", "lang")
"""Placeholders in the files of a grid: source and target, both together, and the language of the file's text."""
SYSTEM_PLACEHOLDER = "system"
"""Placeholder for the name of the system whose translations a file of a grid holds."""

# A name may be empty, so that `{}` is refused as unknown.
_PLACEHOLDER = re.compile(r"\{(\w*)\}")


def check_placeholders(template: str, known: Collection[str]) -> None:
    """Refuse a template that has unknown placeholders.

    Args:
        template: File name with placeholders.
        known: Names of the placeholders that it may have.

    Raises:
        NeuronspecError: If it has another one.

    Example:
        >>> check_placeholders("train/{lang}.tsv", ["lang", "src", "tgt"])
        >>> check_placeholders("train/{language}.tsv", ["lang", "src", "tgt"])
        Traceback (most recent call last):
        neuronspec.errors.NeuronspecError: unknown placeholder {language} in train/{language}.tsv (did you mean \
'lang'?); known: {lang}, {src}, {tgt}
    """
    # Each once, in the order of the template.
    unknown = [name for name in dict.fromkeys(_PLACEHOLDER.findall(template)) if name not in known]
    if not unknown:
        return

    found = ", ".join(f"{{{name}}}" for name in unknown)
    expected = ", ".join(f"{{{name}}}" for name in known)
    hint = did_you_mean(unknown[0], known)
    raise NeuronspecError(f"unknown placeholder {found} in {template}{hint}; known: {expected}")


def fill_placeholders(template: str, values: Mapping[str, str]) -> str:
    """Return a template with values in place of its placeholders; other braces stay.

    Args:
        template: File name with placeholders.
        values: Text for each placeholder, by its name.

    Example:
        >>> fill_placeholders("{src}-{tgt}/{lang}.txt", {"src": "de", "tgt": "en", "lang": "de"})
        'de-en/de.txt'
    """
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template)


def split_at_placeholders(template: str, known: Collection[str]) -> list[str]:
    """Return the pieces of a template: text and the name of a placeholder in turns, text first and last.

    Example:
        >>> split_at_placeholders("out/{task}.txt", ["task"])
        ['out/', 'task', '.txt']
    """
    # `re.split` keeps the names, because they are a group.
    return re.split(rf"\{{({'|'.join(known)})\}}", template)
