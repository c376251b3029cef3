"""The sequences of a task as a model reads and writes them: text with the tokens that stand around it."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = Sequence[int] | NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class TaskFormat:
    """The tokens that stand around the text of one task.

    The encoder reads `source_prefix instruction x source_suffix`. The decoder must write
    `target_prefix y target_suffix` (a tag is a target, too, as in the released code: docs/paper.md) and reads the same
    one step later, after `start`. Text that is longer than the model's positions is cut, so that every sequence fits.

    Attributes:
        source_prefix: Tokens in front of a source, such as its tag.
        instruction: Tokens of a prefix in words, such as "translate German to English:".
        source_suffix: Tokens after a source, such as the end of the sentence.
        target_prefix: Tokens in front of a target.
        target_suffix: Tokens after a target.
        start: First token that the decoder reads.
        decoding_tag: Tokens that decoding starts with in addition, where targets are trained without a tag in front.
        pad: Token that fills up sources.
        target_pad: Token that fills up the decoder's input; `pad` where not given.
        tags: Those of these tokens that name a language.
        longest_source: Number of tokens that the encoder can read; None for no limit.
        longest_target: Number of tokens that the decoder can read; None for no limit.
    """

    source_prefix: tuple[int, ...] = ()
    instruction: tuple[int, ...] = ()
    source_suffix: tuple[int, ...] = ()
    target_prefix: tuple[int, ...] = ()
    target_suffix: tuple[int, ...] = ()
    start: int
    decoding_tag: tuple[int, ...] = ()
    pad: int
    target_pad: int | None = None
    tags: tuple[int, ...] = ()
    longest_source: int | None = None
    longest_target: int | None = None

    @functools.cached_property
    def overhead(self) -> tuple[int, int]:
        """Tokens that are added to a source and to a target sequence."""
        source = len(self.source_prefix) + len(self.instruction) + len(self.source_suffix)
        target = len(self.target_prefix) + len(self.target_suffix)
        return source, target

    @functools.cached_property
    def room(self) -> tuple[int | None, int | None]:
        """Tokens of text that fit into a source and into a target sequence; None for no limit."""
        # What the added tokens leave of the model's positions.
        limits = (self.longest_source, self.longest_target)
        source, target = (
            None if limit is None else max(0, limit - added) for limit, added in zip(limits, self.overhead, strict=True)
        )
        return source, target

    def source(self, ids: Ids) -> list[int]:
        """Return the encoder's input for a text."""
        text = ids[: self.room[0]]  # cut, so that the tokens around it fit
        return [*self.source_prefix, *self.instruction, *text, *self.source_suffix]

    def labels(self, ids: Ids) -> list[int]:
        """Return what the decoder must write for a text."""
        text = ids[: self.room[1]]  # cut, so that the tokens around it fit
        return [*self.target_prefix, *text, *self.target_suffix]

    def decoder_input(self, ids: Ids) -> list[int]:
        """Return what the decoder reads while it learns to write a text: its labels, one step later."""
        # Nothing is written after the last label, so it is not read.
        return [self.start, *self.labels(ids)[:-1]]

    @property
    def decoding_start(self) -> list[int]:
        """Tokens that the decoder reads before the first token of a translation."""
        return [self.start, *self.target_prefix, *self.decoding_tag]


def special_ids(formats: Iterable[TaskFormat], kinds: Collection[str]) -> list[int]:
    """Return the ids of the tokens that these formats add to a text, the words of an instruction left out.

    Args:
        formats: Formats of some tasks.
        kinds: Any of `tags` and `end_of_sentence`; the latter are all added tokens that are no tags, among them the
            one that the decoder starts with.
    """
    found: set[int] = set()
    for form in formats:
        # Without the instruction, whose tokens are words.
        added = {*form.source_prefix, *form.source_suffix, *form.target_prefix, *form.target_suffix, form.start}

        if "tags" in kinds:
            found |= added & {*form.tags}
        if "end_of_sentence" in kinds:
            found |= added - {*form.tags}
    return sorted(found)
