"""SentencePiece models: reading their pieces, and leaving some of them out.

A model is one protocol buffer message: field 1, repeated, holds the pieces in the order of their ids, every other field
the settings. Only field 1 is touched, and of it only whole pieces.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from neuronspec.errors import NeuronspecError

_PIECES, _SETTINGS = 1, 2  # fields of the model
_TEXT, _SCORE, _KIND = 1, 2, 3  # fields of a piece
_MODEL_TYPE = 3  # field of the settings
_NORMAL = 1  # kind of a piece that text is split into; others are for unknown characters, special tokens, bytes ...
_UNIGRAM = 1  # the default type of a model
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # kinds of fields
_SIZES = {_FIXED64: 8, _FIXED32: 4}


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of a model.

    Attributes:
        text: Characters of the piece.
        score: Score, by which text is split.
        is_normal: Whether text is split into it by score.
    """

    text: str
    score: float
    is_normal: bool


def read_pieces(model: bytes) -> list[Piece]:
    """Return the pieces of a model in the order of their ids.

    Raises:
        NeuronspecError: If it is not a SentencePiece model.
    """
    return [_read_piece(content) for field, content, _ in _read_fields(model) if field == _PIECES]


def read_type(model: bytes) -> str:
    """Return how a model splits text: `unigram`, `bpe`, `word` or `char`.

    Raises:
        NeuronspecError: If it is not a SentencePiece model.
    """
    number = _UNIGRAM
    for field, settings, _ in _read_fields(model):
        if field == _SETTINGS:
            number = next((value for key, value, _ in _read_fields(settings) if key == _MODEL_TYPE), number)
    return {1: "unigram", 2: "bpe", 3: "word", 4: "char"}.get(number, f"type {number}")


def keep_pieces(model: bytes, is_kept: Callable[[Piece], bool]) -> bytes:
    """Return a model with some of its pieces, in the same order, and with all of its settings.

    Args:
        model: Content of a model.
        is_kept: Function of a piece.

    Raises:
        NeuronspecError: If it is not a SentencePiece model.
    """
    parts = []
    for field, content, whole in _read_fields(model):
        if field != _PIECES or is_kept(_read_piece(content)):
            parts.append(whole)
    return b"".join(parts)


def _read_piece(content: bytes) -> Piece:
    values = {field: value for field, value, _ in _read_fields(content)}
    (score,) = struct.unpack("<f", values.get(_SCORE, bytes(4)))
    return Piece(text=values[_TEXT].decode("utf-8"), score=score, is_normal=values.get(_KIND, _NORMAL) == _NORMAL)


def _read_fields(message: bytes) -> Iterator[tuple[int, Any, bytes]]:
    """Yield number, value and all bytes of each field of a message."""
    place = 0
    while place < len(message):
        start = place
        key, place = _read_number(message, place)
        kind = key & 7

        value: int | bytes
        if kind == _VARINT:
            value, place = _read_number(message, place)
        else:
            size = _SIZES.get(kind)
            if kind == _BYTES:
                size, place = _read_number(message, place)
            if size is None or place + size > len(message):
                raise NeuronspecError("the tokenizer's SentencePiece model is damaged: save the tokenizer again")
            value = message[place : place + size]
            place += size
        yield key >> 3, value, message[start:place]


def _read_number(message: bytes, place: int) -> tuple[int, int]:
    """Return a number of variable length, and the place after it."""
    number = shift = 0
    while place < len(message):
        byte = message[place]
        number |= (byte & 127) << shift
        shift, place = shift + 7, place + 1
        if byte < 128:
            return number, place
    raise NeuronspecError("the tokenizer's SentencePiece model is damaged: save the tokenizer again")
