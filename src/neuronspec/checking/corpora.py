"""Checks of corpora: whether each can be read for each pair of languages."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from neuronspec.checking.problem import Problem, catch_errors
from neuronspec.config.sections import Corpus, Data
from neuronspec.data.configured_corpora import check_templates, holds_pair
from neuronspec.data.corpora import CORPUS_FORMATS, guess_format, names_no_file, read_pairs
from neuronspec.data.texts import TEXT_PARTS
from neuronspec.languages import split_direction


def check_corpora(data: Data, pairs: Sequence[str], pivot: str) -> Iterator[Problem]:
    """Yield a problem for each file that is missing or cannot be read, found by its first sentence.

    Corpora that are read from many files or from the network are left to the stage that reads them.

    Args:
        data: Corpora of the configuration.
        pairs: Pairs of languages whose text is read, such as `en-de`.
        pivot: Code of the language that most pairs have in common.
    """
    yield from catch_errors(lambda: check_templates(data, pairs, pivot), "data")

    for part in TEXT_PARTS:
        for corpus, pair in itertools.product(getattr(data, part), pairs):
            if holds_pair(corpus, pair, pivot) and _is_quick(corpus):
                yield from _check_file(corpus, pair, f"data.{part}")


def _is_quick(corpus: Corpus) -> bool:
    """Return whether the first sentence of a corpus can be read at once."""
    name = guess_format(corpus.path) if corpus.format == "auto" else corpus.format
    return not names_no_file(corpus.path) and (name is None or CORPUS_FORMATS[name].files != "many")


def _check_file(corpus: Corpus, pair: str, subject: str) -> Iterator[Problem]:
    first, second = split_direction(pair)

    def read_first() -> None:
        sentences = read_pairs(corpus.path, first, second, format=corpus.format, columns=corpus.columns)
        next(sentences, None)

    yield from catch_errors(read_first, subject)
