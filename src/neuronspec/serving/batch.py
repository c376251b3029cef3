"""One batch: texts are split, as many pieces as fit are translated, and a bad one fails alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from neuronspec.serving.engine import Sentence, ServingEngine
from neuronspec.serving.refusals import RefusedError
from neuronspec.serving.texts import SplitText, split_text
from neuronspec.serving.waiting import Entry, Piece, WaitingText

MOST_PIECES = 5_000
"""Largest number of pieces of a text."""
# How much longer than wanted a piece may be that consists of a single character, or of invisible ones
_SPARE, _SPARE_TOKENS = 2, 64


@dataclass
class BatchOutcome:
    """The outcome of a batch.

    Attributes:
        splits: Texts that were split, with their pieces and what stands around these.
        translations: Pieces that were translated.
        failures: Texts that cannot be split or translated, with the errors.
        left: Pieces that did not fit into the batch, in their order.
        rows: Number of pieces that the batch had.
        tokens: Number of source tokens that it had.
        repeats: Number of further calls of the engine, because a call failed.
    """

    splits: list[tuple[WaitingText, SplitText]] = field(default_factory=list)
    translations: list[tuple[Piece, str]] = field(default_factory=list)
    failures: list[tuple[WaitingText, Exception]] = field(default_factory=list)
    left: list[Entry] = field(default_factory=list)
    rows: int = 0
    tokens: int = 0
    repeats: int = 0


def translate_batch(engine: ServingEngine, entries: Sequence[Entry], budget: int) -> BatchOutcome:
    """Split texts and translate as many of their pieces as fit into a batch.

    Args:
        engine: Engine that translates.
        entries: Texts, and pieces of texts that were split before, in the order in which they get their turn.
        budget: Source tokens of the batch, times beams. A single piece may have more.
    """
    outcome = BatchOutcome()
    pieces: list[Piece] = []
    for entry in entries:
        pieces += [entry] if isinstance(entry, Piece) else _split(engine, entry, outcome)

    # The first piece fits in any case.
    cost = 0
    batch: list[Piece] = []
    for piece in pieces:
        cost += max(1, piece.tokens) * piece.sentence.beams
        if batch and (cost > budget or outcome.left):
            outcome.left.append(piece)
            continue
        batch.append(piece)
        outcome.tokens += piece.tokens

    outcome.rows = len(batch)
    _translate(engine, batch, outcome)
    return outcome


def _split(engine: ServingEngine, text: WaitingText, outcome: BatchOutcome) -> list[Piece]:
    """Return the pieces of a text; none if that fails."""
    sentence = text.sentence
    try:
        longest = engine.find_longest(sentence.task)
        _check_pieces(text, len(sentence.text.splitlines()))
        split = split_text(sentence.text, _make_counter(engine, sentence), longest)
        _check_pieces(text, len(split.pieces))
        rows = [replace(sentence, text=piece) for piece in split.pieces]
        tokens = engine.count_tokens(rows)
        _check_sizes(text, tokens, longest)
        pieces = [Piece(text, place, row, count) for place, (row, count) in enumerate(zip(rows, tokens, strict=True))]
    except Exception as error:  # any error of an engine is an answer to this request alone
        outcome.failures.append((text, error))
        return []

    outcome.splits.append((text, split))
    return pieces


def _check_pieces(text: WaitingText, count: int) -> None:
    """Refuse a text of so many pieces that splitting and keeping them would take the time of all other requests."""
    if count > MOST_PIECES:
        raise RefusedError(
            400, f"text {text.place + 1} has more than {MOST_PIECES} lines and sentences: send it in parts"
        )


def _check_sizes(text: WaitingText, tokens: Sequence[int], longest: int | None) -> None:
    """Refuse a text that cannot be split small enough: attention takes memory that grows with the square of a piece."""
    most = max(tokens, default=0)
    if longest is not None and most > _SPARE * longest + _SPARE_TOKENS:
        raise RefusedError(
            400, f"text {text.place + 1} has a part of {most} tokens that cannot be cut: leave out what nobody reads"
        )


def _make_counter(engine: ServingEngine, sentence: Sentence) -> Callable[[Sequence[str]], list[int]]:
    """Return a function that counts the tokens of texts in the direction of a sentence."""
    return lambda texts: engine.count_tokens([replace(sentence, text=text) for text in texts])


def _translate(engine: ServingEngine, pieces: Sequence[Piece], outcome: BatchOutcome) -> None:
    """Translate pieces; if that fails, each half of them, down to the piece that is to blame."""
    if not pieces:
        return

    # What several requests ask for is translated once.
    rows = list(dict.fromkeys(piece.sentence for piece in pieces))
    try:
        found = engine.translate(rows)
        translations = dict(zip(rows, found, strict=True))
        if not all(isinstance(text, str) for text in found):
            raise TypeError("an engine returned something other than texts")
    except Exception as error:  # as above
        if len(pieces) == 1:
            outcome.failures.append((pieces[0].text, error))
            return
        outcome.repeats += 2
        middle = len(pieces) // 2
        _translate(engine, pieces[:middle], outcome)
        _translate(engine, pieces[middle:], outcome)
        return

    outcome.translations += [(piece, translations[piece.sentence]) for piece in pieces]
