"""Comparison of two tokenizers: the differences between their ways of splitting the same sentences."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neuronspec.languages import split_direction
from neuronspec.models.codec import TextCodec
from neuronspec.models.encoding import TextSide, name_tokens


@dataclass(frozen=True, kw_only=True)
class SegmentationChange:
    """Differences between two ways of splitting the same sentences.

    Attributes:
        sentences: Number of sentences.
        tokens_before: Number of tokens that they had.
        tokens_after: Number of tokens that they have.
        changed: Share of the tokens before that are no tokens any more, because their text is split otherwise.
        unknown_before: Number of unknown tokens before.
        unknown_after: Number of unknown tokens after.
    """

    sentences: int
    tokens_before: int
    tokens_after: int
    changed: float
    unknown_before: int
    unknown_after: int


def compare_segmentation(
    before: TextCodec, after: TextCodec, texts: Mapping[str, Sequence[str]], tasks: Sequence[str]
) -> SegmentationChange:
    """Compare how two codecs split sentences.

    Args:
        before: Codec with all tokens.
        after: Codec with fewer tokens.
        texts: Sentences of each language; a language that is in no task is ignored.
        tasks: Directions, which decide on which sides the languages stand.
    """
    old_pieces, new_pieces = (_split_all(codec, texts, tasks) for codec in (before, after))

    # A token stays if one with the same borders is there.
    total = stayed = 0
    for old, new in zip(old_pieces, new_pieces, strict=True):
        total += len(old)
        stayed += len({*_find_spans(old)} & {*_find_spans(new)})

    unknown = str(before.tokenizer.unk_token)
    return SegmentationChange(
        sentences=len(old_pieces),
        tokens_before=total,
        tokens_after=sum(map(len, new_pieces)),
        changed=1 - stayed / total if total else 0.0,
        unknown_before=sum(pieces.count(unknown) for pieces in old_pieces),
        unknown_after=sum(pieces.count(unknown) for pieces in new_pieces),
    )


def _split_all(codec: TextCodec, texts: Mapping[str, Sequence[str]], tasks: Sequence[str]) -> list[list[str]]:
    """Return the pieces of each sentence on each side where its language stands."""
    sources, targets = zip(*map(split_direction, tasks), strict=True)
    sides: list[tuple[TextSide, tuple[str, ...]]] = [("source", sources), ("target", targets)]

    pieces = []
    for side, languages in sides:
        encode = codec.encode_sources if side == "source" else codec.encode_targets
        for language in dict.fromkeys(languages):
            for ids in encode(texts.get(language, ())):
                pieces.append(name_tokens(codec.tokenizer, side, ids))
    return pieces


def _find_spans(pieces: Sequence[str]) -> list[tuple[int, int]]:
    """Return where each piece begins and ends in the characters of a sentence."""
    ends = [0, *itertools.accumulate(map(len, pieces))]
    return [*itertools.pairwise(ends)]
