"""Pieces of a new language that no text of the languages from before can turn into."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import sentencepiece

from neuronspec.errors import NeuronspecError

_LEARNED: Final = 4  # times as many pieces are learned as are wanted: many of them consist of known characters only
_SPACE: Final = "▁"


def find_new_pieces(sentences: Sequence[str], known: Mapping[str, float], count: int) -> dict[str, float]:
    """Return pieces with their scores for text in a new language.

    Every piece has a character that occurs in no known piece. A text without such characters cannot contain it, so
    that the best way to split that text stays what it was; for that, no score is lower than the lowest one before,
    which decides about unknown characters.

    Args:
        sentences: (n,) text, normalized as the tokenizer does it.
        known: Score of each piece that there is.
        count: Largest number of new pieces; single characters come first, the most frequent ones before others.

    Raises:
        NeuronspecError: If SentencePiece cannot learn pieces from this text.
    """
    characters = {character for piece in known for character in piece}
    frequencies = Counter(character for sentence in sentences for character in sentence if not character.isspace())
    fresh = [character for character, _ in frequencies.most_common() if character not in characters]
    if not fresh or not count:
        return {}

    learned = _learn(sentences, len(frequencies) + _LEARNED * count)
    lowest = min(known.values())
    candidates = sorted(learned, key=lambda piece: (-learned[piece], piece))
    chosen = [*fresh, *(piece for piece in candidates if len(piece) > 1 and not characters.issuperset(piece))]

    # A character that SentencePiece left out is as rare as the rarest piece.
    unique = [piece for piece in dict.fromkeys(chosen) if piece not in known][:count]
    return {piece: max(lowest, learned.get(piece, lowest)) for piece in unique}


def _learn(sentences: Iterable[str], size: int) -> dict[str, float]:
    """Return the pieces of a Unigram model of a text, with their scores."""
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="unigram",
            vocab_size=size,
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="identity",
            num_threads=1,  # sums depend on the number of threads
            max_sentence_length=1 << 16,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise NeuronspecError(
            f"cannot learn pieces from this text: {error}; give more text, or set model.extend.pieces=0"
        ) from error

    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    texts = {pieces.id_to_piece(number): pieces.get_score(number) for number in range(pieces.get_piece_size())}
    return {piece: score for piece, score in texts.items() if piece.strip(_SPACE) and score < 0}
