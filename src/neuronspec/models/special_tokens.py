"""Special tokens that a tokenizer puts around a source and around a target, found by encoding a probe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError

_PROBE = "a b c"  # a text that any tokenizer can encode


@dataclass(frozen=True, kw_only=True)
class SpecialTokens:
    """The ids that a tokenizer puts around text by itself.

    Attributes:
        source_prefix: Ids in front of a source.
        source_suffix: Ids after a source.
        target_prefix: Ids in front of a target.
        target_suffix: Ids after a target.
    """

    source_prefix: tuple[int, ...]
    source_suffix: tuple[int, ...]
    target_prefix: tuple[int, ...]
    target_suffix: tuple[int, ...]


def read_special_tokens(tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
    """Return the ids that a tokenizer puts around text, with the languages that it is set to.

    Raises:
        NeuronspecError: If the tokenizer changes the text itself when it adds special tokens.
    """
    with target_language_set(tokenizer):
        source = _split_special(tokenizer, "text")
        target = _split_special(tokenizer, "text_target")

    return SpecialTokens(
        source_prefix=source[0], source_suffix=source[1], target_prefix=target[0], target_suffix=target[1]
    )


@contextlib.contextmanager
def target_language_set(tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Set a tokenizer's target language within a block if it has none: M2M-100's cannot encode targets without."""
    # One that has a target language, but no source language, places no tags (Speech2Text's).
    if getattr(tokenizer, "tgt_lang", "") is not None or not hasattr(tokenizer, "src_lang"):
        yield
        return

    # Any language will do: its tag is not used, or exchanged later.
    tokenizer.tgt_lang = tokenizer.src_lang
    try:
        yield
    finally:
        tokenizer.tgt_lang = None


def _split_special(tokenizer: PreTrainedTokenizerBase, argument: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids in front of a text and after it."""
    text: list[int] = tokenizer(**{argument: _PROBE}, add_special_tokens=False)["input_ids"]
    whole: list[int] = tokenizer(**{argument: _PROBE})["input_ids"]

    # The text without special tokens stands somewhere in the text with them.
    for start in range(len(whole) - len(text) + 1):
        if whole[start : start + len(text)] == text:
            return tuple(whole[:start]), tuple(whole[start + len(text) :])

    raise NeuronspecError(
        f"cannot find where {type(tokenizer).__name__} puts its special tokens: it encodes a text as {whole} with "
        f"them, and as {text} without"
    )
