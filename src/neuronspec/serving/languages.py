"""The languages of the service: the codes of clients, the codes of directions, and names for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from neuronspec.errors import NeuronspecError
from neuronspec.languages import (
    Meaning,
    find_language,
    find_sides,
    list_spellings,
    match_language,
    names_language,
    read_code,
    suggest_language,
)

# Codes that LibreTranslate's clients send and that no standard has
_OF_CLIENTS: Final[Mapping[str, str]] = {"zt": "zh-Hant", "pb": "pt-BR"}
_LISTED: Final = 30  # codes in a message


@dataclass(frozen=True, kw_only=True)
class ServedLanguage:
    """A language that can be translated from or into.

    Attributes:
        code: Code for clients: the short one (`de`), with the script where the service has the language in several.
        name: English name, or the code of a language that nobody knows.
        spellings: Codes of the language in the directions.
        targets: Codes for clients of the languages that it can be translated into.
    """

    code: str
    name: str
    spellings: tuple[str, ...]
    targets: tuple[str, ...]


class ServedLanguages:
    """The languages of some directions, found by any code that means one of them and no other.

    Args:
        tasks: Directions. The name of a task that is no direction is left out: no pair of languages means it.

    Example:
        >>> served = ServedLanguages(["eng_Latn-zho_Hans", "zho_Hans-eng_Latn"])
        >>> [(language.code, language.name, language.targets) for language in served]
        [('en', 'English', ('zh',)), ('zh', 'Chinese', ('en',))]
        >>> served.find_task("en", "zh_CN")
        'eng_Latn-zho_Hans'
    """

    def __init__(self, tasks: Iterable[str]) -> None:
        pairs = [(task, sides) for task in tasks if (sides := find_sides(task)) is not None]
        codes = _choose_codes([side for _, sides in pairs for side in sides])

        # Of several directions with one meaning, the first is the one that translates.
        self._tasks: dict[tuple[str, str], str] = {}
        for task, (source, target) in pairs:
            self._tasks.setdefault((codes[source], codes[target]), task)
        self._languages = {code: self._describe(code, codes) for code in dict.fromkeys(codes.values())}

    def __iter__(self) -> Iterator[ServedLanguage]:
        yield from self._languages.values()

    @property
    def sources(self) -> list[ServedLanguage]:
        """The languages that can be translated from."""
        return [language for language in self if language.targets]

    def find(self, code: str) -> ServedLanguage:
        """Return the language that a code means.

        Args:
            code: Code in any spelling.

        Raises:
            NeuronspecError: If it means none of the languages, or several of them.
        """
        wanted = code if code in self._languages else _OF_CLIENTS.get(code, code)
        found = self._list_meant(wanted)
        if len(found) == 1:
            return self._languages[found[0]]
        if found:
            raise NeuronspecError(f"the language {code!r} may be {' or '.join(found)} here: send one of these codes")
        raise NeuronspecError(
            f"the language {code!r} is not translated here{suggest_language(wanted)}; known: {_list(self._languages)}"
        )

    def find_task(self, source: str, target: str) -> str:
        """Return the direction from one language to another.

        Args:
            source: Code of the source language, in any spelling.
            target: Code of the target language, in any spelling.

        Raises:
            NeuronspecError: If a code means none or several of the languages, or there is no such direction.
        """
        first, second = self.find(source), self.find(target)
        task = self._tasks.get((first.code, second.code))
        if task is not None:
            return task

        able = f"it is translated into {_list(first.targets)}" if first.targets else "it is no source language here"
        raise NeuronspecError(f"there is no direction from {first.code} to {second.code}: {able}")

    def _list_meant(self, code: str) -> list[str]:
        """Return the codes for clients of the languages that a code may mean."""
        # A code of the service itself means what it says.
        by_spelling = {spelling: one.code for one in self for spelling in (*one.spellings, one.code)}
        if code in by_spelling:
            return [by_spelling[code]]

        codes = list(self._languages)
        try:
            return _match_codes(code, codes)
        except NeuronspecError:  # a text that cannot be a code
            return []

    def _describe(self, code: str, codes: Mapping[str, str]) -> ServedLanguage:
        spellings = tuple(spelling for spelling, chosen in codes.items() if chosen == code)
        return ServedLanguage(
            code=code,
            name=find_language(code).name,
            spellings=spellings,
            targets=tuple(target for source, target in self._tasks if source == code),
        )


def _match_codes(code: str, codes: Sequence[str]) -> list[str]:
    """Return the codes that may be meant by another code."""
    # The same written language, or several of them where the code names no script
    same = [codes[number] for number in list_spellings([code], [[one] for one in codes])]
    if same:
        return same

    # A main form stands for a variant that is missing (pt for pt-BR), and the only variant for its main form.
    main = match_language(code, codes)
    return [main] if main is not None else [one for one in codes if match_language(one, [code]) is not None]


def _choose_codes(spellings: Sequence[str]) -> dict[str, str]:
    """Return the code for clients of each spelling; spellings of one language share it."""
    meanings = {spelling: read_code(spelling) for spelling in spellings}

    # A language in several scripts: each code names its script, so that none stands for all.
    scripts = Counter(language for language, _ in {(one.language, one.script) for one in meanings.values()})
    return {
        spelling: _add_script(spelling, one) if scripts[one.language] > 1 else find_language(spelling).code
        for spelling, one in meanings.items()
    }


def _add_script(spelling: str, meaning: Meaning) -> str:
    parts = [meaning.language, meaning.script, meaning.region, meaning.variant]
    code = "-".join(filter(None, parts))
    return code if names_language(code, spelling) else spelling


def _list(codes: Iterable[str]) -> str:
    """Return the first codes for a message, the others counted."""
    listed = list(codes)
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more
