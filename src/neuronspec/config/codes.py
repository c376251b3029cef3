"""Language codes and directions in a configuration: what each of them must be, and that none comes twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from neuronspec.errors import NeuronspecError
from neuronspec.languages import Meaning, check_code, join_direction, read_code, split_direction


def check_once(names: list[str]) -> list[str]:
    """Refuse a list in which something comes twice.

    Raises:
        ValueError: If something comes twice.
    """
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ValueError(f"{', '.join(twice)} given more than once")
    return names


def _check_language(code: str) -> str:
    # A ValueError becomes a problem of this key; any other error would end the check.
    try:
        return check_code(code)
    except NeuronspecError as error:
        raise ValueError(str(error)) from error


def _check_direction(task: str) -> str:
    try:
        return join_direction(*split_direction(task))
    except NeuronspecError as error:
        raise ValueError(str(error)) from error


def check_languages_once(codes: list[str]) -> list[str]:
    """Refuse a list of codes in which a language comes twice, in whatever spelling.

    Raises:
        ValueError: If a language comes twice.
    """
    # The same code twice first, since its message is simpler
    check_once(codes)

    first: dict[Meaning, str] = {}
    for code in codes:
        twin = first.setdefault(read_code(code), code)
        if twin != code:
            raise ValueError(f"{twin} and {code} are the same language: keep one of them")
    return codes


def check_directions_once(tasks: list[str]) -> list[str]:
    """Refuse a list of directions in which one comes twice, or a language is spelled in two ways.

    Raises:
        ValueError: If a direction comes twice, or a language is spelled in two ways.
    """
    check_once(tasks)

    # Two spellings of one language would make two tasks with the same text.
    check_languages_once(list(dict.fromkeys(code for task in tasks for code in split_direction(task))))
    return tasks


def _text(code: Any) -> Any:
    # YAML 1.1 reads an unquoted no, the code of Norwegian, as false.
    if code is False:
        raise ValueError('YAML reads no as false: write "no" in quotes')
    return code


# Checked texts: what other modules get is a code or a direction for sure.
LanguageCode = Annotated[str, BeforeValidator(_text), AfterValidator(_check_language)]
Direction = Annotated[str, AfterValidator(_check_direction)]


def check_levels(levels: Mapping[str, list[str]]) -> None:
    """Refuse resource levels that cannot be distinguished.

    Raises:
        ValueError: If a language is in two levels, or a level has the name of another group of directions.
    """
    # A level is the name of a column, next to the groups of all and of other directions.
    for name in levels:
        if not re.fullmatch(r"[A-Za-z][\w.+]*", name) or name in ("all", "other"):
            raise ValueError(f"{name!r} cannot name a level: use a word such as high")

    # A language in two levels, in whatever spelling, would count in both averages.
    seen: set[Meaning] = set()
    for members in levels.values():
        meanings = {read_code(code): code for code in members}
        for meaning, code in meanings.items():
            if meaning in seen:
                raise ValueError(f"{code} is in two levels: every language has one")
        seen |= meanings.keys()
