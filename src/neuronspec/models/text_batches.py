"""From plain text to what a model reads: batches of any tasks, for recording without a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import TooLong
from neuronspec.data.batches import collate, pad
from neuronspec.data.normalization import is_empty
from neuronspec.data.sampling import cut_by_tokens
from neuronspec.data.task_format import TaskFormat
from neuronspec.errors import NeuronspecError
from neuronspec.models.codec import TextCodec
from neuronspec.models.embeddings import check_ids
from neuronspec.models.length_limits import announce_too_long, read_limits
from neuronspec.models.source_prefixes import SourcePrefix

Texts = Sequence[str] | Sequence[tuple[str, str]]


def make_batches(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, Texts],
    *,
    tokens_per_batch: int = 8_192,
    max_tokens: int = 512,
    too_long: TooLong = "cut",
    source_prefix: SourcePrefix | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield batches of text with the tasks of their rows, as `record_activations` reads them.

    Args:
        model: decides what stands around text: an encoder-decoder reads source and target with the tags of the
            task's languages, any other model its text as the tokenizer gives it.
        tokenizer: the model's.
        texts: for each task, (source, target) pairs for an encoder-decoder, texts for any other model. Those without
            a visible character are left out.
        tokens_per_batch: the most padded tokens of a batch; a longer text comes alone.
        max_tokens: the most tokens to read of a text, and at most what the model's positions allow.
        too_long: what becomes of a longer text, and of a pair with a longer side; it is said once for each task.
        source_prefix: words in front of each source, for a model without language tags: see `TextCodec`.

    Yields:
        Batches of one task each, short texts first.

    Raises:
        NeuronspecError: a task has no text, a language no tag in the vocabulary, a model without tags cannot tell the
            tasks apart, or a text is too long and `too_long` is `error`.
    """
    texts = {task: _check_texts(model, task, given) for task, given in texts.items()}
    if too_long not in get_args(TooLong):
        raise NeuronspecError(f"too_long is {too_long!r}; expected one of {', '.join(get_args(TooLong))}")

    if not model.config.is_encoder_decoder:
        limit = min(max_tokens, read_limits(model.config)[1] or max_tokens)
        for task, lines in texts.items():
            yield from _read_lines(tokenizer, model, task, lines, tokens_per_batch, limit, too_long)
        return

    codec = TextCodec(tokenizer, model.config, source_prefix)
    formats = codec.formats(texts)
    for task, pairs in texts.items():
        form = dataclasses.replace(
            formats[task],
            longest_source=min(max_tokens, formats[task].longest_source or max_tokens),
            longest_target=min(max_tokens, formats[task].longest_target or max_tokens),
        )
        if 0 in form.room:
            raise NeuronspecError(
                f"{task}: no token of text fits into max_tokens={max_tokens} beside the {max(form.overhead)} "
                "that stand around it: raise max_tokens"
            )
        yield from _read_pairs(codec, form, task, pairs, tokens_per_batch, too_long)


def _check_texts(model: PreTrainedModel, task: str, given: Texts) -> list[Any]:
    """Return the texts of a task as a list, each of the kind that the model reads."""
    texts = [] if isinstance(given, str) else list(given)
    if not texts:
        raise NeuronspecError(f"there is no text for the task {task}: give a list of texts, not {given!r:.60}")

    translates = model.config.is_encoder_decoder
    for number, text in enumerate(texts, 1):
        if not (_is_pair(text) if translates else isinstance(text, str)):
            expected = "(source, target) pairs" if translates else "texts"
            raise NeuronspecError(
                f"{task}: a {model.config.model_type} model reads {expected}, not {text!r:.60} (number {number})"
            )
    return texts


def _is_pair(text: object) -> bool:
    return isinstance(text, tuple | list) and len(text) == 2 and all(isinstance(side, str) for side in text)


def _read_pairs(
    codec: TextCodec, form: TaskFormat, task: str, pairs: Any, budget: int, too_long: TooLong
) -> Iterator[dict[str, Any]]:
    sources, targets = zip(*pairs, strict=True)
    sides = (codec.encode_sources(sources), codec.encode_targets(targets))
    limits = (form.longest_source, form.longest_target)

    widths = []
    for number, ids in enumerate(zip(*sides, strict=True)):
        lengths = [len(side) + added for side, added in zip(ids, form.overhead, strict=True)]
        widths.append(0 if is_empty(sources[number]) or is_empty(targets[number]) else max(lengths))
    limit = min(limit for limit in limits if limit is not None)
    for rows in _choose_rows(task, widths, budget, limit, too_long):
        batch = collate([(0, form, sides[0][row], sides[1][row]) for row in rows])
        yield {**batch, "tasks": [task] * len(rows)}


def _read_lines(
    tokenizer: PreTrainedTokenizerBase,
    model: PreTrainedModel,
    task: str,
    lines: Any,
    budget: int,
    limit: int,
    too_long: TooLong,
) -> Iterator[dict[str, Any]]:
    ids = tokenizer(list(lines), split_special_tokens=True)["input_ids"]
    check_ids(tokenizer, model.config, "source", ids)
    widths = [0 if is_empty(line) else len(row) for line, row in zip(lines, ids, strict=True)]
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0  # masked: any id will do
    for rows in _choose_rows(task, widths, budget, limit, too_long):
        texts = [ids[row][:limit] for row in rows]
        yield {
            "input_ids": pad(texts, padding),
            "attention_mask": pad([[1] * len(text) for text in texts], 0),
            "tasks": [task] * len(rows),
        }


def _choose_rows(task: str, widths: Sequence[int], budget: int, limit: int, too_long: TooLong) -> Iterator[list[int]]:
    """Yield the numbers of the rows of each batch, short rows first, empty ones left out.

    Raises:
        NeuronspecError: Nothing is left, or a row is too long and that is refused.
    """
    long_rows = [row for row, width in enumerate(widths) if width > limit]
    if long_rows:
        announce_too_long(
            [row + 1 for row in long_rows],
            total=len(widths),
            limit=limit,
            too_long=too_long,
            name=f"the text of {task}",
        )
    fitted = [min(width, limit) if too_long == "cut" or width <= limit else 0 for width in widths]
    order = np.argsort(fitted, kind="stable")
    kept = [int(row) for row in order if fitted[row] > 0]
    if not kept:
        raise NeuronspecError(f"nothing is left of the text of {task}: all of it is empty or over {limit} tokens")
    for rows in cut_by_tokens(np.array(kept, dtype=np.int64), [fitted[row] for row in kept], budget):
        yield rows.tolist()
