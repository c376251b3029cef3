"""File names with placeholders: one name for the files of every direction of a grid."""

from __future__ import annotations

import glob
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from neuronspec.data.locations import find_side, split_at_stars
from neuronspec.errors import NeuronspecError
from neuronspec.languages import expect_language, find_sides, is_known, join_direction, split_direction
from neuronspec.name_patterns import NamePattern, Wildcard
from neuronspec.placeholders import (
    SYSTEM_PLACEHOLDER,
    TASK_PLACEHOLDERS,
    check_placeholders,
    fill_placeholders,
    split_at_placeholders,
)

logger = logging.getLogger(__name__)

# Codes that people make up: of three letters, with a part after a language's code, or for private use.
_MADE_UP = re.compile(r"[A-Za-z]{3}|[A-Za-z]{2,3}[-_]\w.*|[xX]-.+")


def fill_template(template: str | Path, task: str, side: Literal["src", "tgt"]) -> Path:
    """Return the file of a direction.

    Args:
        template: File name with `{src}` and `{tgt}` for the languages, `{task}` for both, `{lang}` for that of the
            side.
        task: Direction.
        side: Side whose text the file holds.

    Raises:
        NeuronspecError: If the name has an unknown placeholder.

    Example:
        >>> str(fill_template("flores.{lang}", "en-de", "tgt")), str(fill_template("{task}/out.txt", "en-de", "tgt"))
        ('flores.de', 'en-de/out.txt')
    """
    name = str(template)
    check_placeholders(name, TASK_PLACEHOLDERS)

    source, target = split_direction(task)
    lang = source if side == "src" else target
    return Path(fill_placeholders(name, {"src": source, "tgt": target, "task": task, "lang": lang}))


def find_file(template: str | Path, task: str, side: Literal["src", "tgt"]) -> Path:
    """Return the file of a direction that is read; the name that `fill_template` gives it where there is none.

    A `*` stands for any text, and the codes may be those of the same languages in other spellings, as in corpora.

    Args:
        template: File name with placeholders; see `fill_template`.
        task: Direction.
        side: Side whose text the file holds.

    Raises:
        NeuronspecError: If the name has an unknown placeholder, or several files fit.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "flores-deu_Latn.devtest").touch()
        ...     find_file(folder + "/*-{tgt}.devtest", "en-de", "tgt").name
        'flores-deu_Latn.devtest'
    """
    name = str(template)
    check_placeholders(name, TASK_PLACEHOLDERS)

    # `{task}` is nothing but both languages, each of which may be spelled in another way.
    source, target = split_direction(task)
    codes = {"src": source, "tgt": target, "lang": source if side == "src" else target}
    return find_side(name.replace("{task}", "{src}-{tgt}"), codes, spelled=True)


def find_tasks(template: str | Path) -> list[str]:
    """Return the directions for which a template has files, sorted.

    Raises:
        NeuronspecError: If the template does not tell directions apart, or there is no such file.

    Example:
        >>> find_tasks("nowhere/{task}.txt")
        Traceback (most recent call last):
        neuronspec.errors.NeuronspecError: there is no file nowhere/{task}.txt of any direction
    """
    text = str(Path(template))
    if "{task}" not in text and not ("{src}" in text and "{tgt}" in text):
        raise NeuronspecError(f"{text} cannot tell directions apart: write {{task}}, or {{src}} and {{tgt}}, in it")
    check_placeholders(text, TASK_PLACEHOLDERS)

    # Files whose names hold no direction are left out, with a word about them.
    files = _find_task_files(text)
    tasks = _choose_directions(files)
    others = sorted(str(path) for task, path in files.items() if task not in tasks)
    named = ", ".join(others[:5])

    if not tasks:
        found_others = f"; the names of {named} hold no two known languages" if others else ""
        raise NeuronspecError(f"there is no file {text} of any direction{found_others}")
    if others:
        logger.warning(f"left out, for their names hold no direction: {named}")
    return sorted(tasks)


def find_systems(template: str | Path) -> dict[str, str]:
    """Return the template of each system for which a template with `{system}` has files, sorted.

    Args:
        template: File name with `{system}` and the placeholders of `fill_template`.

    Raises:
        NeuronspecError: If there is no such file, or the name of a system looks like a placeholder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for system in ("base", "ours"):
        ...         Path(folder, f"{system}.en-de").touch()
        ...     list(find_systems(folder + "/{system}.{task}"))
        ['base', 'ours']
    """
    text = str(Path(template))
    known = (*TASK_PLACEHOLDERS, SYSTEM_PLACEHOLDER)
    check_placeholders(text, known)

    names = sorted({parts[SYSTEM_PLACEHOLDER] for parts, _ in _match_files(text, known)})
    if not names:
        raise NeuronspecError(f"there is no file {text} of any system and direction")
    for name in names:
        if re.search(r"[*{}]", name):
            raise NeuronspecError(f"{{system}} cannot stand for {name!r}, which has one of the characters * {{ }}")
    return {name: fill_placeholders(text, {SYSTEM_PLACEHOLDER: name}) for name in names}


