"""Neurons by importance: the importance is the gradient's, the allocation that of the published rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.training import conftest as toys
from transformers import PreTrainedModel

from neuronspec.config.sections import Sampling, Training
from neuronspec.errors import NeuronspecError
from neuronspec.methods import make_method
from neuronspec.methods.neuron_allocation import NeuronAllocation, _measure_batch, allocate, measure_importance
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import get_masks
from neuronspec.training.loop import train
from neuronspec.training.method import Corpora, Resources, SearchResources
from neuronspec.training.objective import TranslationLoss

toy_corpora, toy_directory, toy_model, toy_tokenizer = (
    getattr(toys, f"toy_{name}") for name in ("corpora", "directory", "model", "tokenizer")
)
TASKS = ("de-en", "en-de")
TRAINING = Training(updates=4, validate_every=2, warmup=0, learning_rate=0.01, schedule="constant", select="last")


@given(
    importance=arrays(np.float64, (3, 10), elements=st.integers(0, 5).map(float)),
    shared=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    bar=st.sampled_from([0.5, 0.9, 1.0]),
)
def test_allocation_is_that_of_a_naive_computation(importance: np.ndarray, shared: float, bar: float) -> None:
    masks = allocate(torch.tensor(importance), shared, bar)
    general = sorted(range(10), key=lambda n: (-importance[:, n].sum(), n))[: int(shared * 10)]
    for task in range(3):
        for neuron in range(10):
            highest = importance[:, neuron].max()
            value = importance[task, neuron]
            above = value == highest if bar == 1 else value > bar * highest
            assert bool(masks[task, neuron]) == (neuron in general or bool(above))
    kept = masks.any(0).numpy()
    assert kept[importance.max(0) > 0].all()  # whoever it is important to keeps it


def test_importance_is_activation_times_gradient_of_each_position(
    toy_model: PreTrainedModel, toy_corpora: Corpora
) -> None:
    found = measure_importance(toy_model, toy_corpora.valid, 100)
    other = measure_importance(toy_model, toy_corpora.valid, 9)  # sentence by sentence: no padding
    layers = find_ffn_layers(toy_model)
    for layer in layers:
        assert found[layer.name].shape == (2, layer.width)
        torch.testing.assert_close(found[layer.name], other[layer.name], rtol=1e-4, atol=1e-7)
    # Of one sentence: a factor on one neuron at one position changes the loss by activation x gradient.
    objective = TranslationLoss(toy_model, 0.0)
    batch = next(iter(toy_corpora.valid.in_order(9, 1)))
    layer, total = layers[-1], torch.zeros(layers[-1].width, dtype=torch.float64)
    seq = batch["decoder_input_ids"].shape[1]
    for position in range(seq):
        factors = torch.ones(1, seq, layer.width, requires_grad=True)
        handle = layer.projection.register_forward_pre_hook(lambda _, given, f=factors: (given[0] * f,))
        objective(batch).backward()
        handle.remove()
        assert factors.grad is not None
        total += factors.grad[0, position].double().abs()
    torch.testing.assert_close(_measure_batch(objective, layers, batch)[layer.name], total, rtol=1e-4, atol=1e-7)


def make_search(toy_directory: Path, toy_corpora: Corpora, directory: Path) -> SearchResources:
    def load() -> tuple[PreTrainedModel, object]:
        return load_model(toy_directory / "model"), load_tokenizer(toy_directory / "model")

    return SearchResources(
        directory=directory,
        load=load,
        corpora=toy_corpora,
        tasks=TASKS,
        training=TRAINING,
        sampling=Sampling(tokens_per_batch=60),
        seed=1,
        cpu=True,
    )


def test_the_search_finds_masks_that_training_keeps_to(
    toy_directory: Path, toy_corpora: Corpora, toy_model: PreTrainedModel, tmp_path: Path
) -> None:
    method = make_method("neuron_allocation", {"shared": 0.5})
    assert isinstance(method, NeuronAllocation)
    method.search(make_search(toy_directory, toy_corpora, tmp_path / "found"))
    masks = NeuronMasks.from_pretrained(tmp_path / "found")
    assert masks.tasks == TASKS
    assert masks.signature["rule"] == "allocation"
    for layer in masks.layers:
        rows = masks.layer(layer)
        assert (rows[0] & rows[1]).sum() >= 16  # half of 32 are everyone's
        assert rows.any(0).all()
    checkpoint, _ = train(
        toy_model,
        load_tokenizer(toy_directory / "model"),
        toy_corpora,
        method,
        Resources(TASKS, seed=1, search_directory=tmp_path / "found"),
        training=TRAINING,
        sampling=Sampling(tokens_per_batch=60),
        directory=tmp_path / "training",
        cpu=True,
    )
    assert get_masks(toy_model) == masks
    assert NeuronMasks.from_pretrained(checkpoint) == masks


def test_without_its_search_it_says_so(toy_model: PreTrainedModel) -> None:
    with pytest.raises(NeuronspecError, match="neuron_allocation needs the masks of its search"):
        make_method("neuron_allocation").attach(toy_model, Resources(TASKS))
