"""Choosing which texts are for training, for validation and for test, where names do not say it."""

from __future__ import annotations

from collections.abc import Sequence

from neuronspec.proposal.file_names import Part, find_part, is_evaluation_set
from neuronspec.proposal.parallel_text import ParallelText

_PARALLEL = 3  # smallest number of languages with the same lines in a set that is made for evaluation
_LARGEST_SET = 6_000  # lines of such a set


def choose_parts(texts: Sequence[ParallelText]) -> tuple[list[Part], list[str]]:
    """Return the part of each text, and sentences about what was assumed.

    The names of files and folders decide. A text that no name assigns is for training, unless it is a set that is made
    for evaluation, by its name (FLORES, NTREX) or because a few thousand lines are the same in several languages.
    """
    named = [find_part(text.name) for text in texts]
    parts: list[Part] = [part or "train" for part in named]
    sets = _find_sets(texts, named)
    notes: list[str] = []

    # One set is for test; a second one, or one next to test text, for validation.
    for number in _sort_sets(texts, sets):
        parts[number] = "valid" if "test" in parts and "valid" not in parts else "test"
        notes.append(f"{texts[number].name}: {_describe(texts[number])}, so taken for {_purpose(parts[number])}")

    # Of two test sets, one validates where nothing else does.
    tests = [number for number, part in enumerate(parts) if part == "test" and number not in sets]
    chosen = None if "valid" in parts else _choose_validation(texts, tests)
    if chosen is not None:
        parts[chosen] = "valid"
        notes.append(f"{texts[chosen].name}: a second test set, so taken for {_purpose('valid')}")
    return parts, notes


def _find_sets(texts: Sequence[ParallelText], named: Sequence[Part | None]) -> list[int]:
    """Return the texts that no name assigns to a part and that are made for evaluation; none if no other is left."""
    unnamed = [number for number, part in enumerate(named) if part is None]
    sets = [number for number in unnamed if _is_set(texts[number])]
    return sets if "train" in named or len(sets) < len(unnamed) else []


def _sort_sets(texts: Sequence[ParallelText], sets: Sequence[int]) -> list[int]:
    """Return sets for evaluation, FLORES first, then the newest: newstest2014 before newstest2013."""
    newest_first = sorted(sets, key=lambda number: texts[number].name, reverse=True)
    return sorted(newest_first, key=lambda number: not _is_flores(texts[number]))


def _is_set(text: ParallelText) -> bool:
    if is_evaluation_set(text.name):
        return True
    counts = set(text.lines.values())
    return text.aligned and len(text.codes) >= _PARALLEL and len(counts) == 1 and max(counts) <= _LARGEST_SET


def _is_flores(text: ParallelText) -> bool:
    return "flores" in text.name.lower()


def _describe(text: ParallelText) -> str:
    if is_evaluation_set(text.name):
        return "the name of a set that is made for evaluation"
    return f"the same {max(text.lines.values()):,} lines in {len(text.codes)} languages"


def _purpose(part: Part) -> str:
    return {"train": "training", "valid": "validation", "test": "test"}[part]


def _choose_validation(texts: Sequence[ParallelText], tests: Sequence[int]) -> int | None:
    """Return the test set to validate on: none of FLORES, the largest; it must have the languages of another one."""
    others = [number for number in tests if not _is_flores(texts[number])]
    fitting = []
    for number in others:
        shared = [other for other in tests if other != number and {*texts[other].codes} & {*texts[number].codes}]
        if shared:
            fitting.append(number)
    return max(fitting, key=lambda number: max(texts[number].lines.values()), default=None)
