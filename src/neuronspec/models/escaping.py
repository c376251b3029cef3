"""Escaping text that looks like a special token, so that it stays text."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from transformers import PreTrainedTokenizerBase

from neuronspec.models.encoding import TextSide, encode, find_target_id
from neuronspec.models.tags import read_tags
from neuronspec.models.vocabulary_cache import cached_by_vocabulary


def escape_special_tokens(
    tokenizer: PreTrainedTokenizerBase, sentences: Sequence[str], *, reads_special: bool = False
) -> list[str]:
    """Return sentences in which no part is encoded as a tag or another special token.

    Even with `split_special_tokens`, a tokenizer finds the special tokens that are also pieces of its vocabulary, such
    as MADLAD-400's `<2de>`. A space after their first character prevents that.

    Args:
        tokenizer: The model's tokenizer.
        sentences: (n,) plain text.
        reads_special: Whether the text will be encoded without `split_special_tokens`, as other programs do.
    """
    pattern = _find_read_pattern(tokenizer) if reads_special else _find_pattern(tokenizer)
    if pattern is None:
        return list(sentences)

    def insert_space(match: re.Match[str]) -> str:
        token = match[0]
        return f"{token[0]} {token[1:]}"

    return [pattern.sub(insert_space, sentence) for sentence in sentences]


@cached_by_vocabulary
def _find_pattern(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str] | None:
    """Return a pattern of the special tokens that the tokenizer would find in a text; None if it finds none."""
    # Only tokens that a text can turn into are escaped; others would gain a space for nothing.
    tokens = sorted({*read_tags(tokenizer), *tokenizer.all_special_tokens})
    reachable = {*_find_reachable(tokenizer, "source", tokens), *_find_reachable(tokenizer, "target", tokens)}
    return _match_any(reachable)


@cached_by_vocabulary
def _find_read_pattern(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str] | None:
    """Return a pattern of all tags and special tokens; None if there are none."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return _match_any({*read_tags(tokenizer), *tokenizer.all_special_tokens, *added})


def _match_any(tokens: Collection[str]) -> re.Pattern[str] | None:
    found = sorted(filter(None, tokens))
    return re.compile("|".join(map(re.escape, found))) if found else None


def _find_reachable(tokenizer: PreTrainedTokenizerBase, side: TextSide, tokens: Sequence[str]) -> list[str]:
    """Return the tokens that are encoded as themselves when they stand in a text."""
    if not tokens:
        return []

    # Some tokens are found only by themselves, others only between words.
    alone = encode(tokenizer, side, tokens)
    within = encode(tokenizer, side, [f"a {token} a" for token in tokens])

    reachable = []
    for token, *encoded in zip(tokens, alone, within, strict=True):
        # A token that this side's vocabulary lacks cannot be reached.
        number = find_target_id(tokenizer, token) if side == "target" else tokenizer.convert_tokens_to_ids(token)
        exists = number is not None and number != tokenizer.unk_token_id
        if exists and any(number in ids for ids in encoded):
            reachable.append(token)
    return reachable
