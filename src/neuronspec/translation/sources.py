"""Sentences made ready for decoding: empty ones left out, long ones fitted to the model, each with its direction."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from neuronspec.config.sections import TooLong
from neuronspec.data.normalization import is_empty
from neuronspec.data.task_format import TaskFormat
from neuronspec.errors import NeuronspecError
from neuronspec.models.codec import TextCodec
from neuronspec.models.length_limits import announce_too_long


@dataclass(frozen=True)
class Sources:
    """Sentences ready for decoding.

    Attributes:
        rows: Positions of the sentences that are decoded; the translation of every other one is empty.
        ids: Encoder's input of each sentence; empty where it is not decoded.
        starts: First tokens of each sentence's decoder.
        pad: Token that fills up the encoder's input.
        target_pad: Token that fills up translations that end before others of their batch.
        room: Number of tokens that the decoder can write; None for no limit.
    """

    rows: list[int]
    ids: list[list[int]]
    starts: list[list[int]]
    pad: int
    target_pad: int
    room: int | None

    def cap(self, max_tokens: int) -> int:
        """Return how many tokens to write at most: `max_tokens`, or as many as the decoder has positions for."""
        return max_tokens if self.room is None else max(1, min(max_tokens, self.room))


def prepare_sources(
    codec: TextCodec, sentences: Sequence[str], tasks: Sequence[str], too_long: TooLong = "cut", *, quiet: bool = False
) -> Sources:
    """Return sentences ready for decoding.

    Args:
        codec: Codec of the model.
        sentences: (n,) plain text; one without a visible character is not decoded.
        tasks: (n,) the direction of each sentence.
        too_long: Fate of a sentence that is longer than the model can read.
        quiet: Whether to say nothing about sentences that are too long, because it was said before.

    Raises:
        NeuronspecError: The lengths of the arguments differ; the model cannot do a task, or cannot tell some apart; or
            a sentence is too long and `too_long` is `error`.
    """
    for given, name in ((sentences, "sentences"), (tasks, "tasks")):
        strange = [given] if isinstance(given, str) else [one for one in given if not isinstance(one, str)]
        if strange:
            raise NeuronspecError(f"give {name} as a list of texts, not {strange[0]!r:.60}")
    if len(sentences) != len(tasks):
        raise NeuronspecError(f"{len(sentences)} sentences but {len(tasks)} tasks: give one task for each sentence")

    formats = codec.formats(tasks)
    rows = [row for row, sentence in enumerate(sentences) if not is_empty(sentence)]
    texts = dict(zip(rows, codec.encode_sources([sentences[row] for row in rows]), strict=True))

    long_rows = [row for row in rows if _exceeds(formats[tasks[row]], len(texts[row]))]
    if long_rows and (not quiet or too_long == "error"):
        limit = formats[tasks[long_rows[0]]].longest_source
        announce_too_long([row + 1 for row in long_rows], len(sentences), limit, too_long)
    if too_long == "skip":
        left_out = set(long_rows)
        rows = [row for row in rows if row not in left_out]

    ids: list[list[int]] = [[] for _ in sentences]
    for row in rows:
        ids[row] = formats[tasks[row]].source(texts[row])
    rooms = [
        form.longest_target - len(form.decoding_start) for form in formats.values() if form.longest_target is not None
    ]
    pad = codec.tokenizer.pad_token_id
    target_pad = codec.target_pad
    return Sources(
        rows=rows,
        ids=ids,
        starts=[formats[task].decoding_start for task in tasks],
        pad=pad,
        target_pad=pad if target_pad is None else target_pad,
        room=min(rooms, default=None),
    )


def check_sources(
    codec: TextCodec, sentences: Sequence[str], tasks: Sequence[str], too_long: TooLong, name: str
) -> None:
    """Say once, before a file is translated, which of its lines are too long, and whether the model can do its tasks.

    Args:
        codec: Codec of the model.
        sentences: (n,) lines of the file.
        tasks: (n,) the direction of each line.
        too_long: Fate of lines that are longer than the model can read.
        name: The file's name, for the message.

    Raises:
        NeuronspecError: As for `prepare_sources`.
    """
    formats = codec.formats(tasks)
    limited = any(form.longest_source is not None for form in formats.values())
    suspects = [
        row
        for row, (sentence, task) in enumerate(zip(sentences, tasks, strict=True))
        if limited and _exceeds(formats[task], _bound_tokens(sentence)) and not is_empty(sentence)
    ]
    encoded = codec.encode_sources([sentences[row] for row in suspects])
    long_rows = [row for row, ids in zip(suspects, encoded, strict=True) if _exceeds(formats[tasks[row]], len(ids))]
    if long_rows:
        limit = formats[tasks[long_rows[0]]].longest_source
        announce_too_long([row + 1 for row in long_rows], len(sentences), limit, too_long, name)


def _exceeds(form: TaskFormat, tokens: int) -> bool:
    """Return whether a source of so many tokens of text is longer than the model can read."""
    room = form.room[0]
    return room is not None and tokens > room


def _bound_tokens(sentence: str) -> int:
    """Return a number of tokens that no tokenizer exceeds, found without one.

    No token stands for less than a byte of what becomes of the text first: a tokenizer may replace a character by
    several (an Arabic ligature by eighteen), put a space in front, and special tokens in the text are broken by spaces.
    """
    normal = unicodedata.normalize("NFKC", sentence).casefold()
    most = max(len(text.encode("utf-8", "replace")) for text in (sentence, normal))
    return 2 * most + 2
