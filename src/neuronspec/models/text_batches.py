"""Batches of plain text as a model reads it, for recording without a run."""

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

TaskTexts = Sequence[str] | Sequence[tuple[str, str]]  # lines, or (source, target) pairs


def make_batches(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, TaskTexts],
    *,
    tokens_per_batch: int = 8_192,
    max_tokens: int = 512,
    too_long: TooLong = "cut",
    source_prefix: SourcePrefix | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield batches of text with the tasks of their rows, as `record_activations` reads them.

    Args:
        model: Model that will read the batches. An encoder-decoder reads sources and targets with the tags of the
            task's languages; any other model reads its text as the tokenizer encodes it.
        tokenizer: Tokenizer of the model.
        texts: Text of each task: (source, target) pairs for an encoder-decoder, texts for any other model. Texts
            without a visible character are left out.
        tokens_per_batch: Largest number of padded tokens in a batch; a longer text gets a batch of its own.
        max_tokens: Largest number of tokens to read of a text. The model's positions may allow fewer.
        too_long: Treatment of longer texts, and of pairs with a longer side: `cut`, `skip` or `error`. A warning is
            given once for each task.
        source_prefix: Words in front of each source, for a model without language tags: see `TextCodec`.

    Yields:
        Batches of one task each, short texts first.

    Raises:
        NeuronspecError: If a task has no text, a language has no tag in the vocabulary, a model without tags cannot
            distinguish the tasks, or a text is too long and `too_long` is `error`.
    """
    # All texts are checked before the first batch.
    checked = {task: _check_task_texts(model, task, given) for task, given in texts.items()}
    if too_long not in get_args(TooLong):
        raise NeuronspecError(f"too_long is {too_long!r}; expected one of {', '.join(get_args(TooLong))}")

    batching = _Batching(tokens_per_batch=tokens_per_batch, max_tokens=max_tokens, too_long=too_long)
    if model.config.is_encoder_decoder:
        codec = TextCodec(tokenizer, model.config, source_prefix)
        yield from _batch_pairs(codec, checked, batching)
    else:
        yield from _batch_lines(model, tokenizer, texts=checked, batching=batching)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Batching:
    """Sizes of batches and texts, as in `make_batches`."""

    tokens_per_batch: int
    max_tokens: int
    too_long: TooLong

    def choose_rows(self, task: str, widths: Sequence[int], limit: int) -> Iterator[list[int]]:
        """Yield the positions of the rows of each batch, short rows first.

        Args:
            task: Name of the task.
            widths: Number of tokens in each row; 0 for a row to leave out.
            limit: Largest number of tokens to read of a row.

        Raises:
            NeuronspecError: If no row is left, or a row is too long and that is refused.
        """
        long_rows = [row for row, width in enumerate(widths) if width > limit]
        if long_rows:
            announce_too_long(
                [row + 1 for row in long_rows],
                total=len(widths),
                limit=limit,
                too_long=self.too_long,
                name=f"the text of {task}",
            )

        # Long rows are cut or left out, empty ones are left out, the others go from short to long.
        fitted = np.array(widths, dtype=np.int64)
        fitted[long_rows] = limit if self.too_long == "cut" else 0
        order = np.argsort(fitted, kind="stable")
        kept = order[fitted[order] > 0]
        if not len(kept):
            raise NeuronspecError(f"nothing is left of the text of {task}: all of it is empty or over {limit} tokens")

        for rows in cut_by_tokens(kept, fitted[kept].tolist(), self.tokens_per_batch):
            yield rows.tolist()


def _check_task_texts(model: PreTrainedModel, task: str, given: TaskTexts) -> list[Any]:
    """Return the texts of a task as a list, after a check that they are of the kind that the model reads."""
    # A single text in place of a list would be taken for a list of its characters.
    texts = [] if isinstance(given, str) else list(given)
    if not texts:
        raise NeuronspecError(f"there is no text for the task {task}: give a list of texts, not {given!r:.60}")

    reads_pairs = model.config.is_encoder_decoder
    for number, text in enumerate(texts, 1):
        fits = _is_text_pair(text) if reads_pairs else isinstance(text, str)
        if not fits:
            expected = "(source, target) pairs" if reads_pairs else "texts"
            raise NeuronspecError(
                f"{task}: a {model.config.model_type} model reads {expected}, not {text!r:.60} (number {number})"
            )
    return texts


def _is_text_pair(text: object) -> bool:
    return isinstance(text, tuple | list) and len(text) == 2 and all(isinstance(side, str) for side in text)


def _batch_pairs(
    codec: TextCodec, texts: Mapping[str, list[tuple[str, str]]], batching: _Batching
) -> Iterator[dict[str, Any]]:
    """Yield batches of (source, target) pairs for an encoder-decoder."""
    formats = codec.formats(texts)
    for task, pairs in texts.items():
        form = _limit_format(formats[task], task, batching.max_tokens)

        sources, targets = zip(*pairs, strict=True)
        source_ids, target_ids = codec.encode_sources(sources, task), codec.encode_targets(targets, task)
        source_overhead, target_overhead = form.overhead

        # The width of a pair is that of its longer side; empty pairs are left out.
        widths = []
        for row, (source, target) in enumerate(pairs):
            longer_side = max(len(source_ids[row]) + source_overhead, len(target_ids[row]) + target_overhead)
            widths.append(0 if is_empty(source) or is_empty(target) else longer_side)

        limits = (form.longest_source, form.longest_target)
        limit = min(limit for limit in limits if limit is not None)
        for rows in batching.choose_rows(task, widths, limit):
            batch = collate([(0, form, source_ids[row], target_ids[row]) for row in rows])
            yield {**batch, "tasks": [task] * len(rows)}


def _limit_format(form: TaskFormat, task: str, max_tokens: int) -> TaskFormat:
    """Return a format in which each side has at most `max_tokens` tokens."""
    limited = dataclasses.replace(
        form,
        longest_source=min(max_tokens, form.longest_source or max_tokens),
        longest_target=min(max_tokens, form.longest_target or max_tokens),
    )

    # The tokens around a text must leave room for it under this limit, too.
    if 0 in limited.room:
        raise NeuronspecError(
            f"{task}: no token of text fits into max_tokens={max_tokens} next to the {max(form.overhead)} "
            "that stand around it: raise max_tokens"
        )
    return limited


def _batch_lines(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Mapping[str, list[str]], batching: _Batching
) -> Iterator[dict[str, Any]]:
    """Yield batches of texts for a model without a separate encoder."""
    # The limit of the decoder, which is the only stack
    limit = min(batching.max_tokens, read_limits(model.config)[1] or batching.max_tokens)
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0  # masked, so any id will do

    for task, lines in texts.items():
        ids = tokenizer(list(lines), split_special_tokens=True)["input_ids"]
        check_ids(tokenizer, model.config, side="source", ids=ids)

        # Empty lines are left out.
        widths = [0 if is_empty(line) else len(row) for line, row in zip(lines, ids, strict=True)]
        for rows in batching.choose_rows(task, widths, limit):
            cut = [ids[row][:limit] for row in rows]
            yield {
                "input_ids": pad(cut, padding),  # (batch, seq)
                "attention_mask": pad([[1] * len(row) for row in cut], 0),
                "tasks": [task] * len(rows),
            }
