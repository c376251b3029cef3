"""Translation directions, `src-tgt`, and the two languages in them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from neuronspec.errors import NeuronspecError
from neuronspec.languages.lookup import find_language, find_main_language, find_named
from neuronspec.languages.matching import spell_as
from neuronspec.languages.meaning import Meaning, check_code, read_code
from neuronspec.languages.table import UNKNOWN

# A code with a script or a region as people write it: zh-Hant, pt-BR, es-419, sr-Latn-ME. Not de-fr, DE-FR or de-EN.
_VARIETY = re.compile(r"[a-z]{2,3}(?:[-_][A-Z][a-z]{3})?(?:-[A-Z]{2}|-\d{3})?")
# What people write between two languages in place of a hyphen: de_en, de->en, de:en, de/en, de2en, "de to en".
_JOINT = re.compile(r"\s*(?:[-=]+>|[→–—>:;,/|_2+-]|\bto\b|(?<=\w)\s(?=\w))\s*")
# A code for private use, which may hold any number of hyphens.
_PRIVATE = re.compile(r"[xX]-[A-Za-z0-9-]+")


@functools.lru_cache(maxsize=4096)
def split_direction(task: str) -> tuple[str, str]:
    """Return the source and target language of a translation direction, spelled as in the direction.

    A single hyphen separates the two sides, even if nobody knows them. Codes can contain hyphens themselves: of the
    ways to split at one of several hyphens, the best has two known languages that are written as usual (`zh-Hant`,
    `pt-BR`), then two known languages in any form, then two sides that begin with a known language (`gsw-bern`).

    Args:
        task: Direction `src-tgt`, each side in any spelling.

    Raises:
        NeuronspecError: If the text is no direction, or can be read in several ways.

    Example:
        >>> split_direction("de-en"), split_direction("zh-Hant-pt-BR"), split_direction("hsb-x-foo")
        (('de', 'en'), ('zh-Hant', 'pt-BR'), ('hsb', 'x-foo'))
    """
    # A text can be split at each of its hyphens, unless it is one language with a script or a region.
    readings = _list_splits(task)
    if _is_variety(task) or not readings:
        found = _explain_no_direction(task)
        raise NeuronspecError(f"{found}; expected two languages joined by a hyphen, such as 'de-en'")

    if _names_three_languages(task):
        raise NeuronspecError(
            f"{task!r} names three languages; expected two, such as {'-'.join(task.split('-')[:2])!r}; a region is "
            "written in capital letters, such as 'fr-pt-BR'"
        )

    # The best reading must be the only one of its rank.
    ranks = [_rank_reading(reading) for reading in readings]
    best = [reading for reading, rank in zip(readings, ranks, strict=True) if rank == min(ranks)]
    if len(best) > 1:
        listed = " or ".join(f"{source!r} to {target!r}" for source, target in best)
        raise NeuronspecError(
            f"the direction {task!r} is ambiguous: {listed}; write the code that has a hyphen with an underscore, or "
            "its region in capital letters"
        )
    return best[0]


def join_direction(source: str, target: str) -> str:
    """Return the direction `source-target`, which `split_direction` takes apart again.

    Raises:
        NeuronspecError: If a side cannot be a code, or the direction would not read back as these two.

    Example:
        >>> join_direction("zh-Hant", "en")
        'zh-Hant-en'
    """
    # A hyphen within a code can move the place at which the direction is split again.
    task = f"{check_code(source)}-{check_code(target)}"
    found = split_direction(task)
    if found != (source, target):
        raise NeuronspecError(
            f"{source!r} and {target!r} join to {task!r}, which reads as {found[0]!r} to {found[1]!r}; write one of "
            "them with an underscore in place of its hyphen"
        )
    return task


def find_sides(task: str) -> tuple[str, str] | None:
    """Return the source and target language of a direction, or None for any other name of a task.

    Example:
        >>> find_sides("de-en"), find_sides("law")
        (('de', 'en'), None)
    """
    try:
        return split_direction(task)
    except NeuronspecError:
        return None


def _list_splits(task: str) -> list[tuple[str, str]]:
    """Return all ways to split a text at a hyphen into two codes."""
    cuts = [place for place, letter in enumerate(task) if letter == "-"]
    readings = [(task[:cut], task[cut + 1 :]) for cut in cuts]
    return [reading for reading in readings if all(map(_is_code, reading))]


def _is_code(text: str) -> bool:
    try:
        check_code(text)
    except NeuronspecError:
        return False
    return True


def _is_variety(text: str) -> bool:
    """Return whether a text with hyphens is one known language in a script or region, such as `zh-Hant`."""
    return "-" in text and _VARIETY.fullmatch(text) is not None and read_code(text).registered


def _rank_reading(reading: tuple[str, str]) -> tuple[int, int]:
    """Return how unlikely a reading is: by its less likely side, then by both."""
    ranks = [_rank_side(side) for side in reading]
    return max(ranks), sum(ranks)


def _rank_side(side: str) -> int:
    """Return 0 for a known language as usually written, up to 4 for a text that begins with no language."""
    # Nobody writes the mark of private use by accident.
    if _PRIVATE.fullmatch(side):
        return 0

    # A single word is a language or it is not.
    known = read_code(side).registered
    if "-" not in side:
        return 0 if known else 2

    # Several words: a language with its script or region, best in the usual capitals.
    if known:
        return 0 if _VARIETY.fullmatch(side) or not re.search(r"-[a-z]{2}(?:-|$)", side) else 1
    return 3 if read_code(side.partition("-")[0]).registered else 4  # such as a dialect: gsw-bern


def _explain_no_direction(task: str) -> str:
    """Return why a text is no direction."""
    if _is_code(task) and find_language(task).family != UNKNOWN:
        return f"{task!r} is one language, {find_language(task).name}, not a direction"

    hint = suggest_direction(task)
    return f"{task!r} is no direction{hint}"


def suggest_direction(text: str) -> str:
    """Return a hint with the direction that a text may mean, written in another way or with names, or an empty string.

    Example:
        >>> suggest_direction("de->en"), suggest_direction("german-english"), suggest_direction("Guten Tag.")
        (" (did you mean 'de-en'?)", " (did you mean 'de-en'?)", '')
    """
    # One joint after the other, so that a code such as `zh_Hant` may hold another one.
    for joint in _JOINT.finditer(text):
        sides = _find_code(text[: joint.start()]), _find_code(text[joint.end() :])
        if all(sides) and "-".join(map(str, sides)) != text:
            return f" (did you mean '{sides[0]}-{sides[1]}'?)"
    return ""


def _find_code(text: str) -> str | None:
    """Return a text that is the code of a known language, or the code of the language with that name."""
    if _is_known(text):
        return text
    named = find_named(text)
    return None if named is None else named.code


def _names_three_languages(task: str) -> bool:
    """Return whether a text such as `de-en-fr` is three languages rather than two, of which one has a region.

    A region in small letters is often the code of a language as well: `pt-br`, `zh-tw`. If that very language is the
    main one of the region, such as `fr`, and not the language in front of it, nobody means the region.
    """
    codes = task.split("-")
    if len(codes) != 3 or not all(re.fullmatch("[a-z]{2}", code) and _is_known(code) for code in codes):
        return False
    _, second, third = codes
    return second != third and find_main_language(third) == third


def _is_known(text: str) -> bool:
    return _is_code(text) and read_code(text).registered


def match_direction(task: str, tasks: Iterable[str]) -> str | None:
    """Return the task that means the direction `task`, or None: the same name first, then the same two languages.

    Use it to look up a direction that somebody wrote among the names of masks, counts or adapters.

    Args:
        task: Direction in any spelling, or any other name of a task.
        tasks: Names of tasks; names that are no directions match only themselves. If several mean the same, the
            shortest is chosen, then the first in alphabetical order.

    Example:
        >>> match_direction("deu_Latn-eng_Latn", ["de-en", "en-de"]), match_direction("law", ["de-en"])
        ('de-en', None)
    """
    names = tuple(tasks)
    if task in names:
        return task

    # Other names of tasks have no meaning to compare.
    meanings = _read_meanings(task)
    return None if meanings is None else _index_directions(names).get(meanings)


def spell_pivot(tasks: Iterable[str], pivot: str) -> str:
    """Return the pivot in the spelling that the tasks use.

    Args:
        tasks: Names of tasks; names that are no directions are ignored.
        pivot: Code, in any spelling, of the language that most directions have in common.

    Raises:
        NeuronspecError: If the pivot cannot be a language code.

    Example:
        >>> spell_pivot(["eng_Latn-deu_Latn"], "en")
        'eng_Latn'
    """
    codes = [side for task in tasks for side in find_sides(task) or ()]
    return spell_as(pivot, codes)


@functools.lru_cache(maxsize=256)
def _index_directions(names: tuple[str, ...]) -> dict[tuple[Meaning, Meaning], str]:
    found: dict[tuple[Meaning, Meaning], str] = {}

    # The best name first, since the first one of each meaning stays.
    for name in sorted(names, key=lambda name: (len(name), name)):
        meanings = _read_meanings(name)
        if meanings is not None:
            found.setdefault(meanings, name)
    return found


def _read_meanings(task: str) -> tuple[Meaning, Meaning] | None:
    sides = find_sides(task)
    return (read_code(sides[0]), read_code(sides[1])) if sides else None
