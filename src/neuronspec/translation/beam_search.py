"""Beam search of transformers over sentences of any mix of directions, with a model that is specialized or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import Translation
from neuronspec.data.batches import pad
from neuronspec.data.sampling import cut_by_tokens
from neuronspec.models.codec import TextCodec
from neuronspec.models.placement import input_device
from neuronspec.models.source_prefixes import SourcePrefix
from neuronspec.progress import Advance
from neuronspec.specialization.routing import find_router
from neuronspec.translation.nonfinite_scores import RefuseNaN
from neuronspec.translation.sources import Sources, prepare_sources


def translate_sentences(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sequence[str],
    tasks: Sequence[str],
    options: Translation | None = None,
    advance: Advance | None = None,
    *,
    source_prefix: SourcePrefix | None = None,
    quiet: bool = False,
) -> list[str]:
    """Translate sentences and return the translations in the same order.

    Args:
        model: Encoder-decoder; if it is specialized, each sentence is decoded with the neurons of its task. It is put
            into evaluation mode.
        tokenizer: Tokenizer of the model.
        sentences: (n,) plain text; the translation of an empty sentence is empty.
        tasks: (n,) direction of each sentence.
        options: Beam size and lengths; by default the paper's.
        advance: Function that is called with the number of sentences after each batch.
        source_prefix: Words in front of each source, for a model without language tags: see `TextCodec`.
        quiet: Whether to print no warning about sentences that are too long.

    Returns:
        (n,) plain text.

    Raises:
        NeuronspecError: If a language has no tag in the vocabulary, tasks look the same to a model without tags, a
            task has no masks, a sentence is too long and `options.too_long` is `error`, or the lengths of the
            arguments differ.
    """
    options = options or Translation()
    codec = TextCodec(tokenizer, model.config, source_prefix)
    sources = prepare_sources(codec, sentences, tasks, too_long=options.too_long, quiet=quiet)
    translations = [""] * len(sentences)
    model.eval()  # dropout must not reach a translation

    # Each text goes back to the row of its sentence.
    for rows, ids in decode_batches(model, sources, tasks, options):
        for row, text in zip(rows, codec.decode(ids), strict=True):
            translations[row] = text
        if advance is not None:
            advance(len(rows))

    # Sentences that were not decoded count as done.
    if advance is not None and len(sources.rows) < len(sentences):
        advance(len(sentences) - len(sources.rows))
    return translations


def decode_batches(
    model: PreTrainedModel, sources: Sources, tasks: Sequence[str], options: Translation
) -> Iterator[tuple[list[int], list[list[int]]]]:
    """Yield the rows of each batch, which mixes all directions, with the ids that the model writes for them.

    Args:
        model: Encoder-decoder in evaluation mode, specialized or not.
        sources: Sentences ready for decoding.
        tasks: (n,) direction of each sentence.
        options: Beam size and lengths.
    """
    for rows in _cut_batches(sources, options):
        output = _generate(model, sources, rows, tasks=[tasks[row] for row in rows], options=options)
        yield rows, output.tolist()


def _cut_batches(sources: Sources, options: Translation) -> list[list[int]]:
    """Return the rows of each batch, short sentences first."""
    # Sentences of similar length need little padding.
    rows = np.array(sources.rows, dtype=np.int64)
    widths = np.array([len(sources.ids[row]) for row in sources.rows])
    order = np.argsort(-widths, kind="stable")[::-1]

    # Each beam is a row of the decoder's batch.
    budget = max(1, options.tokens_per_batch // options.beams)
    return [batch.tolist() for batch in cut_by_tokens(rows[order], widths[order].tolist(), budget)]


def _generate(
    model: PreTrainedModel, sources: Sources, rows: Sequence[int], *, tasks: Sequence[str], options: Translation
) -> torch.Tensor:
    """Return the ids (batch, target) that the model writes."""
    device = input_device(model)
    ids = [sources.ids[row] for row in rows]
    starts = [sources.starts[row] for row in rows]  # all of one length

    # What is not given here is left to the model's generation configuration.
    more: dict[str, Any] = {}
    if find_router(model) is not None:
        more["tasks"] = tasks
    if options.early_stopping is not None and options.beams > 1:
        more["early_stopping"] = options.early_stopping

    output: torch.Tensor = model.generate(
        input_ids=pad(ids, sources.pad).to(device),  # (batch, source)
        attention_mask=pad([[1] * len(row) for row in ids], 0).to(device),
        decoder_input_ids=torch.tensor(starts, device=device),  # (batch, start)
        num_beams=options.beams,
        length_penalty=options.length_penalty,
        max_new_tokens=sources.cap(options.max_tokens),
        pad_token_id=sources.target_pad,
        # Not even if the model's configuration asks for samples
        do_sample=False,
        logits_processor=LogitsProcessorList([RefuseNaN()]),
        **more,
    )

    # The output begins with the decoder's input.
    return output[:, len(starts[0]) :]
