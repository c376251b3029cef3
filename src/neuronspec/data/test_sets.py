"""The test sentences of every direction: as prepared, or joined over the pivot for directions without text."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from neuronspec.data.normalization import comparison_form, hash_forms
from neuronspec.data.texts import Texts, assign_pairs, read_columns
from neuronspec.errors import NeuronspecError
from neuronspec.languages import join_direction, split_direction

_LISTED = 6  # directions in a message


def read_test_set(texts: Texts, task: str, trained: Sequence[str], pivot: str) -> tuple[list[str], list[str]]:
    """Return the sources and the references of a direction's test set.

    A direction that was not trained has no text of its own. Its test set holds the sentences of either language that
    translate the same sentence of the pivot; where the test text is multi-parallel (FLORES-200, NTREX-128), that is
    the whole of it, in its order.

    Args:
        texts: Prepared text.
        task: Direction.
        trained: Directions that the text was prepared for.
        pivot: Language that the text is joined over.

    Returns:
        The sources and the references, (sentences,) each.

    Raises:
        NeuronspecError: If the two languages' test texts share no sentence of the pivot.
    """
    pairs = assign_pairs(list(trained), pivot)

    def read(direction: str) -> Iterator[tuple[str, str]]:
        # One file serves both directions, so the source may be in either column.
        pair, side = pairs[direction]
        for columns in read_columns(texts.path("test", pair)):
            yield columns[side], columns[1 - side]

    if task in pairs:
        rows = list(read(task))
    else:
        # No text of its own: join source and target over the pivot's sentences.
        source, target = split_direction(task)
        from_pivot = read(join_direction(pivot, target))
        into_pivot = read(join_direction(source, pivot))
        rows = _join_over_pivot(into_pivot, from_pivot)
        if not rows:
            raise NeuronspecError(
                f"{task} has no test sentences: the test texts of {source} and {target} share no sentence in {pivot}; "
                "give multi-parallel text as data.test, or take the direction out of zero_shot"
            )

    return [source for source, _ in rows], [reference for _, reference in rows]


def find_untested(texts: Texts, tasks: Iterable[str], trained: Sequence[str], pivot: str) -> list[str]:
    """Return the directions without test sentences: their languages' test texts share no sentence of the pivot.

    Args:
        texts: Prepared text.
        tasks: Directions that were not trained.
        trained: Directions that the text was prepared for.
        pivot: Language that the texts are joined over.
    """

    # Each language's sentences of the pivot are read once, for all directions that it is part of.
    @functools.cache
    def read_pivot(direction: str) -> frozenset[int]:
        pair, side = pairs[direction]
        pivot_side = side if split_direction(direction)[0] == pivot else 1 - side
        rows = read_columns(texts.path("test", pair))
        return frozenset(hash_forms(comparison_form(columns[pivot_side])) for columns in rows)

    pairs = assign_pairs(list(trained), pivot)
    untested = []
    for task in tasks:
        source, target = split_direction(task)
        into_pivot = read_pivot(join_direction(source, pivot))
        if into_pivot.isdisjoint(read_pivot(join_direction(pivot, target))):
            untested.append(task)
    return untested


def describe_untested(untested: Sequence[str], pivot: str) -> str:
    """Return a sentence about zero-shot directions without test sentences.

    Example:
        >>> describe_untested(["de-fr"], "en")
        'without test text, and left out: de-fr; these languages share no test sentence in en: give multi-parallel \
text as data.test, or take the direction out of zero_shot'
    """
    listed = ", ".join(untested[:_LISTED]) + (f" and {len(untested) - _LISTED} more" if untested[_LISTED:] else "")
    them = "the direction" if len(untested) == 1 else "the directions"
    return (
        f"without test text, and left out: {listed}; these languages share no test sentence in {pivot}: give "
        f"multi-parallel text as data.test, or take {them} out of zero_shot"
    )


def _join_over_pivot(
    into_pivot: Iterable[tuple[str, str]], from_pivot: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return the sources of the one text with the references of the other that translate the same pivot sentence."""
    # By the pivot's sentence and how often it came before; in the order of the sources.
    references = dict(_number_repeats(from_pivot))
    sources = _number_repeats((shared, source) for source, shared in into_pivot)
    return [(source, references[shared]) for shared, source in sources if shared in references]


def _number_repeats(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[tuple[str, int], str]]:
    """Yield ((sentence, how often it came before), partner): a sentence that comes twice meets its own partner."""
    seen: Counter[str] = Counter()
    for sentence, partner in rows:
        form = comparison_form(sentence)
        yield (form, seen[form]), partner
        seen[form] += 1
