"""Encoding each side of a task with the vocabulary of that side, without special tokens."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError
from neuronspec.models.special_tokens import target_language_set

TextSide = Literal["source", "target"]
PROBE_WORD = "word"  # a text that shows how a tokenizer treats what stands in front of it


def encode(
    tokenizer: PreTrainedTokenizerBase, side: TextSide, sentences: Sequence[str], *, reads_special: bool = False
) -> list[list[int]]:
    """Return the ids of sentences as a source or as a target, without special tokens around them.

    Args:
        tokenizer: Tokenizer of the model.
        side: Side whose vocabulary is used.
        sentences: (n,) plain text.
        reads_special: Whether text that looks like a special token becomes that token; otherwise it stays text.

    Raises:
        NeuronspecError: If a sentence contains half a surrogate pair, so that it is not text.
    """
    if not sentences:
        return []

    # Marian's tokenizer chooses its vocabulary by the argument, FSMT's by the copy that is called.
    argument = "text" if side == "source" else "text_target"
    encoder = target_tokenizer(tokenizer) if side == "target" else tokenizer
    try:
        with target_language_set(encoder):
            encoded = encoder(
                **{argument: list(sentences)},
                add_special_tokens=False,
                return_attention_mask=False,
                split_special_tokens=not reads_special,
            )
    except (TypeError, RuntimeError, UnicodeEncodeError):  # tokenizers differ in what they raise
        _refuse_surrogates(sentences)
        raise

    ids: list[list[int]] = encoded["input_ids"]
    return ids


def _refuse_surrogates(sentences: Sequence[str]) -> None:
    """Refuse halves of surrogate pairs, which no tokenizer can read: they stand for bytes that were not UTF-8.

    Raises:
        NeuronspecError: If there are any.
    """
    for sentence in sentences:
        has_surrogate = any("\ud800" <= character <= "\udfff" for character in sentence)
        if has_surrogate:
            raise NeuronspecError(
                f"{sentence[:60]!r} holds bytes that are not UTF-8, or half a character: give it as UTF-8 text"
            )


def has_two_vocabularies(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a tokenizer encodes sources and targets differently, as those of Marian and FSMT do."""
    return hasattr(tokenizer, "spm_target") or is_fsmt(tokenizer)


def is_fsmt(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a tokenizer is FSMT's, which keeps the target's vocabulary for decoding only."""
    return hasattr(tokenizer, "tgt_vocab_size") and hasattr(tokenizer, "bpe_ranks")


def target_tokenizer(tokenizer: Any) -> Any:
    """Return the tokenizer that encodes targets: the same one, but for FSMT a copy with the vocabularies exchanged."""
    if not is_fsmt(tokenizer):
        return tokenizer

    # A shallow copy: only its encoder and its source language differ.
    turned = copy.copy(tokenizer)
    turned.encoder = {token: number for number, token in tokenizer.decoder.items()}
    turned.src_lang = tokenizer.tgt_lang
    return turned


def find_target_id(tokenizer: Any, token: str) -> int | None:
    """Return the id of a token in the target's vocabulary; None if it has no such token."""
    number: int | None
    if getattr(tokenizer, "separate_vocabs", False):  # Marian: its special tokens have the source's ids
        number = tokenizer.target_encoder.get(token)
    else:
        number = target_tokenizer(tokenizer).convert_tokens_to_ids(token)
    return number


def decode(tokenizer: Any, sequences: Sequence[Sequence[int]]) -> list[str]:
    """Return the text of ids from the target's vocabulary.

    Args:
        tokenizer: Tokenizer of the model.
        sequences: Ids of each sentence.
    """
    # Marian would take the source's special tokens for the target's.
    if getattr(tokenizer, "separate_vocabs", False):
        pieces = [[tokenizer.decoder.get(number, tokenizer.unk_token) for number in ids] for ids in sequences]
        return [tokenizer.spm_target.decode_pieces(words) for words in pieces]

    # With two vocabularies, the tokenizer would skip special tokens by their ids in the source's.
    lines: list[str] = tokenizer.batch_decode(sequences, skip_special_tokens=not has_two_vocabularies(tokenizer))
    return lines


def name_tokens(tokenizer: Any, side: TextSide, ids: Sequence[int]) -> list[str]:
    """Return the names of tokens in the vocabulary of one side.

    Args:
        tokenizer: Tokenizer of the model.
        side: Side whose vocabulary is used.
        ids: Ids of one sentence.
    """
    # `convert_ids_to_tokens` of these tokenizers knows the target's vocabulary only.
    if has_two_vocabularies(tokenizer) and side == "source":
        names = {number: token for token, number in tokenizer.encoder.items()}
        return [names.get(number, tokenizer.unk_token) for number in ids]

    if getattr(tokenizer, "separate_vocabs", False):
        return [tokenizer.decoder.get(number, tokenizer.unk_token) for number in ids]

    tokens: list[str] = tokenizer.convert_ids_to_tokens(ids)
    return tokens


def vocabulary_size(tokenizer: Any) -> int:
    """Return the number of tokens in a tokenizer's vocabulary; in the larger one if it has two."""
    target: Mapping[Any, Any] = getattr(tokenizer, "decoder", {}) if has_two_vocabularies(tokenizer) else {}
    return max(len(tokenizer), len(target))
