"""Detecting which of the served languages a text is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import regex

from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.identification import choose_identifier
from neuronspec.evaluation.identifiers import DEFAULT_IDENTIFIER, Identify, rank_labels
from neuronspec.languages import find_language
from neuronspec.serving.languages import ServedLanguage

_CLEAR: Final = 0.5  # smallest probability at which a text is clearly in a language
_LEAST_FIT: Final = 0.01
_LETTER: Final = regex.compile(r"\p{L}")
# The scripts that a language is written in, where its script's code stands for several in Unicode
_CHARACTERS: Final = {
    **{"Hans": r"\p{Han}", "Hant": r"\p{Han}", "Kore": r"\p{Hangul}\p{Han}", "Hang": r"\p{Hangul}\p{Han}"},
    "Jpan": r"\p{Han}\p{Hiragana}\p{Katakana}",
}
# Character sets that hold the simplified characters only, and the traditional ones only
_CHINESE_SETS: Final = {"Hans": ("gb2312", "big5"), "Hant": ("big5", "gb2312")}


@dataclass(frozen=True)
class Detection:
    """A language that a text may be in.

    Attributes:
        code: Code of the language for clients.
        confidence: Percentage from 0 to 100.
    """

    code: str
    confidence: float


@dataclass(frozen=True)
class _Candidate:
    """A language that can be detected: what identifies it, and the labels that count as it."""

    code: str
    script: str
    identify: Identify
    labels: tuple[str, ...]


class Detector:
    """Detects languages of a service.

    Args:
        languages: Languages to choose from. One that the identifier does not know is never detected.
        identifier: Name of the identifier, in `IDENTIFIERS`.

    Raises:
        NeuronspecError: If there is no such identifier, or its library is not installed.
    """

    def __init__(self, languages: Sequence[ServedLanguage], identifier: str = DEFAULT_IDENTIFIER) -> None:
        self._identifier = identifier
        self._candidates: list[_Candidate] = []
        for language in languages:
            known = find_language(language.code)
            identify, labels, _ = choose_identifier(known, identifier)
            if identify is not None:
                self._candidates.append(_Candidate(language.code, known.script, identify, labels))

    def detect(self, text: str) -> list[Detection]:
        """Return the languages that a text may be in, the likeliest first; those that it is not in are left out.

        The confidences add up to 100, except for a text that is clearly in another language: then they are what that
        language leaves. Languages that cannot be told apart share theirs.

        Args:
            text: Text of any length; the longer, the surer.
        """
        if not _LETTER.search(text):
            return []
        ranked = rank_labels(self._identifier, text)
        chances = {one.code: _rate(one, text, ranked) for one in self._candidates}

        other = self._find_other(ranked)
        left = 1.0 if other is None else 1.0 - ranked[other]
        total = sum(chances.values()) or 1.0
        found = [Detection(code, round(100 * left * chance / total, 1)) for code, chance in chances.items()]
        return sorted((one for one in found if one.confidence > 0), key=lambda one: -one.confidence)

    def choose(self, text: str) -> Detection:
        """Return the language that a text is in: the likeliest one.

        A text without letters, which all languages write alike, counts as the first language, with a confidence of 0.

        Args:
            text: Text of any length; the longer, the surer.

        Raises:
            NeuronspecError: If the text is clearly in none of the languages.
        """
        if self._candidates and not _LETTER.search(text):
            return Detection(self._candidates[0].code, 0.0)

        other = self._find_other(rank_labels(self._identifier, text))
        found = self.detect(text)
        if found and other is None:
            return found[0]
        looks = f", which looks like {other!r}," if other is not None else ""
        raise NeuronspecError(
            f"the language of the text{looks} is not one of those translated here: send the code of its language"
        )

    def _find_other(self, ranked: Mapping[str, float]) -> str | None:
        """Return the label of the language that a text is clearly in, unless it is one of the candidates."""
        accepted = {label for one in self._candidates for label in one.labels}
        return next((label for label, chance in ranked.items() if chance >= _CLEAR and label not in accepted), None)


def _rate(candidate: _Candidate, text: str, ranked: Mapping[str, float]) -> float:
    """Return how likely a text is in a language, up to a factor that all languages share."""
    # A language that only its script or its letters identify has no probability.
    if not ranked.keys().isdisjoint(candidate.labels):
        chance = sum(ranked.get(label, 0.0) for label in candidate.labels)
    else:
        chance = float(candidate.identify(text) in candidate.labels)

    # The script decides between languages that the identifier does not tell apart, and excludes none.
    return chance * max(_LEAST_FIT, _find_fit(candidate.script, text))


def _find_fit(script: str, text: str) -> float:
    """Return the share of the letters of a text that fit a script, from 0 to 1."""
    letters = _LETTER.findall(text)
    try:
        characters = _CHARACTERS.get(script, rf"\p{{{script}}}")
        pattern = regex.compile(f"[{characters}]")
    except regex.error:  # a script that Unicode's characters do not have, or an unknown one
        return 1.0

    share = sum(map(bool, map(pattern.match, letters))) / max(1, len(letters))
    if script not in _CHINESE_SETS:
        return share

    # Characters of one of the two scripts alone
    own, other = _CHINESE_SETS[script]
    ours = sum(_is_in(letter, own) and not _is_in(letter, other) for letter in letters)
    theirs = sum(_is_in(letter, other) and not _is_in(letter, own) for letter in letters)
    return share * (ours + _LEAST_FIT) / (ours + theirs + 2 * _LEAST_FIT)


def _is_in(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
