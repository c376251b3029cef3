"""N-grams that one system gets right and another does not: what a difference in scores is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from neuronspec.comparison.side_by_side import SideBySide
from neuronspec.evaluation.writing import find_writing, split_words
from neuronspec.languages import split_direction

LONGEST = 4  # words, as in BLEU
SMOOTHING = 1  # added to both counts, so that an n-gram that was seen once does not come first
MIN_COUNT = 2  # an n-gram that makes a difference in a single sentence shows nothing
LISTED = 10  # n-grams for each system
EXAMPLES = 5  # sentences for each n-gram

Ngram = tuple[str, ...]


@dataclass(frozen=True)
class NgramDifference:
    """An n-gram that one of two systems gets right more often: it is in the reference and in the translation.

    Attributes:
        text: The n-gram.
        system: Number of times that only the system gets it right.
        baseline: Number of times that only the baseline does.
        score: Share of these that are the system's, smoothed: (system + 1) / (system + baseline + 2).
        sentences: Indices of a few sentences in which the better of the two gets it right and the other does not.
    """

    text: str
    system: int
    baseline: int
    score: float
    sentences: Sequence[int]


def match_ngrams(side: SideBySide) -> dict[str, list[Counter[Ngram]]]:
    """Return how often each n-gram of each reference is in the translation as well, by system.

    An n-gram counts at most as often as it is in the reference, as in BLEU. Letter case makes a difference.
    """
    expected = [_count_ngrams(text) for text in side.references]
    matches = {}
    for system, one in side.systems.items():
        # The intersection of two counters keeps the smaller counts.
        found = map(_count_ngrams, one.translations)
        matches[system] = [wanted & counts for wanted, counts in zip(expected, found, strict=True)]
    return matches


def compare_ngrams(
    side: SideBySide, matches: Mapping[str, Sequence[Counter[Ngram]]], baseline: str, system: str
) -> list[NgramDifference]:
    """Return the n-grams that most distinguish two systems in one direction.

    Args:
        side: Sentences of the direction.
        matches: Result of `match_ngrams` for them.
        baseline: Name of the one system.
        system: Name of the other.

    Returns:
        Those that the system gets right most clearly, then those that the baseline does: at most ten each, without
        parts of a longer one that comes with the same counts.
    """
    # How often only one of the two gets an n-gram right, and where
    only = {name: Counter[Ngram]() for name in (baseline, system)}
    places: dict[tuple[str, Ngram], list[int]] = {}
    for number, (theirs, own) in enumerate(zip(matches[baseline], matches[system], strict=True)):
        for name, more in ((system, own - theirs), (baseline, theirs - own)):
            only[name].update(more)
            for ngram in more:
                places.setdefault((name, ngram), []).append(number)

    is_spaced = find_writing(split_direction(side.task)[1]) in ("spaced", "korean")
    found = []
    for winner, loser in ((system, baseline), (baseline, system)):
        for ngram in _choose_ngrams(only[winner], only[loser]):
            counts = only[system][ngram], only[baseline][ngram]
            found.append(
                NgramDifference(
                    text=(" " if is_spaced else "").join(ngram),
                    system=counts[0],
                    baseline=counts[1],
                    score=_smooth(*counts),
                    sentences=places[winner, ngram][:EXAMPLES],
                )
            )
    return found


def _count_ngrams(text: str) -> Counter[Ngram]:
    """Return how often each run of one to four words is in a text."""
    words = split_words(text)
    counts: Counter[Ngram] = Counter()
    for length in range(1, LONGEST + 1):
        counts.update(zip(*(words[start:] for start in range(length)), strict=False))
    return counts


def _smooth(wins: int, losses: int) -> float:
    return (wins + SMOOTHING) / (wins + losses + 2 * SMOOTHING)


def _choose_ngrams(wins: Mapping[Ngram, int], losses: Mapping[Ngram, int]) -> list[Ngram]:
    """Return the n-grams with the best scores, longer ones first among equals."""
    # Most n-grams make a difference once: they are left out before anything is sorted.
    known = [ngram for ngram, count in wins.items() if count >= MIN_COUNT and count > losses.get(ngram, 0)]

    def rank(ngram: Ngram) -> tuple[float, int, Ngram]:
        return -_smooth(wins[ngram], losses.get(ngram, 0)), -len(ngram), ngram

    chosen: list[Ngram] = []
    for ngram in sorted(known, key=rank):
        has_word = any(word[0].isalnum() for word in ngram)
        counts = wins[ngram], losses.get(ngram, 0)
        same = [one for one in chosen if (wins[one], losses.get(one, 0)) == counts]
        if has_word and not _is_part(ngram, same):
            chosen.append(ngram)
        if len(chosen) == LISTED:
            break
    return chosen


def _is_part(ngram: Ngram, others: Iterable[Ngram]) -> bool:
    """Return whether an n-gram is a run of words within one of the others."""
    size = len(ngram)
    return any(
        ngram == other[start : start + size] for other in others for start in range(max(0, len(other) - size + 1))
    )
