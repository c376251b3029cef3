"""Sources: sentences made ready for decoding, empty ones left out and long ones fitted to the model."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from neuronspec.config.sections import TooLong
from neuronspec.data.normalization import is_empty
from neuronspec.data.task_format import TaskFormat
from neuronspec.errors import NeuronspecError
from neuronspec.models.codec import TextCodec
from neuronspec.models.length_limits import announce_too_long


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Sentences ready for decoding.

    Attributes:
        rows: Positions of the sentences that are decoded; the translation of every other one is empty.
        ids: Encoder input of each sentence; empty if it is not decoded.
        starts: First tokens of each sentence's decoder.
        pad: Token that pads the encoder's input.
        target_pad: Token that pads translations that end before others of their batch.
        room: Number of tokens that the decoder can write; None for no limit.
    """

    rows: list[int]
    ids: list[list[int]]
    starts: list[list[int]]
    pad: int
    target_pad: int
    room: int | None

    def cap(self, max_tokens: int) -> int:
        """Return the largest number of tokens to write: `max_tokens`, or less if the decoder has fewer positions."""
        return max_tokens if self.room is None else max(1, min(max_tokens, self.room))


def prepare_sources(
    codec: TextCodec, sentences: Sequence[str], tasks: Sequence[str], too_long: TooLong = "cut", *, quiet: bool = False
) -> Sources:
    """Return sentences ready for decoding.

    Args:
        codec: Codec of the model.
        sentences: (n,) plain text; a sentence without a visible character is not decoded.
        tasks: (n,) direction of each sentence.
        too_long: Treatment of a sentence that is longer than the model can read.
        quiet: Whether to print no warning about sentences that are too long.

    Raises:
        NeuronspecError: If the lengths of the arguments differ, the model cannot translate a task or
            distinguish tasks, or a sentence is too long and `too_long` is `error`.
    """
    _check_list(sentences, "sentences")
    _check_list(tasks, "tasks")
    if len(sentences) != len(tasks):
        raise NeuronspecError(f"{len(sentences)} sentences but {len(tasks)} tasks: give one task for each sentence")

    # The model must be able to tell all tasks apart, those of empty sentences included.
    formats = codec.formats(tasks)
    visible = [row for row, sentence in enumerate(sentences) if not is_empty(sentence)]
    encoded = _encode_rows(codec, sentences, tasks, visible)

    # Texts that are too long are announced, and left out if that is wanted.
    long_rows = _find_long_rows(encoded, formats, tasks)
    if not quiet or too_long == "error":
        _announce_rows(long_rows, formats, tasks, too_long=too_long)
    if too_long == "skip":
        for row in long_rows:
            del encoded[row]

    # The format adds tags and other tokens around the text, and cuts it to the model's length.
    ids: list[list[int]] = [[] for _ in sentences]
    for row, text in encoded.items():
        ids[row] = formats[tasks[row]].source(text)

    # Where the target has a vocabulary of its own, its padding token may have another number.
    pad = codec.tokenizer.pad_token_id
    target_pad = codec.target_pad
    return Sources(
        rows=list(encoded),
        ids=ids,
        starts=[formats[task].decoding_start for task in tasks],
        pad=pad,
        target_pad=pad if target_pad is None else target_pad,
        room=_find_room(formats.values()),
    )


def check_sources(
    codec: TextCodec, sentences: Sequence[str], tasks: Sequence[str], too_long: TooLong, name: str
) -> None:
    """Check a file before it is translated: can the model translate its directions, and which lines are too long?

    Args:
        codec: Codec of the model.
        sentences: (n,) lines of the file.
        tasks: (n,) direction of each line.
        too_long: Treatment of lines that are longer than the model can read.
        name: Name of the file, for the message.

    Raises:
        NeuronspecError: As for `prepare_sources`.
    """
    formats = codec.formats(tasks)
    if all(form.longest_source is None for form in formats.values()):
        return

    # Encoding takes long, so only lines that could be too long are encoded.
    suspects = []
    for row, (sentence, task) in enumerate(zip(sentences, tasks, strict=True)):
        if _is_too_long(formats[task], _bound_tokens(sentence)) and not is_empty(sentence):
            suspects.append(row)

    long_rows = _find_long_rows(_encode_rows(codec, sentences, tasks, suspects), formats, tasks)
    _announce_rows(long_rows, formats, tasks, too_long=too_long, name=name)


def _check_list(texts: Sequence[str], name: str) -> None:
    # A text is a sequence of texts, too: its letters.
    strange = [texts] if isinstance(texts, str) else [text for text in texts if not isinstance(text, str)]
    if strange:
        raise NeuronspecError(f"give {name} as a list of texts, not {strange[0]!r:.60}")


def _encode_rows(
    codec: TextCodec, sentences: Sequence[str], tasks: Sequence[str], rows: Sequence[int]
) -> dict[int, list[int]]:
    """Return the ids of some sentences, by row."""
    # Sentences that are read alike are encoded together.
    groups: dict[int, list[int]] = {}
    for row in rows:
        groups.setdefault(codec.reading_level(tasks[row]), []).append(row)

    encoded: dict[int, list[int]] = {}
    for group in groups.values():
        texts = codec.encode_sources([sentences[row] for row in group], tasks[group[0]])
        encoded |= dict(zip(group, texts, strict=True))
    return {row: encoded[row] for row in rows}


def _find_long_rows(
    texts: Mapping[int, Sequence[int]], formats: Mapping[str, TaskFormat], tasks: Sequence[str]
) -> list[int]:
    """Return the rows whose text is longer than the model can read.

    Args:
        texts: Ids of the text in each row.
        formats: Format of each task.
        tasks: (n,) task of each row.
    """
    return [row for row, ids in texts.items() if _is_too_long(formats[tasks[row]], len(ids))]


def _announce_rows(
    rows: Sequence[int], formats: Mapping[str, TaskFormat], tasks: Sequence[str], *, too_long: TooLong, name: str = ""
) -> None:
    """Announce the rows that are too long, if there are any."""
    if not rows:
        return

    # One message names one limit, that of the first row.
    first = formats[tasks[rows[0]]]
    numbers = [row + 1 for row in rows]
    announce_too_long(numbers, total=len(tasks), limit=first.longest_source, too_long=too_long, name=name)


def _find_room(formats: Iterable[TaskFormat]) -> int | None:
    """Return how many tokens the decoder can write in every one of these formats; None for no limit."""
    # The tokens that a translation starts with take up positions as well.
    rooms = [form.longest_target - len(form.decoding_start) for form in formats if form.longest_target is not None]
    return min(rooms, default=None)


def _is_too_long(form: TaskFormat, tokens: int) -> bool:
    """Return whether a source with this many tokens of text is longer than the model can read."""
    # The tokens that the format adds around the text are taken off already.
    room = form.room[0]
    return room is not None and tokens > room


def _bound_tokens(sentence: str) -> int:
    """Return an upper bound of a sentence's number of tokens with any tokenizer, found without one.

    A token stands for at least one byte of the normalized text. Normalizing may replace a character by several (an
    Arabic ligature by eighteen) and put a space in front, and spaces are put into special tokens in the text.
    """
    normal = unicodedata.normalize("NFKC", sentence).casefold()
    most = max(len(text.encode("utf-8", "replace")) for text in (sentence, normal))
    return 2 * most + 2
