"""The way in which a program without this package gives a model exactly the tokens that its codec gives it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from neuronspec.data.task_format import TaskFormat
from neuronspec.models.codec import TextCodec
from neuronspec.models.tags import Tag, read_tags

# Texts that a candidate must encode as the codec does: a word, several, and none that begins a sentence
_PROBES = ("word", "a b c", "A, b (c).")


@dataclass(frozen=True, kw_only=True)
class PlainUse:
    """The way of translating in one direction with plain transformers.

    Attributes:
        language: Value of the tokenizer's `src_lang`; None if it stays as it is.
        prefix: Text in front of each source.
        start: Tokens that the decoder starts with; empty if it starts by itself.
    """

    language: str | None
    prefix: str
    start: tuple[str, ...]


def find_plain_use(codec: TextCodec, task: str) -> PlainUse | None:
    """Return a way in which the tokenizer alone makes what the codec makes, or None if none was found.

    Args:
        codec: Codec of the model.
        task: Direction.

    Raises:
        NeuronspecError: If the model cannot do the task.
    """
    tokenizer, form = codec.tokenizer, codec.format(task)
    wanted = [form.source(ids) for ids in codec.encode_sources(_PROBES)]

    # The decoder's first tokens must have names, by which a program asks for them.
    start: list[str] = []
    if form.decoding_start != [codec.config.decoder_start_token_id]:
        start = tokenizer.convert_ids_to_tokens(form.decoding_start)
        if tokenizer.convert_tokens_to_ids(start) != form.decoding_start:
            return None

    # Every candidate is tried: what counts is what the tokenizer makes of it.
    tags = _find_tags(tokenizer, form)
    for language, prefix in itertools.product(_list_languages(codec, tags), _list_prefixes(codec, task, tags)):
        with _source_language_set(tokenizer, language) as is_known:
            if is_known and [tokenizer(prefix + probe)["input_ids"] for probe in _PROBES] == wanted:
                return PlainUse(language=language, prefix=prefix, start=tuple(start))
    return None


def _list_languages(codec: TextCodec, tags: Sequence[Tag]) -> list[str | None]:
    """Return the names that the tokenizer may know the source's language by: its tag, its code, or none."""
    if not hasattr(codec.tokenizer, "src_lang"):
        return [None]
    return [*(name for tag in tags for name in (tag.token, tag.code)), None]


def _list_prefixes(codec: TextCodec, task: str, tags: Sequence[Tag]) -> list[str]:
    """Return what may stand in front of a source: nothing, words, a tag, or both."""
    words = codec.fill_prefix(task).rstrip()
    spaced = f"{words} " if words else ""
    return list(dict.fromkeys(["", spaced, *(f"{tag.token} {spaced}" for tag in tags)]))


def _find_tags(tokenizer: PreTrainedTokenizerBase, form: TaskFormat) -> list[Tag]:
    """Return the tags that stand around a source."""
    around = {*form.source_prefix, *form.source_suffix}
    return [tag for tag in read_tags(tokenizer).values() if tag.number in around]


@contextlib.contextmanager
def _source_language_set(tokenizer: Any, language: str | None) -> Iterator[bool]:
    """Set a tokenizer's source language within a block; yield whether the tokenizer knows it."""
    if language is None:
        yield True
        return

    before = tokenizer.src_lang
    try:
        tokenizer.src_lang = language
        is_known = True
    except KeyError:  # M2M-100 knows its languages by their codes only
        is_known = False
    try:
        yield is_known
    finally:
        tokenizer.src_lang = before
