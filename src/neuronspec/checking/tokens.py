"""Checks of text as the model reads it: unknown tokens, and lengths against the limits of model and settings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuronspec.checking.problem import Level, Problem, list_places
from neuronspec.checking.text_sample import PairText
from neuronspec.config.sections import Sampling, TooLong, Training
from neuronspec.data.task_format import TaskFormat
from neuronspec.data.texts import TEXT_PARTS, assign_pairs
from neuronspec.languages import split_direction
from neuronspec.models.codec import TextCodec
from neuronspec.models.encoding import TextSide, find_target_id
from neuronspec.statistics.numbers import show_number

_ENCODED = 2_000  # pairs of each part that are encoded
# Shares of unknown tokens above which something is worth knowing, and above which the text cannot be learned
_NOTED_UNKNOWN, _HARMFUL_UNKNOWN = 0.001, 0.01
_CHARACTERS = 5  # unknown characters in a message
_OFTEN, _SELDOM = 100, 1  # passes over the training text above and below which a note is due
_MANY_LONG = 0.05  # share of pairs that are too long, above which it is reported
_FILLED = 0.9  # share of a batch that is no padding, usually
_USUAL = 0.99  # share of the sentences that a suggested limit should hold


@dataclass(frozen=True, kw_only=True)
class EncodedText:
    """The tokens of a part of a direction's text, from a sample.

    Attributes:
        task: Direction.
        part: Part of the data.
        lengths: Numbers of tokens of source and target, with those that the model's format adds, (pairs, 2).
        unknown: Numbers of unknown tokens of source and target, without those that a format adds.
        tokens: Numbers of all tokens of source and target, likewise.
        strange: Characters that become unknown tokens, the most frequent first, on each side.
        form: Format of the direction.
    """

    task: str
    part: str
    lengths: NDArray[np.int64]
    unknown: tuple[int, int]
    tokens: tuple[int, int]
    strange: tuple[str, str]
    form: TaskFormat

    @property
    def widest(self) -> NDArray[np.int64]:
        """Number of tokens of the longer side of each pair, (pairs,)."""
        return np.asarray(self.lengths.max(axis=1))


def encode_text(codec: TextCodec, texts: Sequence[PairText], tasks: Sequence[str], pivot: str) -> Iterator[EncodedText]:
    """Yield the tokens of each direction's text, as the model reads them, from a sample.

    Args:
        codec: Codec of the model.
        texts: Text of each pair of languages.
        tasks: Directions that the model can translate.
        pivot: Language that comes first in its pairs.
    """
    by_pair = {text.pair: text for text in texts}
    for task, (pair, side) in assign_pairs(list(tasks), pivot).items():
        form = codec.format(task)
        for part in TEXT_PARTS:
            pairs = by_pair[pair].parts[part] if pair in by_pair else []
            step = max(1, len(pairs) // _ENCODED)
            rows = [(sides[side], sides[1 - side]) for sides in pairs[::step]]
            if rows:
                yield _encode_rows(codec, rows, task=task, part=part, form=form)


def _encode_rows(
    codec: TextCodec, rows: Sequence[tuple[str, str]], *, task: str, part: str, form: TaskFormat
) -> EncodedText:
    sources, targets = (list(side) for side in zip(*rows, strict=True))
    ids = codec.encode_sources(sources), codec.encode_targets(targets)
    lengths = np.array([[len(row) for row in side] for side in ids], dtype=np.int64).T  # (pairs, 2)

    # Each side has the unknown token of its own vocabulary.
    unknown = codec.tokenizer.unk_token
    known = unknown is not None
    numbers = (codec.tokenizer.unk_token_id, find_target_id(codec.tokenizer, unknown) if known else None)
    counts = [sum(row.count(number) for row in side) for side, number in zip(ids, numbers, strict=True)]
    sides: tuple[tuple[TextSide, list[str]], ...] = (("source", sources), ("target", targets))
    strange = [
        _find_strange(codec, side, sentences, number) if count else ""
        for (side, sentences), number, count in zip(sides, numbers, counts, strict=True)
    ]
    return EncodedText(
        task=task,
        part=part,
        lengths=lengths + np.array(form.overhead),
        unknown=(counts[0], counts[1]),
        tokens=(int(lengths[:, 0].sum()), int(lengths[:, 1].sum())),
        strange=(strange[0], strange[1]),
        form=form,
    )


def _find_strange(codec: TextCodec, side: TextSide, sentences: Sequence[str], unknown: int | None) -> str:
    """Return the most frequent characters that alone become the unknown token."""
    counts = Counter(character for sentence in sentences for character in sentence if not character.isspace())
    characters = [character for character, _ in counts.most_common()]
    encode = codec.encode_sources if side == "source" else codec.encode_targets
    found = [one for one, ids in zip(characters, encode(characters), strict=True) if unknown in ids]
    return "".join(found[:_CHARACTERS])


def check_unknown(encoded: Sequence[EncodedText], fix: str) -> Iterator[Problem]:
    """Yield a problem for each language of whose text the vocabulary lacks too much.

    Args:
        encoded: Tokens of all directions.
        fix: Way to get a vocabulary that has it.
    """
    for code, (unknown, tokens, strange) in count_unknown(encoded).items():
        share = unknown / max(1, tokens)
        if share <= _NOTED_UNKNOWN:
            continue
        level: Level = "warning" if share > _HARMFUL_UNKNOWN else "note"
        characters = f", from the characters {' '.join(strange)}" if strange else ""
        yield Problem(
            level=level,
            subject=f"text of {code}",
            message=f"{show_number(100 * share)} % of the tokens of {code} are unknown to the vocabulary{characters}",
            fix=fix,
        )


def count_unknown(encoded: Sequence[EncodedText]) -> dict[str, tuple[int, int, str]]:
    """Return the numbers of unknown and of all tokens of each language, and the characters that are unknown."""
    counts: dict[str, tuple[int, int, str]] = {}
    for text in encoded:
        for side, code in enumerate(split_direction(text.task)):
            unknown, tokens, strange = counts.get(code, (0, 0, ""))
            counts[code] = (unknown + text.unknown[side], tokens + text.tokens[side], strange or text.strange[side])
    return counts


def check_lengths(
    encoded: Sequence[EncodedText], sampling: Sampling, *, too_long: TooLong = "cut", max_output: int | None = None
) -> Iterator[Problem]:
    """Yield the problems of text that is longer than the model or the settings allow.

    Args:
        encoded: Tokens of all directions.
        sampling: Settings for drawing batches, which leave out training pairs that are too long.
        too_long: Treatment of other text that is longer than the model can read.
        max_output: Greatest number of tokens of a translation.
    """
    yield from _check_training_lengths([text for text in encoded if text.part == "train"], sampling)
    yield from _check_limits([text for text in encoded if text.part != "train"], too_long)
    if max_output is not None:
        yield from _check_outputs([text for text in encoded if text.part == "test"], max_output)


def _check_training_lengths(encoded: Sequence[EncodedText], sampling: Sampling) -> Iterator[Problem]:
    """Yield a problem if many training pairs are left out for their length."""
    places, wanted, all_gone = [], 0, False
    for text in encoded:
        own = [limit for limit in (text.form.longest_source, text.form.longest_target) if limit is not None]
        limit = min(sampling.max_tokens, sampling.tokens_per_batch, *own)
        beyond = int((text.widest > limit).sum())
        if beyond > _MANY_LONG * len(text.widest):
            places.append(f"{text.task} {beyond:,} of {len(text.widest):,}")
            all_gone |= beyond == len(text.widest)

            # Only settings can be raised, and only as far as the model reads.
            wanted = max(wanted, min([_round_up(np.quantile(text.widest, _USUAL)), *own]))
    if places:
        keys = [key for key in ("max_tokens", "tokens_per_batch") if getattr(sampling, key) < wanted]
        yield Problem(
            level="error" if all_gone else "warning",
            subject="sampling.max_tokens",
            message=f"training pairs are left out because they are too long: {list_places(places)}",
            fix=" ".join(f"sampling.{key}={wanted}" for key in keys) or "give shorter sentences",
        )


def _check_limits(encoded: Sequence[EncodedText], too_long: TooLong) -> Iterator[Problem]:
    """Yield a problem if validation or test text is longer than the model reads: it is cut, left out or refused."""
    places = []
    for text in encoded:
        limits = [limit for limit in (text.form.longest_source, text.form.longest_target) if limit is not None]
        beyond = int((text.widest > min(limits)).sum()) if limits else 0
        if beyond:
            places.append(f"{text.part} text of {text.task} {beyond:,} of {len(text.widest):,} (limit {min(limits)})")
    if places:
        yield Problem(
            level="error" if too_long == "error" else "warning",
            subject="data.too_long",
            message=f"some text has more tokens than the model reads: {list_places(places)}",
            fix="shorten it, or choose data.too_long=skip",
        )


def _check_outputs(encoded: Sequence[EncodedText], max_output: int) -> Iterator[Problem]:
    """Yield a warning if references are longer than any translation can be."""
    places, wanted = [], 0
    for text in encoded:
        targets = text.lengths[:, 1]  # (pairs,)
        beyond = int((targets > max_output).sum())
        if beyond > _MANY_LONG * len(targets):
            places.append(f"{text.task} {beyond:,} of {len(targets):,}")
            wanted = max(wanted, _round_up(1.2 * np.quantile(targets, _USUAL)))
    if places:
        yield Problem(
            level="warning",
            subject="translate.max_tokens",
            message=f"references have over translate.max_tokens={max_output} tokens, so translations will be cut off: "
            f"{list_places(places)}",
            fix=f"translate.max_tokens={wanted}",
        )


def _round_up(tokens: float) -> int:
    """Return a round number of tokens that is not smaller."""
    return math.ceil(tokens / 16) * 16


def count_passes(
    training: Training, sampling: Sampling, encoded: Sequence[EncodedText], texts: Sequence[PairText], pivot: str
) -> float | None:
    """Return about how often a training sees its text; None if the text was not read to its end.

    Args:
        training: Settings of the training.
        sampling: Settings for drawing batches.
        encoded: Tokens of all directions.
        texts: Text of each pair of languages.
        pivot: Language that comes first in its pairs.
    """
    by_pair = {text.pair: text for text in texts}
    if not all("train" in text.whole for text in texts if text.parts["train"]):
        return None

    # The tokens of the longer side of each pair, in every direction
    parts = [text for text in encoded if text.part == "train"]
    pairs = assign_pairs([text.task for text in parts], pivot)
    total = sum(float(text.widest.mean()) * len(by_pair[pairs[text.task][0]].parts["train"]) for text in parts)
    drawn = training.updates * training.batches_per_update * sampling.tokens_per_batch * _FILLED
    return float(drawn / total) if total else None


def check_passes(training: Training, key: str, passes: float | None) -> Iterator[Problem]:
    """Yield a note if a training sees its text very often, or not even once.

    Args:
        training: Settings of the training.
        key: Name of their section, `train` or `continued`.
        passes: Result of `count_passes`.
    """
    # A continued training may well be short: the model has seen the text before.
    often, seldom = (passes or 1) > _OFTEN, (passes or 1) < _SELDOM and key == "train"
    if not training.updates or passes is None or not (often or seldom):
        return

    # What happens, and the number of updates at the border
    if often:
        times = f"about {show_number(passes, 3)} times"
        message = f"{training.updates:,} updates see the training text {times}: it will be learned by heart"
        fix = f"{key}.updates={max(1, math.floor(training.updates * _OFTEN / passes))} sees it about {_OFTEN} times"
    else:
        message = f"{training.updates:,} updates see about {show_number(100 * passes)} % of the training text"
        fix = f"{key}.updates={math.ceil(training.updates / passes)} sees all of it once"
    yield Problem(level="note", subject=f"{key}.updates", message=message, fix=fix)
