"""The loss against transformers' own, against the textbook, and sentence by sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from neuronspec.data.batches import IGNORED, Tensors, collate
from neuronspec.data.task_format import TaskFormat
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.routing import task
from neuronspec.training.objective import TranslationLoss, token_losses

VOCABULARY = 23
SPECIAL = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
BART_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 12,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 20,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "max_position_embeddings": 32,
    "init_std": 0.5,
    **SPECIAL,
}
T5_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 12,
    "d_kv": 6,
    "d_ff": 20,
    "num_layers": 1,
    "num_heads": 2,
    "dropout_rate": 0.0,
    **SPECIAL,
}
MODELS = {
    "m2m_100": lambda: M2M100ForConditionalGeneration(M2M100Config(**BART_SHAPE)),
    "mbart": lambda: MBartForConditionalGeneration(MBartConfig(**BART_SHAPE)),
    "bart": lambda: BartForConditionalGeneration(BartConfig(**BART_SHAPE, forced_eos_token_id=2)),
    "marian": lambda: MarianMTModel(MarianConfig(**BART_SHAPE, decoder_vocab_size=VOCABULARY)),
    "t5": lambda: T5ForConditionalGeneration(T5Config(**T5_SHAPE)),
}
TASKS = ("de-en", "en-de")
FORMATS = [
    TaskFormat(source_prefix=(tag,), source_suffix=(2,), target_prefix=(tag,), target_suffix=(2,), start=2, pad=1)
    for tag in (4, 5)
]
# Lengths differ on both sides, so that every row but one has padding somewhere.
ROWS = [
    (0, FORMATS[0], [6, 7, 8], [9, 10]),
    (1, FORMATS[1], [11], [12, 13, 14, 15, 16]),
    (0, FORMATS[0], [17, 18, 19, 20, 21], [22]),
]


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(11)
    model = MODELS[request.param]().eval()
    if (bias := getattr(model, "final_logits_bias", None)) is not None:
        bias.normal_()  # zero in a new model: a forgotten bias would go unseen
    return model


@pytest.fixture
def batch() -> Tensors:
    return collate(ROWS)


def reference_logits(model: PreTrainedModel, batch: Tensors) -> torch.Tensor:
    """The logits (batch, target, vocabulary) of the stock forward pass."""
    inputs = {name: tensor for name, tensor in batch.items() if name not in ("tasks", "labels")}
    with torch.no_grad():
        logits: torch.Tensor = model(**inputs).logits
    return logits


def test_loss_equals_that_of_transformers(model: PreTrainedModel, batch: Tensors) -> None:
    with torch.no_grad():
        loss = TranslationLoss(model, 0.0)(batch)
        mean = model(**{name: tensor for name, tensor in batch.items() if name != "tasks"}).loss
    tokens = sum(len(target) + 2 for _, _, _, target in ROWS)  # tag and end of sentence
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(mean.item() * tokens, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.1, 0.7])
def test_smoothed_loss_equals_the_cross_entropy_with_a_smoothed_distribution(
    model: PreTrainedModel, batch: Tensors, smoothing: float
) -> None:
    logits = reference_logits(model, batch).double().numpy()
    labels = batch["labels"].numpy()
    expected = 0.0
    for row, position in np.argwhere(labels != IGNORED):
        scores = logits[row, position]
        log_probabilities = scores - np.log(np.exp(scores).sum())
        wanted = np.full(VOCABULARY, smoothing / VOCABULARY)
        wanted[labels[row, position]] += 1 - smoothing
        expected -= float(wanted @ log_probabilities)
    assert TranslationLoss(model, smoothing)(batch).item() == pytest.approx(expected, rel=1e-5)


def test_token_losses_of_each_sentence(model: PreTrainedModel, batch: Tensors) -> None:
    losses, tokens = token_losses(model, batch)
    assert (losses.dtype, tokens.tolist()) == (torch.float64, [4, 7, 3])
    alone = [TranslationLoss(model, 0.0)(collate([row])).item() for row in ROWS]  # no padding at all
    assert losses.tolist() == pytest.approx(alone, rel=1e-5)
    assert not losses.requires_grad


def test_what_stands_at_padding_does_not_matter(model: PreTrainedModel, batch: Tensors) -> None:
    losses, _ = token_losses(model, batch)
    batch["input_ids"][batch["attention_mask"] == 0] = 9
    batch["decoder_input_ids"][batch["decoder_attention_mask"] == 0] = 9
    assert token_losses(model, batch)[0].tolist() == pytest.approx(losses.tolist(), rel=1e-5)


def test_r4_a_specialised_model_uses_the_tasks_of_the_batch(model: PreTrainedModel, batch: Tensors) -> None:
    layers = find_ffn_layers(model)
    halves = {"de-en": slice(0, 10), "en-de": slice(10, 20)}
    masks = {name: {layer.name: torch.zeros(20, dtype=torch.bool) for layer in layers} for name in TASKS}
    for name, half in halves.items():
        for mask in masks[name].values():
            mask[half] = True
    dense, _ = token_losses(model, batch)
    specialize(model, NeuronMasks.from_dict(masks))
    mixed, _ = token_losses(model, batch)
    alone = []
    for row in ROWS:
        one = collate([row])
        with task(model, TASKS[row[0]]), torch.no_grad():
            alone.append(model(**{name: one[name] for name in one if name != "tasks"}).loss.item() * (len(row[3]) + 2))
    assert mixed.tolist() == pytest.approx(alone, rel=1e-5)
    assert TranslationLoss(model, 0.0)(batch).item() == pytest.approx(sum(alone), rel=1e-5)
    assert all(abs(one - other) > 1e-3 for one, other in zip(mixed.tolist(), dense.tolist(), strict=True))
    inputs = {name: batch[name] for name in batch if name not in ("tasks", "labels")}
    with pytest.raises(NeuronspecError, match="task of every row"):
        model(**inputs)  # the tasks of the loss were for its own forward


def test_every_parameter_of_the_loss_is_the_models(model: PreTrainedModel, batch: Tensors) -> None:
    objective = TranslationLoss(model, 0.1)
    objective(batch).backward()
    assert set(objective.parameters()) == set(model.parameters())
    head = model.get_output_embeddings().weight
    assert head.grad is not None
    assert bool(head.grad.any())
