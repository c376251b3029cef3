"""Answers of a transformers model to sentences, as tokens: translations, or continuations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import Translation
from neuronspec.errors import NeuronspecError
from neuronspec.exports.formats import Answer
from neuronspec.models.codec import TextCodec
from neuronspec.specialization.routing import find_router
from neuronspec.translation.beam_search import decode_batches
from neuronspec.translation.sources import prepare_sources


def open_answers(model: Any, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> Answer:
    """Return what answers with a model of transformers; if it is specialized, with the neurons of each task.

    A beam search ends when it has as many finished answers as beams (`early_stopping`), a rule that all tools share.

    Args:
        model: Encoder-decoder or decoder-only model, also inside PEFT's wrapping.
        tokenizer: Tokenizer of the model.
        max_tokens: Largest number of tokens of an answer.
    """

    def translate(sentences: Sequence[str], task: str, *, beams: int) -> list[list[int]]:
        options = Translation(beams=beams, max_tokens=max_tokens, early_stopping=beams > 1 or None)
        tasks = [task] * len(sentences)
        sources = prepare_sources(TextCodec(tokenizer, model.config), sentences, tasks, quiet=True)

        answers: list[list[int]] = [[] for _ in sentences]
        for rows, ids in decode_batches(model, sources, tasks, options):
            for row, found in zip(rows, ids, strict=True):
                answers[row] = found
        return answers

    def continue_texts(sentences: Sequence[str], task: str, *, beams: int) -> list[list[int]]:
        more: dict[str, Any] = {"tasks": [task]} if find_router(model) is not None else {}
        if beams > 1:
            more["early_stopping"] = True
        return [
            _continue_text(model, tokenizer, sentence, num_beams=beams, max_new_tokens=max_tokens, **more)
            for sentence in sentences
        ]

    model.eval()  # dropout must not reach an answer
    return translate if model.config.is_encoder_decoder else continue_texts


@torch.no_grad()
def _continue_text(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str, **options: Any) -> list[int]:
    """Return the ids that a decoder-only model continues a text with."""
    # Alone in its batch: padding on the left would move its positions.
    inputs = tokenizer(text, return_tensors="pt")
    ids = inputs["input_ids"].to(model.device)  # (1, tokens)
    if not ids.shape[1]:
        raise NeuronspecError(f"the tokenizer makes no token of {text!r:.60}, so that nothing can continue it")

    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    output: torch.Tensor = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=pad, **options
    )
    continued: list[int] = output[0, ids.shape[1] :].tolist()
    return continued
