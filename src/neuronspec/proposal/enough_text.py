"""Checks that there is enough text for a run, before anything is written."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence

from neuronspec.data.normalization import comparison_form
from neuronspec.errors import NeuronspecError
from neuronspec.languages import split_direction
from neuronspec.proposal.file_names import Part
from neuronspec.proposal.found import Discovery
from neuronspec.proposal.listing import describe_left_out
from neuronspec.proposal.part_text import read_part

FEWEST_PAIRS = 40
"""Number of sentence pairs of which some can be held out for validation and for test."""
_HELD_OUT: Mapping[Part, str] = {"valid": "validation", "test": "test"}
_READ = 50_000  # held-out pairs of each pair of languages that are compared with the training text


def check_sizes(found: Discovery) -> None:
    """Refuse text that is too little to hold some of it out.

    Raises:
        NeuronspecError: If a pair of languages has too few pairs, and no text of its own for validation or test.
    """
    for pair, count in found.count_pairs("train").items():
        missing = [name for part, name in _HELD_OUT.items() if not found.count_pairs(part)[pair]]
        if missing and count < FEWEST_PAIRS:
            some = "1 sentence pair" if count == 1 else f"{count} sentence pairs"
            more = describe_left_out(found.left_out, introduction="; not used")
            raise NeuronspecError(
                f"{pair} has {some} for training, too little text to hold some out for {' and '.join(missing)}: "
                f"give at least {FEWEST_PAIRS}, or files for {' and '.join(missing)} as well{more}"
            )


def check_samples(found: Discovery, samples: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Refuse text of which nothing would be trained.

    Args:
        found: Corpora.
        samples: Training pairs that were read, by pair of languages.

    Raises:
        NeuronspecError: If a pair of languages has no sentences, or all of them are in the held-out text as well.
    """
    for pair, own in samples.items():
        if not own:
            named = ", ".join(corpus.path for corpus in found.list_corpora("train"))
            raise NeuronspecError(
                f"no line of the training text of {pair} has a sentence on both sides ({named}); correct the files, or "
                "choose other --languages"
            )

    known = _read_held_out(found)
    for pair, own in samples.items():
        codes = split_direction(pair)
        trained = [sides for sides in own if not any(map(_is_known, codes, sides, itertools.repeat(known)))]
        if not trained and _holds_no_less(found, pair):
            raise NeuronspecError(
                f"the training text of {pair} is the same as its text for validation and test, so that nothing would "
                "be left to train on; give other text for one of them"
            )


def _read_held_out(found: Discovery) -> dict[str, set[str]]:
    """Return the sentences of the text for validation and test, by language."""
    known: dict[str, set[str]] = defaultdict(set)
    for part, pair in itertools.product(_HELD_OUT, found.count_pairs("train")):
        for sides in itertools.islice(read_part(found, pair, part), _READ):
            for code, text in zip(split_direction(pair), sides, strict=True):
                known[code].add(comparison_form(text))
    return known


def _is_known(code: str, text: str, known: Mapping[str, set[str]]) -> bool:
    return comparison_form(text) in known[code]


def _holds_no_less(found: Discovery, pair: str) -> bool:
    """Return whether there is as much text for validation and test as for training, of which a sample was read."""
    held_out = sum(found.count_pairs(part)[pair] for part in _HELD_OUT)
    return held_out >= found.count_pairs("train")[pair]
