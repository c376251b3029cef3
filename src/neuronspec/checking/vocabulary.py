"""Checks of the vocabulary: whether the text gives as many pieces as were asked for."""

from __future__ import annotations

from collections.abc import Iterator

from neuronspec.checking.problem import Problem
from neuronspec.config.sections import Vocabulary

SMALLEST = Vocabulary.model_fields["size"].metadata[0].ge


def check_pieces(pieces: int, wanted: int) -> Iterator[Problem]:
    """Yield a problem if a vocabulary has fewer pieces than were asked for.

    Args:
        pieces: Number of pieces that were learned, without language tags.
        wanted: Number that the configuration asks for.

    Example:
        >>> [problem] = check_pieces(1_534, 32_000)
        >>> problem.fix
        'prepare.vocabulary.size=1500 or less'
    """
    if pieces >= wanted:
        return

    # A round number below what the text gives
    step = 100 if pieces >= 1_000 else 10
    suggested = max(SMALLEST, pieces // step * step)
    yield Problem(
        level="warning",
        subject="prepare.vocabulary.size",
        message=f"prepare.vocabulary.size is {wanted}, but this text gives only {pieces} pieces, rare ones included",
        fix=f"prepare.vocabulary.size={suggested} or less" if suggested < wanted else "give more text",
    )
