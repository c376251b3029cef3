"""The whole cycle of every pretrained family, with small random weights and its real tokenizer class.

Record, select, specialize, train a little, save, load, translate with the masks and with the other neurons cut away.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import STACKED
from tests.exports.families import ARCHITECTURES, MORE_ARCHITECTURES, TASKS, TEXTS, make_encoder_decoder
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

import neuronspec as ns
from neuronspec.analysis.lape_experiment import LapeOptions, measure_lape
from neuronspec.models.loading import load_tokenizer, save_model
from neuronspec.models.text_batches import make_batches

SmallModel = Callable[..., PreTrainedModel]

PAIRS = {task: list(zip(TEXTS, reversed(TEXTS), strict=True)) for task in TASKS}
DECODERS = ("llama", "qwen3", "gemma", "gpt2", "bloom", *STACKED)
LANGUAGES = {"de": ["abc def", "ghi jkl mno", "p a"], "en": ["gh", "bcd efg hij klm", "cab fed"]}


def record(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> ns.NeuronMasks:
    """Masks of the neurons that a model uses."""
    texts = PAIRS if model.config.is_encoder_decoder else LANGUAGES
    counts = ns.record_activations(model, make_batches(model, tokenizer, texts), "token", means=True)
    masks = ns.NeuronMasks.from_counts(counts, k=0.7)
    assert masks.tasks == tuple(texts)
    kept = [int(masks.mask(task, layer).sum()) / masks.widths[layer] for task in masks.tasks for layer in masks.layers]
    assert 0 < sum(kept) < len(kept)
    return masks


def train(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, updates: int = 2) -> None:
    """Continue training on the pairs of both tasks."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for _ in range(updates):
        for batch in make_batches(model, tokenizer, PAIRS):
            model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


@pytest.mark.parametrize("family", [*ARCHITECTURES, *MORE_ARCHITECTURES])
def test_a_pretrained_family_goes_through_the_whole_cycle(family: str, tmp_path: Path) -> None:
    model, tokenizer = make_encoder_decoder(family, tmp_path)
    masks = record(model, tokenizer)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train(ns.specialize(model, masks), tokenizer)
    assert any(not torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())

    # Both come back from the disk.
    save_model(model, tmp_path / "model", tokenizer)
    masks.save_pretrained(tmp_path / "model")
    loaded, its_tokenizer = ns.load_model(tmp_path / "model"), load_tokenizer(tmp_path / "model")
    ns.specialize(loaded, ns.NeuronMasks.from_pretrained(tmp_path / "model"))

    # One batch for both directions, and for each a model without the other neurons
    sentences = dict.fromkeys(TASKS, TEXTS)
    masked = ns.translate(model, tokenizer, sentences, beams=2, max_tokens=8)
    assert ns.translate(loaded, its_tokenizer, sentences, beams=2, max_tokens=8) == masked
    assert any(text for texts in masked.values() for text in texts)
    for task in TASKS:
        pruned = ns.prune(loaded, masks, task)
        assert ns.translate(pruned, its_tokenizer, {task: TEXTS}, beams=2, max_tokens=8)[task] == masked[task]


@pytest.mark.parametrize("name", DECODERS)
def test_a_language_model_is_recorded_masked_and_generates(
    name: str, small_model: SmallModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = small_model(name, vocab_size=len(tokenizer))
    masks = record(model, tokenizer)
    inputs = tokenizer(["abc def", "ghi jkl"], return_tensors="pt", padding=True, padding_side="left")
    inputs = {key: inputs[key] for key in ("input_ids", "attention_mask")}
    options = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    plain = model.generate(**inputs, **options)

    # Each row with its own language, as in a context for all rows, and as without the other neurons
    ns.specialize(model, masks)
    mixed = model.generate(**inputs, **options, tasks=["de", "en"])
    for row, language in enumerate(masks.tasks):
        with ns.task(model, language):
            assert torch.equal(model.generate(**inputs, **options)[row], mixed[row])
        pruned = ns.prune(model, masks, language)
        assert torch.equal(pruned.generate(**inputs, **options)[row], mixed[row])
    with ns.dense(model):
        assert torch.equal(model.generate(**inputs, **options), plain)


@pytest.mark.parametrize("name", STACKED)
def test_experts_go_through_lape_s_experiment(
    name: str, small_model: SmallModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = small_model(name, vocab_size=len(tokenizer))
    lines = {language: [f"{text} {more}" for text in texts for more in texts] for language, texts in LANGUAGES.items()}
    matrix = measure_lape(model, tokenizer, lines, LapeOptions(share=0.2, bar=0.5, draws=1))
    assert min(matrix.neurons.values()) > 0
    assert np.isfinite(matrix.values).all()
    assert (matrix.values != matrix.baseline).all()  # without these neurons, every text is read otherwise