def _find_task_files(template: str) -> dict[str, Path]:
    """Return the files that fit a template, by the direction that their names give them."""
    files = {}
    for parts, path in _match_files(template, TASK_PLACEHOLDERS):
        task = parts.get("task") or f"{parts['src']}-{parts['tgt']}"
        files[task] = path
    return files


def _match_files(template: str, known: Sequence[str]) -> Iterator[tuple[dict[str, str], Path]]:
    """Yield the files that fit a template, with the text that each placeholder stands for."""
    pieces = split_at_placeholders(template, known)
    pattern = _make_pattern(pieces)

    # Only the part of the path after the last fixed folder is searched.
    start = pieces[0].partition("*")[0]
    folder = Path(start) if start.endswith("/") else Path(start).parent
    if not folder.is_dir():
        return
    rest = template if str(folder) == "." else template[len(str(folder)) + 1 :]
    globbed = fill_placeholders(rest, dict.fromkeys(known, "*"))

    for name in glob.glob(globbed, root_dir=folder, include_hidden=True):  # noqa: PTH207 - quick for any pattern
        # A glob finds too much: it does not see that two places must have the same text.
        path = folder / name
        found = pattern.match(str(path))
        if found is not None:
            yield dict(zip(pattern.names, found, strict=True)), path


def _make_pattern(pieces: list[str]) -> NamePattern:
    """Return the pattern of a template in pieces: a placeholder that comes twice stands for the same text."""
    parts = split_at_stars(pieces[0])

    # Placeholders and the texts after them, in turns.
    for name, text in zip(pieces[1::2], pieces[2::2], strict=True):
        parts += [Wildcard(unit="[^/]", fewest=1, greedy=False, name=name), *split_at_stars(text)]
    return NamePattern(parts)


def list_grid(words: list[str]) -> list[str]:
    """Return the directions that words name: directions themselves, or all pairs of languages.

    Raises:
        NeuronspecError: If a word is neither, or there is only one language.

    Example:
        >>> list_grid(["en", "de", "fr"])
        ['en-de', 'en-fr', 'de-en', 'de-fr', 'fr-en', 'fr-de']
        >>> list_grid(["en-de", "de-en"])
        ['en-de', 'de-en']
    """
    # Directions as they are: then every word must be one.
    if any(_is_direction(word) for word in words):
        return list(dict.fromkeys("-".join(split_direction(word)) for word in words))

    # Languages: all directions between them
    for word in words:
        _check_grid_language(word)
    pairs = [join_direction(source, target) for source in words for target in words if source != target]
    if not pairs:
        raise NeuronspecError("a grid needs directions, or at least two languages: en de fr")
    return list(dict.fromkeys(pairs))


def _is_direction(text: str) -> bool:
    """Return whether a word of a grid is a direction: `de-en`, but not the dialect `gsw-bern`."""
    sides = _split_task(text)
    return sides is not None and all(map(is_known, sides))


def _check_grid_language(word: str) -> None:
    """Refuse a word of a grid that is mistyped, or a direction from a language to itself."""
    source, _, target = word.partition("-")
    if source == target:
        raise NeuronspecError(f"{word!r} goes from a language to itself; expected directions, or languages: en de fr")
    expect_language(word)


def _choose_directions(names: Iterable[str]) -> list[str]:
    """Return the names that are directions: two languages, at least one of which is known.

    `read-me` and `no-notes` are names of other files. An unknown side counts as a language if it looks like a code
    (`gsw-bern`), or if several files have it.
    """
    read = {name: sides for name in names if (sides := _split_task(name)) is not None}

    # A side that several files have is more likely a language than a word.
    counts = Counter(side for sides in read.values() for side in sides)

    def is_language(side: str) -> bool:
        return is_known(side) or _MADE_UP.fullmatch(side) is not None or counts[side] > 1

    return [name for name, sides in read.items() if any(map(is_known, sides)) and all(map(is_language, sides))]


def _split_task(text: str) -> tuple[str, str] | None:
    """Return the two languages of a direction, or None for other text and for a language paired with itself."""
    sides = find_sides(text)
    return None if sides is None or sides[0] == sides[1] else sides
