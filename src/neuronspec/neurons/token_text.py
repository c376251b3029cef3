"""Sentences joined from tokens by the tokenizer that made them, and the place of one token in the text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from neuronspec.models.encoding import TextSide, decode, find_target_id, has_two_vocabularies, name_tokens
from neuronspec.models.tags import read_tags

TokenRole = Literal["word", "tag", "start", "end", "special"]
"""Kind of a token: part of the text, a language tag, a special token at the start, at the end, or elsewhere."""


@dataclass(frozen=True, kw_only=True)
class TokenPlace:
    """A sentence as text, and where one of its tokens is.

    Attributes:
        text: Text of the sentence, without tags and other special tokens.
        start: Index of the token's first character; for a special token, of the first one after it.
        end: Index after its last character. A token may complete no character, and so be empty.
        role: Kind of the token.
    """

    text: str
    start: int
    end: int
    role: TokenRole


def place_token(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], position: int, side: TextSide = "source"
) -> TokenPlace:
    """Join tokens to text, as the tokenizer does, and find one of them in it.

    Works for every kind of tokenizer: what stands in front of a token is the text of the tokens before it, as far as
    it agrees with the text of the whole sentence.

    Args:
        tokenizer: Tokenizer that made the ids.
        ids: Token ids of one sentence.
        position: Index of the token.
        side: Side whose vocabulary the ids belong to, if there are two.

    Example:
        >>> from transformers import ByT5Tokenizer
        >>> tokenizer = ByT5Tokenizer()
        >>> place = place_token(tokenizer, tokenizer("zu spät")["input_ids"], 6)
        >>> place.text, place.text[place.start : place.end], place.role
        ('zu spät', 'ä', 'word')
    """
    tags, special = _list_silent(tokenizer, side)
    silent = tags | special

    # The text without special tokens, and the token's place among what is left
    plain = [number for number in ids if number not in silent]
    before = sum(number not in silent for number in ids[:position])
    text = _join(tokenizer, plain, side)
    start = _count_common(_join(tokenizer, plain[:before], side), text)

    role = _find_role(ids, position, tags, special)
    if role != "word":
        return TokenPlace(text=text, start=start, end=start, role=role)
    end = _count_common(_join(tokenizer, plain[: before + 1], side), text)
    return TokenPlace(text=text, start=start, end=max(start, end), role=role)


def _list_silent(tokenizer: Any, side: TextSide) -> tuple[frozenset[int], frozenset[int]]:
    """Return the ids of the language tags of a vocabulary, and of its other tokens that are no text."""
    # Unknown tokens stand for text
    names = [token for token in tokenizer.all_special_tokens if token != tokenizer.unk_token]
    if has_two_vocabularies(tokenizer) and side == "target":
        # Tags are tokens of the source's vocabulary only
        found = [find_target_id(tokenizer, name) for name in names]
        return frozenset(), frozenset(number for number in found if number is not None)

    tags = frozenset(tag.number for tag in read_tags(tokenizer).values())
    return tags, frozenset(tokenizer.convert_tokens_to_ids(names)) - tags


def _find_role(ids: Sequence[int], position: int, tags: frozenset[int], special: frozenset[int]) -> TokenRole:
    number = ids[position]
    if number in tags:
        return "tag"
    if number not in special:
        return "word"

    # Decoders may start with the token that ends a sentence
    if position == 0:
        return "start"
    has_text_after = any(other not in tags | special for other in ids[position:])
    return "special" if has_text_after else "end"


def _join(tokenizer: Any, ids: Sequence[int], side: TextSide) -> str:
    """Return the text of ids that are no special tokens."""
    if not ids:
        return ""

    # With two vocabularies, the tokenizer itself decodes targets.
    if has_two_vocabularies(tokenizer) and side == "source":
        names = name_tokens(tokenizer, side, ids)
        if hasattr(tokenizer, "spm_source"):
            return str(tokenizer.spm_source.decode_pieces(names))
        return str(tokenizer.convert_tokens_to_string(names))
    return decode(tokenizer, [ids])[0]


def _count_common(first: str, second: str) -> int:
    """Return the number of characters that two texts begin with in common."""
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
