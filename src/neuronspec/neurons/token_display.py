"""Tokens made readable."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError
from neuronspec.models.encoding import TextSide, name_tokens


def _list_bytes() -> dict[str, int]:
    """Return the byte that each character stands for in the tokens of tokenizers that work on bytes.

    ByT5 writes a byte as the character with this number. So does byte-level BPE, except for bytes that are no visible
    character: for these, further characters stand in order.
    """
    visible = sorted(pre_tokenizers.ByteLevel.alphabet())
    further = [character for character in visible if ord(character) > 255]
    invisible = [byte for byte in range(256) if chr(byte) not in visible]

    # Every byte as its own character, except for those that need another one
    of_character = {chr(byte): byte for byte in range(256)}
    return of_character | dict(zip(further, invisible, strict=True))


_BYTES = _list_bytes()  # character -> byte


def show_tokens(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], side: TextSide = "source") -> list[str]:
    """Return tokens so that people can read them.

    Args:
        tokenizer: Tokenizer that made the ids.
        ids: Token ids of one sentence.
        side: Side whose vocabulary the ids belong to, if there are two.

    Returns:
        What the tokenizer calls each token (`▁the` of SentencePiece). The tokens of byte-level tokenizers, such as
        GPT-2's, LLaMA-3's and ByT5's, are bytes in disguise (`Ã¤`): they are returned as the characters that they
        complete or, if they complete none, as their bytes (`<0xC3>`).

    Raises:
        NeuronspecError: If the tokenizer has no token with such an id.

    Example:
        >>> from transformers import ByT5Tokenizer
        >>> tokenizer = ByT5Tokenizer()
        >>> show_tokens(tokenizer, tokenizer("zu spät")["input_ids"])
        ['z', 'u', ' ', 's', 'p', '<0xC3>', 'ä', 't', '</s>']
    """
    tokens = name_tokens(tokenizer, side, ids)
    if None in tokens:
        unknown = ids[tokens.index(None)]  # type: ignore[arg-type]
        raise NeuronspecError(f"the tokenizer has no token {unknown}: give the one that the sentences were read with")

    works_on_bytes = tokenizer.convert_tokens_to_string(["Ã", "¤"]) == "ä"  # the bytes C3 and A4
    return _decode_bytes(tokenizer, ids, tokens) if works_on_bytes else tokens


def _decode_bytes(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], tokens: Sequence[str]) -> list[str]:
    """Return the characters that the tokens of a byte-level tokenizer complete, or their bytes."""
    special = tokenizer.added_tokens_decoder
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    shown = []
    for number, token in zip(ids, tokens, strict=True):
        # A special token is text already, and ends whatever character was begun.
        if number in special or not _BYTES.keys() >= set(token):
            decoder.reset()
            shown.append(token)
            continue

        # The decoder keeps the bytes of an unfinished character and returns nothing for them.
        data = bytes(_BYTES[character] for character in token)
        shown.append(decoder.decode(data) or "".join(f"<0x{byte:02X}>" for byte in data))
    return shown
