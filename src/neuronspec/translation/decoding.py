"""Translating sentences with a model, specialised or not, any mix of directions in a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.data.batches import pad
from neuronspec.data.sampling import cut_by_tokens
from neuronspec.data.vocabulary import encode_text
from neuronspec.errors import NeuronspecError
from neuronspec.models.tags import task_format
from neuronspec.progress import Advance
from neuronspec.sections import Translation
from neuronspec.specialization.routing import find_router


def translate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sequence[str],
    tasks: Sequence[str],
    options: Translation | None = None,
    advance: Advance | None = None,
) -> list[str]:
    """Translate sentences, in the order in which they were given.

    Args:
        model: an encoder-decoder; where it is specialised, each sentence is decoded with the neurons of its task.
        tokenizer: the model's.
        sentences: (n,) plain text.
        tasks: (n,) the direction of each sentence.
        options: beam size and lengths; the paper's where not given.
        advance: is called with the number of sentences after each batch.

    Returns:
        (n,) plain text.

    Raises:
        NeuronspecError: a language has no tag in the vocabulary, a task has no masks, or the lengths of the
            arguments differ.
    """
    if len(sentences) != len(tasks):
        raise NeuronspecError(f"{len(sentences)} sentences but {len(tasks)} tasks: give one task for each sentence")
    if not sentences:
        return []
    options = options or Translation()
    formats = {task: task_format(task, tokenizer, model.config) for task in dict.fromkeys(tasks)}
    ids = encode_text(tokenizer, sentences)
    sources = [formats[task].source(sequence) for task, sequence in zip(tasks, ids, strict=True)]
    widths = np.array([len(source) for source in sources])
    order = np.argsort(-widths, kind="stable")[::-1]
    translations = [""] * len(sentences)
    model.eval()
    for rows in cut_by_tokens(order, widths[order].tolist(), max(1, options.tokens_per_batch // options.beams)):
        names = [tasks[row] for row in rows]
        starts = [formats[name].decoder_input() for name in names]
        texts = _decode(model, tokenizer, [sources[row] for row in rows], starts, names, options)
        for row, text in zip(rows.tolist(), texts, strict=True):
            translations[row] = text
        if advance is not None:
            advance(len(rows))
    return translations


def _decode(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sources: list[list[int]],
    starts: list[list[int]],
    names: list[str],
    options: Translation,
) -> list[str]:
    inputs = pad(sources, tokenizer.pad_token_id).to(model.device)
    masks = pad([[1] * len(source) for source in sources], 0).to(model.device)
    specialised = {"tasks": names} if find_router(model) is not None else {}
    output = model.generate(
        input_ids=inputs,
        attention_mask=masks,
        decoder_input_ids=torch.tensor(starts, device=model.device),  # (batch, start and tag)
        num_beams=options.beams,
        length_penalty=options.length_penalty,
        max_new_tokens=options.max_tokens,
        do_sample=False,
        **specialised,
    )
    return [text.strip() for text in tokenizer.batch_decode(output, skip_special_tokens=True)]
