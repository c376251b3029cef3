"""The word that activates a neuron, in the sentence that a person reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from neuronspec.evaluation.writing import find_words
from neuronspec.neurons.examples import Example
from neuronspec.neurons.token_text import TokenPlace, TokenRole

MAX_WORDS = 4
"""Largest number of words in the preview of a neuron."""


def mark_word(place: TokenPlace) -> tuple[int, int]:
    """Return where the word of a token begins and ends in its text; nothing is marked of a special token.

    A word has all its pieces. Where a script puts no spaces between words, the token's own letters are marked.

    Args:
        place: Text, and the place of the token.

    Example:
        >>> text = "Die Wörterbücher fehlen"
        >>> start, end = mark_word(TokenPlace(text=text, start=10, end=13, role="word"))
        >>> text[start:end]
        'Wörterbücher'
    """
    if place.role != "word":
        return place.start, place.start

    # A token that is a space, or part of a character, belongs to what comes next; at the end, to what was before.
    words = find_words(place.text)
    touched = [word for word in words if word[0] < place.end and place.start < word[1]]
    if not touched:
        touched = [word for word in words if word[1] > place.start][:1] or words[-1:]
    return (touched[0][0], touched[-1][1]) if touched else (place.start, place.start)


def list_words(examples: Iterable[Example], limit: int = MAX_WORDS) -> list[str]:
    """Return the words that activate a neuron in its examples, the most frequent first; each spelling once.

    Args:
        examples: Examples of the neuron, the highest activation first.
        limit: Largest number of words.
    """
    counts: Counter[str] = Counter()
    spellings: dict[str, str] = {}
    for example in examples:
        start, end = mark_word(example.place)
        word = example.place.text[start:end]
        if word:
            spellings.setdefault(word.casefold(), word)
            counts[word.casefold()] += 1

    # Equally frequent ones keep their order
    return [spellings[word] for word, _ in counts.most_common(limit)]


def choose_role(examples: Sequence[Example]) -> TokenRole:
    """Return what a neuron reads: the role that the token has in more than half of its examples, or else words."""
    roles = Counter(example.place.role for example in examples)
    for role, count in roles.items():
        if 2 * count > len(examples):
            return role
    return "word"
