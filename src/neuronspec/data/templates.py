"""File names with placeholders: one name for the files of every direction of a grid."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Literal

from neuronspec.errors import NeuronspecError
from neuronspec.languages import find_language, join_direction, split_direction

logger = logging.getLogger(__name__)

PLACEHOLDERS = ("{src}", "{tgt}", "{task}", "{lang}")


def fill_template(template: str | Path, task: str, side: Literal["src", "tgt"]) -> Path:
    """Return the file of a direction.

    Args:
        template: a name with `{src}` and `{tgt}` for the languages, `{task}` for both, `{lang}` for that of the side.
        task: the direction.
        side: whose text the file holds.

    Raises:
        NeuronspecError: the name has braces around something else.

    Example:
        >>> str(fill_template("flores.{lang}", "en-de", "tgt")), str(fill_template("{task}/out.txt", "en-de", "tgt"))
        ('flores.de', 'en-de/out.txt')
    """
    source, target = split_direction(task)
    values = {"{src}": source, "{tgt}": target, "{task}": task, "{lang}": source if side == "src" else target}
    unknown = sorted({*re.findall(r"\{\w*\}", str(template))} - {*values})
    if unknown:
        raise NeuronspecError(
            f"unknown placeholder {', '.join(unknown)} in {template}; known: {', '.join(PLACEHOLDERS)}"
        )
    return Path(re.sub(r"\{\w+\}", lambda found: values[found[0]], str(template)))


def find_tasks(template: str | Path) -> list[str]:
    """Return the directions that a template has files of, sorted.

    Raises:
        NeuronspecError: the template does not tell directions apart, or there is no such file.

    Example:
        >>> find_tasks("nowhere/{task}.txt")
        Traceback (most recent call last):
        neuronspec.errors.NeuronspecError: there is no file nowhere/{task}.txt of any direction
    """
    text = str(Path(template))
    if "{task}" not in text and not ("{src}" in text and "{tgt}" in text):
        raise NeuronspecError(f"{text} cannot tell directions apart: write {{task}}, or {{src}} and {{tgt}}, in it")
    unknown = sorted({*re.findall(r"\{\w*\}", text)} - {*PLACEHOLDERS})
    if unknown:
        raise NeuronspecError(f"unknown placeholder {unknown[0]} in {text}; known: {', '.join(PLACEHOLDERS)}")
    pieces = re.split(r"(\{\w+\})", text)
    seen: set[str] = set()

    def match(piece: str) -> str:
        if piece not in PLACEHOLDERS:
            return re.escape(piece)
        name = piece[1:-1]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>[^/]+?)"

    pattern = re.compile("".join(map(match, pieces)))
    fixed = Path(pieces[0]) if pieces[0].endswith("/") else Path(pieces[0]).parent
    glob = re.sub(r"\{\w+\}", "*", text[len(str(fixed)) + 1 :] if str(fixed) != "." else text)
    tasks, others = set(), []
    for path in fixed.glob(glob) if fixed.is_dir() else ():
        if found := pattern.fullmatch(str(path)):
            parts = found.groupdict()
            task = parts.get("task") or f"{parts['src']}-{parts['tgt']}"
            if _is_direction(task):
                tasks.add(task)
            else:
                others.append(path)
    if not tasks:
        raise NeuronspecError(f"there is no file {text} of any direction")
    if others:
        logger.warning(f"left out, for their names hold no direction: {', '.join(map(str, sorted(others)[:5]))}")
    return sorted(tasks)


def list_grid(words: list[str]) -> list[str]:
    """Return the directions that words name: directions themselves, or languages, of which every pair is meant.

    Raises:
        NeuronspecError: a word is neither, or there is only one language.

    Example:
        >>> list_grid(["en", "de", "fr"])
        ['en-de', 'en-fr', 'de-en', 'de-fr', 'fr-en', 'fr-de']
        >>> list_grid(["en-de", "de-en"])
        ['en-de', 'de-en']
    """
    if any(_is_direction(word) for word in words):
        return list(dict.fromkeys("-".join(split_direction(word)) for word in words))
    for word in words:
        find_language(word)
    pairs = [join_direction(source, target) for source in words for target in words if source != target]
    if not pairs:
        raise NeuronspecError("a grid needs directions, or at least two languages: en de fr")
    return list(dict.fromkeys(pairs))


def _is_direction(text: str) -> bool:
    try:
        source, target = split_direction(text)
    except NeuronspecError:
        return False
    return source != target
