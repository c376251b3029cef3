"""The SentencePiece model of a fairseq model: read, and compared with the dictionary."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import sentencepiece

from neuronspec.data.reading_errors import explain_unreadable
from neuronspec.errors import NeuronspecError
from neuronspec.models.fairseq.dictionary import PADDING, SPECIAL, Dictionary
from neuronspec.reading_limits import read_bytes

_SPACE = "▁"  # how SentencePiece writes a space
_MAX_STRAY = 0.1  # share of a dictionary that its own SentencePiece model may not explain
_MAX_LACKING = 0.5  # share of the pieces that the dictionary may lack: rare ones never occur in the training text


def read_pieces(path: Path) -> sentencepiece.SentencePieceProcessor:
    """Read a SentencePiece model.

    Args:
        path: Path of the file.

    Raises:
        NeuronspecError: If it is missing or no SentencePiece model.
    """
    try:
        model = read_bytes(path)
    except OSError as error:
        reason = explain_unreadable(path, error)
        raise NeuronspecError(f"cannot read the SentencePiece model {path}: {reason}") from error

    pieces = sentencepiece.SentencePieceProcessor()
    try:
        pieces.LoadFromSerializedProto(model)
    except (RuntimeError, OSError, TypeError, ValueError) as error:
        raise NeuronspecError(f"{path} is no SentencePiece model, or is damaged") from error
    if not pieces.get_piece_size():
        raise NeuronspecError(f"{path} is no SentencePiece model: it has no pieces")
    return pieces


def check_pieces(dictionary: Dictionary, tags: Collection[int], pieces: sentencepiece.SentencePieceProcessor) -> None:
    """Refuse a SentencePiece model that cannot be that of a dictionary.

    Args:
        dictionary: Dictionary of the model.
        tags: Ids that are no pieces.
        pieces: SentencePiece model.

    Raises:
        NeuronspecError: If many tokens cannot come from the model, or many of its pieces are not in the dictionary.
    """
    known = {pieces.id_to_piece(number) for number in range(pieces.get_piece_size())}
    tokens = [
        token
        for number, token in enumerate(dictionary.tokens)
        if token not in SPECIAL and number not in tags and not PADDING.fullmatch(token)
    ]

    # Besides pieces, text gives characters that the model does not know.
    stray = [token for token in tokens if token not in known and not known.isdisjoint(token)]
    if len(stray) > _MAX_STRAY * len(tokens):
        raise NeuronspecError(
            f"{len(stray)} of the dictionary's {len(tokens)} tokens are no pieces of the SentencePiece model, such as "
            f"{stray[0][:60]!r}: give the model that split the text of the training with --spm"
        )

    ordinary = {
        piece
        for number, piece in enumerate(map(pieces.id_to_piece, range(pieces.get_piece_size())))
        if not (pieces.is_control(number) or pieces.is_unknown(number) or pieces.is_unused(number))
    }
    lacking = ordinary - dictionary.ids.keys()
    if len(lacking) > _MAX_LACKING * len(ordinary):
        raise NeuronspecError(
            f"{len(lacking)} of the {len(ordinary)} pieces of the SentencePiece model are not in the dictionary: give "
            "the model that split the text of the training with --spm"
        )


def check_words(dictionary: Dictionary) -> None:
    """Refuse a dictionary of SentencePiece pieces for which no SentencePiece model is given.

    Raises:
        NeuronspecError: If it is one.
    """
    pieces = [token for token in dictionary.tokens if token.startswith(_SPACE)]
    if pieces:
        raise NeuronspecError(
            f"the dictionary holds SentencePiece pieces such as {pieces[0][:60]!r}: give the SentencePiece model with "
            "--spm"
        )
