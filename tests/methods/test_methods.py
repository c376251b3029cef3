"""Every method: strict registration, what it does to a model, what it leaves beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import M2M100Config, M2M100ForConditionalGeneration, PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.methods import METHODS, make_method, method_options
from neuronspec.models.building import count_parameters
from neuronspec.models.loading import save_model
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.storage import MASKS_FILE
from neuronspec.specialization.masking import get_masks, specialize
from neuronspec.training.method import Resources
from neuronspec.training.objective import TranslationLoss

TASKS = ("de-en", "en-de")
WIDTH = 32
MASKED_METHODS = [name for name, kind in METHODS.items() if kind.uses_masks]


@pytest.fixture
def model() -> PreTrainedModel:
    torch.manual_seed(5)
    config = M2M100Config(
        vocab_size=40,
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=WIDTH,
        decoder_ffn_dim=WIDTH,
        dropout=0.0,
        attention_dropout=0.0,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        max_position_embeddings=32,
        init_std=0.3,
    )
    return M2M100ForConditionalGeneration(config)


@pytest.fixture
def masks(model: PreTrainedModel) -> NeuronMasks:
    """Two tasks share neurons 8 to 15; no task uses 24 to 31. In the opposite order of the resources'."""
    layers = find_ffn_layers(model)
    ranges = {"en-de": range(8, 24), "de-en": range(16)}
    return NeuronMasks.from_dict(
        {task: {layer.name: [n in on for n in range(WIDTH)] for layer in layers} for task, on in ranges.items()}
    )


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(6)
    ids = torch.randint(4, 40, (4, 6))
    ones = torch.ones_like(ids)
    return {
        "input_ids": ids,
        "attention_mask": ones,
        "decoder_input_ids": ids.flip(1),
        "decoder_attention_mask": ones,
        "labels": ids.flip(0),
        "tasks": torch.tensor([0, 1, 0, 1]),
    }


def attach(name: str, model: PreTrainedModel, masks: NeuronMasks | None, **options: Any) -> Any:
    method = make_method(name, options)
    method.attach(model, Resources(TASKS, masks, seed=4))
    return method


def gradient_of(module: torch.nn.Module, name: str) -> torch.Tensor:
    gradient = module.get_parameter(name).grad
    assert gradient is not None
    return gradient


def test_the_methods_are_registered_under_their_names() -> None:
    assert {"fine_tune", "neuron_specialization", "random_neurons"} <= set(METHODS)
    assert {name: kind.name for name, kind in METHODS.items()} == {name: name for name in METHODS}
    assert method_options() == {name: kind.Options for name, kind in METHODS.items()}


def test_an_unknown_method_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(NeuronspecError, match=r"unknown method 'finetune' \(did you mean 'fine_tune'\?\)"):
        make_method("finetune")


@pytest.mark.parametrize("name", METHODS)
def test_unknown_options_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="no_such_option"):
        make_method(name, {"no_such_option": 1})


def test_wrong_values_of_options_are_refused() -> None:
    with pytest.raises(ValidationError, match="stacks"):
        make_method("neuron_specialization", {"stacks": "middle"})


