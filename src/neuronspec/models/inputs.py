"""From plain text to what a model reads: batches of any tasks, for recording without a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.data.batches import collate, pad
from neuronspec.data.sampling import cut_by_tokens
from neuronspec.data.vocabulary import encode_text
from neuronspec.errors import NeuronspecError
from neuronspec.models.tags import task_format

Texts = Sequence[str] | Sequence[tuple[str, str]]


def make_batches(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, Texts],
    *,
    tokens_per_batch: int = 8_192,
    max_tokens: int = 512,
) -> Iterator[dict[str, Any]]:
    """Yield batches of text with the tasks of their rows, as `record_activations` reads them.

    Args:
        model: decides how sequences are dressed: an encoder-decoder reads source and target with the tags of the
            task's languages, any other model its text as the tokenizer dresses it.
        tokenizer: the model's.
        texts: for each task, (source, target) pairs for an encoder-decoder, texts for any other model.
        tokens_per_batch: the most padded tokens of a batch; a longer text comes alone.
        max_tokens: longer texts are cut, longer pairs left out (a cut pair is no translation); at most what the
            model's positions allow.

    Yields:
        Batches of one task each, short texts first.

    Raises:
        NeuronspecError: a task has no text, or a language no tag in the vocabulary.
    """
    positions = (getattr(model.config, name, None) for name in ("max_position_embeddings", "n_positions"))
    max_tokens = min([max_tokens, *(limit for limit in positions if isinstance(limit, int))])
    for task, given in texts.items():
        if not given:
            raise NeuronspecError(f"there is no text for the task {task}")
        if isinstance(given[0], str) == model.config.is_encoder_decoder:
            expected = "(source, target) pairs" if model.config.is_encoder_decoder else "texts"
            raise NeuronspecError(f"{task}: a {model.config.model_type} model reads {expected}, not {given[0]!r}")
        read = _read_pairs if model.config.is_encoder_decoder else _read_texts
        left = False
        for batch in read(model, tokenizer, task, given, tokens_per_batch, max_tokens):
            left = True
            yield batch
        if not left:
            raise NeuronspecError(
                f"nothing is left of the text of {task}: all of it is empty or over {max_tokens} tokens"
            )


def _read_pairs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: str, pairs: Any, budget: int, longest: int
) -> Iterator[dict[str, Any]]:
    dress = task_format(task, tokenizer, model.config)
    sides = [encode_text(tokenizer, side) for side in zip(*pairs, strict=True)]
    widths = [max(map(len, pair)) + max(dress.overhead) for pair in zip(*sides, strict=True)]
    for rows in _cut(widths, budget, longest):
        batch = collate([(0, dress, sides[0][row], sides[1][row]) for row in rows])
        yield {**batch, "tasks": [task] * len(rows)}


def _read_texts(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: str, texts: Any, budget: int, longest: int
) -> Iterator[dict[str, Any]]:
    ids = [row[:longest] for row in tokenizer(list(texts), split_special_tokens=True)["input_ids"]]
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0  # masked: any id will do
    for rows in _cut([len(row) for row in ids], budget, longest):
        yield {
            "input_ids": pad([ids[row] for row in rows], padding),
            "attention_mask": pad([[1] * len(ids[row]) for row in rows], 0),
            "tasks": [task] * len(rows),
        }


def _cut(widths: Sequence[int], budget: int, longest: int) -> Iterator[list[int]]:
    """Yield the numbers of the rows of each batch, short rows first, empty and too long ones left out."""
    order = np.argsort(widths, kind="stable")
    kept = [int(row) for row in order if 0 < widths[row] <= longest]
    for rows in cut_by_tokens(np.array(kept, dtype=np.int64), [widths[row] for row in kept], budget):
        yield rows.tolist()
