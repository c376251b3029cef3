"""Metrics of an ablation: the loss or the chrF++ of a model without some of its neurons."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import Translation
from neuronspec.data.batches import IGNORED, Tensors
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.evaluation.scoring import score
from neuronspec.languages import split_direction
from neuronspec.models.padding import complete_batch
from neuronspec.models.placement import input_device
from neuronspec.models.transformers_internals import evaluating
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.routing import dense, find_router, task, unspecialize
from neuronspec.training.objective import token_losses
from neuronspec.translation.beam_search import translate_sentences

LOSS_METRIC, CHRF_METRIC = "validation loss (nats per token)", "chrF++"
Text = TypeVar("Text")
AblationMetric = Callable[[str, str | None], float]
"""(task of the text, name of the masks to use, or None for no masks) -> value of the metric."""


@contextlib.contextmanager
def measuring_loss(
    model: PreTrainedModel, off: NeuronMasks, batches: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[AblationMetric]:
    """Specialize a model temporarily, and yield a function that measures its loss on a task's text under masks.

    The loss is the negative log-likelihood per token in nats: of the target for an encoder-decoder, of all tokens
    except the first of each text for any other model. Afterwards the model is unchanged.

    Args:
        model: Model that is not specialized.
        off: Masks from `make_ablation_masks`.
        batches: List of batches of each task's text, from `neuronspec.make_batches` or
            `neuronspec.data.batches.collate`.

    Yields:
        `measure(text, without)`: the loss on the text of one task under the masks `without`; None: no masks.

    Raises:
        NeuronspecError: If the model is already specialized, the masks do not fit it, or a text is missing.
    """
    _refuse_specialized(model)
    with evaluating(model):
        try:
            # Whole matrices, and no bias for what is off: a neuron that is off must be silent
            specialize(model, off, packed="never", released=False)
            yield functools.partial(_measure_loss, model, off, batches)
        finally:
            unspecialize(model)


@contextlib.contextmanager
def measuring_chrf(
    model: PreTrainedModel,
    off: NeuronMasks,
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    options: Translation | None = None,
) -> Iterator[AblationMetric]:
    """Yield a function that measures the chrF++ of a model's translations of a task's text under masks.

    Afterwards the model is unchanged.

    Args:
        model: Encoder-decoder model that is not specialized.
        off: Masks from `make_ablation_masks`.
        tokenizer: Tokenizer of the model.
        texts: Sentences of each task and their reference translations.
        options: Settings of the translation.

    Yields:
        `measure(text, without)`: the chrF++ on the text of one task under the masks `without`; None: no masks.

    Raises:
        NeuronspecError: If the model is already specialized, the masks do not fit it, or a text is missing.
    """
    _refuse_specialized(model)

    def measure(text: str, without: str | None) -> float:
        sources, references = _find_text(texts, text)
        if without is not None:  # under the task's own name, which also chooses the languages' tags
            values = {layer: off.mask(without, layer)[None] for layer in off.layers}
            specialize(model, NeuronMasks([text], values, off.signature), packed="never", released=False)

        # Whatever happens here, the model is as before afterwards
        try:
            tasks = [text] * len(sources)
            lines = translate_sentences(model, tokenizer, sources, tasks=tasks, options=options)
        finally:
            unspecialize(model)

        _, target = split_direction(text)
        [chrf] = score(lines, references, language=target, metrics=["chrf"])
        return chrf.value

    with evaluating(model):
        yield measure


def count_predicted(model: PreTrainedModel, batches: Sequence[Mapping[str, Any]]) -> int:
    """Return the number of tokens whose loss `measuring_loss` averages.

    Args:
        model: Model that reads the batches.
        batches: Batches of one text, as `measuring_loss` takes them.
    """
    tokens = 0
    for batch in batches:
        complete = complete_batch(model, {name: value for name, value in batch.items() if name != "tasks"})
        if model.config.is_encoder_decoder:
            tokens += int((complete["labels"] != IGNORED).sum())
        else:
            tokens += int(_find_predicted(complete["attention_mask"]).sum())
    return tokens


def _measure_loss(
    model: PreTrainedModel,
    off: NeuronMasks,
    batches: Mapping[str, Sequence[Mapping[str, Any]]],
    text: str,
    without: str | None,
) -> float:
    """Return the loss per token on the text of a task under masks."""
    number = -1 if without is None else off.task_index(without)  # -1: no masks, all neurons are on
    masked = dense(model) if without is None else task(model, off.tasks[number])

    # Summed over batches, so that every token counts the same
    losses, tokens = 0.0, 0
    with torch.no_grad(), masked:
        for batch in _find_text(batches, text):
            tensors = {name: value.to(input_device(model)) for name, value in batch.items() if name != "tasks"}
            sums, counts = _sum_losses(model, tensors, number)
            losses += float(sums.sum())
            tokens += int(counts.sum())

    if not tokens:
        raise NeuronspecError(f"the text of {text} has nothing to predict: give lists of batches, which can be reread")
    return losses / tokens


def _sum_losses(model: PreTrainedModel, batch: Tensors, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the summed losses of a batch's rows and their numbers of tokens."""
    batch = complete_batch(model, batch)
    if model.config.is_encoder_decoder:
        if "labels" not in batch:
            raise NeuronspecError(f"a batch has {', '.join(batch)}, but no labels: use make_batches")
        return token_losses(model, batch | {"tasks": torch.full((len(batch["labels"]),), number)})

    # Any other model predicts every token from those before it
    ids, mask = batch["input_ids"], batch["attention_mask"].bool()
    inputs = {"input_ids": ids, "attention_mask": batch["attention_mask"]}
    if "position_ids" in inspect.signature(model.forward).parameters:
        inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)  # padding on the left must not move a sentence

    # Position t predicts token t + 1
    real = _find_predicted(mask)
    logits = model(**inputs, use_cache=False).logits[:, :-1][real]  # (real tokens, vocabulary)
    losses = functional.cross_entropy(logits.float(), ids[:, 1:][real], reduction="none")
    return losses.double(), real.sum(1)


def _find_predicted(mask: torch.Tensor) -> torch.Tensor:
    """Return the (batch, seq - 1) tokens that have one before them, from the (batch, seq) mask of real tokens."""
    real = mask.bool()
    return real[:, 1:] & real[:, :-1]


def _find_text(texts: Mapping[str, Text], text: str) -> Text:
    if text not in texts:
        raise NeuronspecError(f"there is no text of the task {text!r}{did_you_mean(text, texts)}")
    return texts[text]


def _refuse_specialized(model: PreTrainedModel) -> None:
    if find_router(model) is not None:
        raise NeuronspecError("the model is already specialized: call neuronspec.unspecialize(model) first")
