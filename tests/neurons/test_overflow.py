"""A neuron that is no number is neither silent nor active: what has one is refused, by layer and task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.example_search import find_examples
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.recording import record_activations
from neuronspec.specialization.masking import specialize

SmallModel = Callable[..., PreTrainedModel]
STRANGE = [torch.nan, torch.inf]
KINDS = ["m2m_100", "t5", "mt5", "fsmt", "llama", "gpt2", "opt", "bloom"]


def _batch(model: PreTrainedModel) -> dict[str, Any]:
    ids = torch.tensor([[5, 6, 7, 2], [8, 9, 2, 1], [10, 11, 12, 2]])
    batch: dict[str, Any] = {"input_ids": ids, "attention_mask": ids.ne(1).long(), "tasks": ["a-b", "c-d", "e-f"]}
    return batch | ({"labels": ids} if model.config.is_encoder_decoder else {})


@pytest.mark.parametrize("value", STRANGE)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("read", [record_activations, find_examples])
def test_strange_weights_are_not_recorded(
    read: Callable[..., Any], name: str, value: float, small_model: SmallModel
) -> None:
    model = small_model(name)
    with torch.no_grad():
        find_ffn_layers(model)[-1].expansions[0].weight[0, 0] = value
    with pytest.raises(NeuronspecError, match=r"the weights of the model are not finite numbers: .* holds 1 of"):
        read(model, [_batch(model)])


@pytest.mark.parametrize("value", STRANGE)
@pytest.mark.parametrize("number", [0, -1])
@pytest.mark.parametrize("name", KINDS)
def test_neurons_that_overflow_are_refused_by_layer_and_task(
    name: str, number: int, value: float, small_model: SmallModel
) -> None:
    """The weights are finite; in the second row of a batch, one neuron of a layer is not."""
    model = small_model(name)
    layer = find_ffn_layers(model)[number]

    def overflow(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        by_token = changed.view(4, 3, -1).transpose(0, 1) if layer.time_first else changed.view(3, 4, -1)
        by_token[1, 0, 2] = value
        return changed

    place = layer.activation if layer.activation is not None else layer.expansions[0]
    handle = place.register_forward_hook(overflow)
    with pytest.raises(NeuronspecError, match=rf"the neurons of {layer.name} are not finite numbers for the task c-d"):
        record_activations(model, [_batch(model)])
    handle.remove()
    assert record_activations(model, [_batch(model)]).tasks == ("a-b", "c-d", "e-f")


def test_padding_may_be_anything(small_model: SmallModel) -> None:
    model = small_model("llama")

    def overflow(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        changed[1, 3] = torch.nan  # behind the last real token of the second row
        return changed

    expected = record_activations(model, [_batch(model)], "token")
    find_ffn_layers(model)[-1].block.register_forward_hook(overflow)
    counts = record_activations(model, [_batch(model)], "token")
    assert all(torch.equal(counts.values[layer], expected.values[layer]) for layer in expected.layers)


def test_hidden_states_that_overflow_behind_the_neurons_are_refused(small_model: SmallModel) -> None:
    model = small_model()
    find_ffn_layers(model)[-1].projection.register_forward_hook(lambda module, arguments, output: output * torch.inf)
    with pytest.raises(NeuronspecError, match=r"the hidden states of the decoder are not finite .* task a-b"):
        record_activations(model, [_batch(model)])


def test_a_specialised_model_is_watched_too(small_model: SmallModel) -> None:
    model = small_model()
    layers = find_ffn_layers(model)
    on = {layer.name: [1] * layer.width for layer in layers}
    specialize(model, NeuronMasks.from_dict(dict.fromkeys(("a-b", "c-d", "e-f"), on)))
    layers[1].projection.register_forward_hook(lambda module, arguments, output: output * torch.nan)
    with pytest.raises(NeuronspecError, match="not finite"):
        record_activations(model, [_batch(model)])


@pytest.mark.parametrize("rule", ["coverage", "top", "released", "lape"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -1.0])
def test_counts_that_are_no_counts_are_not_selected_from(rule: str, value: float) -> None:
    values = torch.tensor([[3.0, value, 1.0], [1.0, 2.0, 3.0]])
    counts = ActivationCounts(("a-b", "c-d"), {"encoder.0": values}, {"encoder": torch.tensor([3, 3])}, "token")
    with pytest.raises(NeuronspecError, match=r"encoder\.0:1 was active .* times for a-b, which is no count"):
        NeuronMasks.from_counts(counts, rule=rule)


def test_means_that_are_nan_are_not_loaded(tmp_path: Path) -> None:
    values, totals = {"encoder.0": torch.tensor([[3, 0]])}, {"encoder": torch.tensor([3])}
    means = {"encoder.0": torch.tensor([[0.5, torch.nan]], dtype=torch.float64)}
    ActivationCounts(("a-b",), values, totals, "token", means=means).save(tmp_path)
    with pytest.raises(NeuronspecError, match=r"the means of encoder\.0 are not finite"):
        ActivationCounts.load(tmp_path)


def test_a_layer_in_which_nothing_was_active_is_said(caplog: pytest.LogCaptureFixture) -> None:
    values = {"encoder.0": torch.tensor([[3, 1], [1, 0]]), "encoder.1": torch.tensor([[2, 0], [0, 0]])}
    counts = ActivationCounts(("a-b", "c-d"), values, {"encoder": torch.tensor([3, 3])}, "token")
    NeuronMasks.from_counts(counts, 0.0)
    masks = NeuronMasks.from_counts(counts)
    assert masks.layer("encoder.1").tolist() == [[True, False], [False, False]]
    (said, again) = (record.getMessage() for record in caplog.records)
    assert said == again
    assert said.startswith("of c-d, no neuron of encoder.1 was ever active")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 0.5, 2.0, -1.0])
def test_masks_are_made_of_booleans_only(value: float) -> None:
    with pytest.raises(NeuronspecError, match=r"the mask of encoder\.0 holds .*; expected booleans, or 0 and 1"):
        NeuronMasks.from_dict({"a-b": {"encoder.0": [1.0, value]}})
    with pytest.raises(NeuronspecError, match=r"the mask of encoder\.0 holds"):
        NeuronMasks(["a-b"], {"encoder.0": torch.tensor([[1.0, value]])})
