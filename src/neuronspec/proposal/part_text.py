"""The sentences of the corpora that were found, as a run reads them."""

from __future__ import annotations

from collections.abc import Iterator

from neuronspec.data import is_empty, normalize_text, read_pairs
from neuronspec.languages import split_direction
from neuronspec.proposal.file_names import Part
from neuronspec.proposal.found import Discovery


def read_part(found: Discovery, pair: str, part: Part) -> Iterator[tuple[str, str]]:
    """Yield the sentence pairs of two languages, normalized as a run does it, without those with an empty side.

    Args:
        found: Corpora.
        pair: Pair of languages, such as `en-de`.
        part: Part of the data.
    """
    pivot, language = split_direction(pair)
    for corpus in found.corpora:
        if corpus.part == part and language in corpus.sizes:
            one = corpus.corpus
            for read in read_pairs(one.path, pivot, language, format=one.format, columns=one.columns):
                sides = normalize_text(read.source), normalize_text(read.target)
                if not any(map(is_empty, sides)):
                    yield sides
