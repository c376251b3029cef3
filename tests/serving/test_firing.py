from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import neuronspec as ns
from neuronspec.data.vocabulary import learn_vocabulary
from neuronspec.models.building import build_model
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.serving.firing import STRONGEST, FiredLayer, find_fired

Parts = tuple[PreTrainedModel, PreTrainedTokenizerBase, NeuronMasks]
SOURCE, TRANSLATION = "der hund schläft", "the dog sleeps"


@pytest.fixture(scope="module")
def parts() -> Parts:
    torch.manual_seed(0)
    tokenizer = learn_vocabulary(iter([SOURCE, TRANSLATION] * 9), 30, ["de", "en"])
    model = build_model("tiny", tokenizer).eval()
    # A third is for all, a third for de-en, and the rest for en-de
    thirds = {layer.name: torch.arange(layer.width) % 3 for layer in find_ffn_layers(model)}
    masks = NeuronMasks.from_dict(
        {
            "de-en": {name: part != 2 for name, part in thirds.items()},
            "en-de": {name: part != 1 for name, part in thirds.items()},
        }
    )
    return model, tokenizer, masks


def find(parts: Parts, masks: NeuronMasks | None) -> list[FiredLayer]:
    model, tokenizer, _ = parts
    return find_fired(model, tokenizer, masks, task="de-en", source=SOURCE, translation=TRANSLATION)


def test_neurons_that_fire_are_those_that_are_recorded(parts: Parts) -> None:
    model, tokenizer, masks = parts
    batches = ns.make_batches(model, tokenizer, {"de-en": [(SOURCE, TRANSLATION)]})
    counts = ns.record_activations(model, batches, unit="token", means=True)

    for layer in find(parts, masks):
        active, means = counts.values[layer.layer][0], counts.means[layer.layer][0]
        kinds = torch.arange(layer.width) % 3
        assert layer.fired == int((active > 0).sum())
        assert layer.selected == int((kinds != 2).sum())
        assert layer.directions == 2
        assert layer.common == int(((active > 0) & (kinds == 0)).sum())
        assert layer.own == int(((active > 0) & (kinds == 1)).sum())

        assert len(layer.strongest) == min(STRONGEST, layer.fired)
        strengths = [neuron.strength for neuron in layer.strongest]
        assert strengths == sorted(strengths, reverse=True)
        for neuron in layer.strongest:
            assert neuron.strength == pytest.approx(float(means[neuron.neuron]))
            assert neuron.tokens == int(active[neuron.neuron]) > 0
            assert neuron.directions == (2 if neuron.neuron % 3 == 0 else 1)


def test_a_specialized_model_fires_only_neurons_of_the_direction(parts: Parts) -> None:
    model, _, masks = parts
    ns.specialize(model, masks)
    try:
        layers = find(parts, masks)
        assert all(0 < layer.fired <= layer.selected for layer in layers)
        assert all(neuron.neuron % 3 != 2 for layer in layers for neuron in layer.strongest)
        with ns.dense(model):
            every = find(parts, masks)
        assert sum(layer.fired for layer in every) > sum(layer.fired for layer in layers)
    finally:
        ns.unspecialize(model)


def test_without_masks_nobody_else_uses_a_neuron(parts: Parts) -> None:
    layers = find(parts, None)
    assert {layer.own + layer.common for layer in layers} == {0}
    assert {layer.selected - layer.width for layer in layers} == {0}
