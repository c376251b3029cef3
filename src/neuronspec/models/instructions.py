"""Instructions: the words of a source prefix as the ids that the model reads in front of each source."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError
from neuronspec.languages import UNKNOWN, find_language, same_language, split_direction
from neuronspec.models.encoding import PROBE_WORD, encode, is_fsmt
from neuronspec.models.source_prefixes import SourcePrefix, check_source_prefix, fill_prefix, find_declared_prefix


class Instructions:
    """The words that a model reads in front of the sources of each task.

    Args:
        tokenizer: Tokenizer of the model.
        config: Configuration of the model, which may declare prefixes of its own.
        prefix: Words for all tasks or for each task; those of the configuration if None.

    Raises:
        NeuronspecError: If the prefix has an unknown placeholder.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, prefix: SourcePrefix | None
    ) -> None:
        self.tokenizer = tokenizer
        self.config = config
        self.prefix: SourcePrefix | None = getattr(config, "source_prefix", None) if prefix is None else prefix
        if self.prefix is not None:
            check_source_prefix(self.prefix)

    def fill(self, task: str, *, has_tags: bool) -> str:
        """Return the words in front of the sources of a task; empty for none.

        Args:
            task: Direction `src-tgt`.
            has_tags: Whether the model reads language tags. If so, prefixes that its configuration declares for
                translation directions are not used.
        """
        if self.prefix is not None:
            # A prefix that was chosen replaces those that the configuration declares.
            return fill_prefix(self.prefix, task)
        return "" if has_tags else find_declared_prefix(self.config, task)

    def encode(self, task: str, *, has_tags: bool) -> tuple[int, ...]:
        """Return the ids of the words in front of the sources of a task; empty for none.

        Args:
            task: Direction `src-tgt`.
            has_tags: Whether the model reads language tags; see `fill`.

        Raises:
            NeuronspecError: If the vocabulary lacks a word.
        """
        text = self.fill(task, has_tags=has_tags)
        if not text.strip():
            return ()

        # The space at the end is left to the sources; see `spaces_sources`.
        ids = encode(self.tokenizer, "source", [text.rstrip()], reads_special=True)[0]
        if self.tokenizer.unk_token_id in ids:
            raise NeuronspecError(
                f"the prefix {text!r} of {task} is not in the model's vocabulary: write it as the model knows it"
            )
        return tuple(ids)

    @functools.cached_property
    def spaces_sources(self) -> bool:
        """Whether sources need a space in front, so that they are encoded as they are after the words of a prefix."""
        # One prefix is tried, for all tasks.
        text = self._first_prefix
        if not text:
            return False

        # The prefix and a word together must be encoded as the prefix followed by the word, with or without a space.
        prefix = encode(self.tokenizer, "source", [text.rstrip()], reads_special=True)[0]
        whole = encode(self.tokenizer, "source", [f"{text.rstrip()} {PROBE_WORD}"], reads_special=True)[0]
        alone, spaced = encode(self.tokenizer, "source", [PROBE_WORD, f" {PROBE_WORD}"])
        if whole == [*prefix, *alone]:
            return False
        if whole == [*prefix, *spaced]:
            return True

        raise NeuronspecError(
            f"the tokenizer joins the prefix {text!r} with the first word after it: end the prefix with another "
            "character, such as a colon"
        )

    @property
    def _first_prefix(self) -> str | None:
        if isinstance(self.prefix, Mapping):
            return next(iter(self.prefix.values()), None)
        return self.prefix


def check_declared_languages(tokenizer: PreTrainedTokenizerBase, task: str) -> None:
    """Refuse a task whose languages differ from those that a tokenizer declares, if it declares any.

    Args:
        tokenizer: Tokenizer of a model without language tags.
        task: Direction `src-tgt`.

    Raises:
        NeuronspecError: If the model translates another direction.
    """
    # Marian's tokenizer and FSMT's name their languages in attributes of their own.
    languages: Any = tokenizer
    declared = (getattr(languages, "source_lang", None), getattr(languages, "target_lang", None))
    if is_fsmt(tokenizer):
        declared = (languages.src_lang, languages.tgt_lang)

    for own, asked in zip(declared, split_direction(task), strict=True):
        # A group of languages, such as `roa` or `mul`, is no language of the table.
        names_language = isinstance(own, str) and bool(own) and find_language(own).family != UNKNOWN
        if names_language and not same_language(str(own), asked):
            raise NeuronspecError(f"the model translates {declared[0]}-{declared[1]}, not {task}")


def declares_language(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a tokenizer says itself which language its model translates into."""
    return bool(getattr(tokenizer, "target_lang", None)) or is_fsmt(tokenizer)