@pytest.mark.parametrize("name", ["fine_tune", *MASKED_METHODS])
def test_no_parameter_and_no_key_is_added(name: str, model: PreTrainedModel, masks: NeuronMasks) -> None:
    keys, parameters = list(model.state_dict()), count_parameters(model)
    attach(name, model, masks)
    assert (list(model.state_dict()), count_parameters(model)) == (keys, parameters)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_fine_tune_leaves_the_model_and_its_directory_alone(
    model: PreTrainedModel, masks: NeuronMasks, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    before = TranslationLoss(model, 0.1)(batch)
    method = attach("fine_tune", model, masks)
    method.save(tmp_path)
    assert get_masks(model) is None
    assert torch.equal(TranslationLoss(model, 0.1)(batch), before)
    assert list(tmp_path.iterdir()) == []


def test_neuron_specialization_computes_with_the_masks_of_each_row(
    model: PreTrainedModel, masks: NeuronMasks, batch: dict[str, torch.Tensor]
) -> None:
    dense = TranslationLoss(model, 0.0)(batch).item()
    attach("neuron_specialization", model, masks)
    attached = TranslationLoss(model, 0.0)(batch).item()
    specialize(model, masks)  # whose order of tasks is the other one
    by_name = TranslationLoss(model, 0.0)(batch | {"tasks": 1 - batch["tasks"]}).item()
    assert attached == by_name
    assert abs(attached - dense) > 1e-3


@pytest.mark.parametrize("name", MASKED_METHODS)
def test_masks_are_saved_beside_the_model_in_the_order_of_the_tasks(
    name: str, model: PreTrainedModel, masks: NeuronMasks, tmp_path: Path
) -> None:
    method = attach(name, model, masks)
    save_model(model, tmp_path)
    method.save(tmp_path)
    saved = NeuronMasks.from_pretrained(tmp_path)
    assert (tmp_path / MASKS_FILE).is_file()
    assert saved == get_masks(model)
    assert saved.tasks == TASKS


@pytest.mark.parametrize("name", MASKED_METHODS)
@pytest.mark.parametrize("stacks", ["encoder", "decoder", "both"])
def test_stacks_says_where_neurons_are_masked(
    name: str, stacks: str, model: PreTrainedModel, masks: NeuronMasks
) -> None:
    attached = attach(name, model, masks, stacks=stacks).masks
    for layer in attached.layers:
        expected = 16 if stacks in ("both", layer.partition(".")[0]) else WIDTH
        assert attached.layer(layer).sum(1).tolist() == [expected, expected], layer


@pytest.mark.parametrize("name", MASKED_METHODS)
def test_without_masks_or_with_anothers_the_reason_is_told(
    name: str, model: PreTrainedModel, masks: NeuronMasks
) -> None:
    with pytest.raises(NeuronspecError, match=f"{name} needs neuron masks: run record and select first"):
        attach(name, model, None)
    with pytest.raises(NeuronspecError, match="no masks for the task 'de-en'"):
        attach(name, model, masks.reorder(["en-de"]))
    narrow = NeuronMasks(TASKS, {layer: masks.layer(layer)[:, 1:] for layer in masks.layers})
    with pytest.raises(NeuronspecError, match=r"31 neurons in encoder\.0, the model has 32"):
        attach(name, model, narrow)


def test_random_neurons_have_the_same_sizes_and_follow_from_the_seed(
    model: PreTrainedModel, masks: NeuronMasks
) -> None:
    drawn = attach("random_neurons", model, masks).masks
    ordered = masks.reorder(TASKS)
    for layer in masks.layers:
        assert torch.equal(drawn.layer(layer).sum(1), ordered.layer(layer).sum(1))
        assert not torch.equal(drawn.layer(layer), ordered.layer(layer))
    assert attach("random_neurons", model, masks).masks == drawn
    other = make_method("random_neurons")
    other.attach(model, Resources(TASKS, masks, seed=5))
    assert get_masks(model) != drawn


def test_r9_no_gradient_reaches_neurons_that_no_task_of_the_batch_uses(
    model: PreTrainedModel, masks: NeuronMasks, batch: dict[str, torch.Tensor]
) -> None:
    """A real update by plain gradient descent: what has no gradient stays, bit by bit; the rest moves."""
    attach("neuron_specialization", model, masks)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    one_task = {name: tensor[batch["tasks"] == 0] for name, tensor in batch.items()}  # de-en: neurons 0 to 15
    TranslationLoss(model, 0.1)(one_task).backward()
    layers = find_ffn_layers(model)
    for layer in layers:
        expansion = layer.expansions[0]
        for gradient in (
            gradient_of(expansion, "weight"),
            gradient_of(expansion, "bias"),
            gradient_of(layer.projection, "weight").T,
        ):
            per_neuron = gradient.reshape(WIDTH, -1).abs().sum(1)
            assert not per_neuron[16:].any()
            assert per_neuron[:16].any()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    after = model.state_dict()
    for layer in layers:
        block = f"model.{layer.stack}.layers.{layer.index}"
        for name in ("fc1.weight", "fc1.bias"):
            key = f"{block}.{name}"
            assert torch.equal(after[key][16:], before[key][16:])
            assert not torch.equal(after[key][:16], before[key][:16])
        assert torch.equal(after[f"{block}.fc2.weight"][:, 16:], before[f"{block}.fc2.weight"][:, 16:])


def test_r9_a_mixed_batch_gives_each_neuron_the_gradient_of_its_own_tasks(
    model: PreTrainedModel, masks: NeuronMasks, batch: dict[str, torch.Tensor]
) -> None:
    attach("neuron_specialization", model, masks)
    layer = find_ffn_layers(model)[-1]
    gradients = []
    for tasks in ([0, 1], [0], [1]):
        model.zero_grad()
        rows = torch.isin(batch["tasks"], torch.tensor(tasks))
        TranslationLoss(model, 0.0)({name: tensor[rows] for name, tensor in batch.items()}).backward()
        gradients.append(gradient_of(layer.expansions[0], "weight").clone())
    mixed, first, second = gradients
    assert not mixed[24:].any()  # masked by all
    assert torch.allclose(mixed[:8], first[:8], atol=1e-6)  # of the first task only
    assert torch.allclose(mixed[16:24], second[16:24], atol=1e-6)
    assert torch.allclose(mixed[8:16], (first + second)[8:16], atol=1e-6)
