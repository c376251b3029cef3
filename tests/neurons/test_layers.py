from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedModel

from neuronspec.neurons.architectures import ARCHITECTURES, Architecture, Form
from neuronspec.neurons.layers import find_ffn_layers

SmallModel = Callable[..., PreTrainedModel]


def test_finds_every_block_encoder_first(architecture: str, small_model: SmallModel) -> None:
    layers = find_ffn_layers(small_model(architecture))
    found = [(layer.name, layer.stack, layer.index, layer.width) for layer in layers]
    assert found == [
        ("encoder.0", "encoder", 0, 24),
        ("encoder.1", "encoder", 1, 24),
        ("decoder.0", "decoder", 0, 40),
        ("decoder.1", "decoder", 1, 40),
    ]


def test_the_projection_reads_what_the_expansion_writes(architecture: str, small_model: SmallModel) -> None:
    model = small_model(architecture)
    for layer in find_ffn_layers(model):
        block = model.get_submodule(f"model.{layer.stack}.layers.{layer.index}")
        assert layer.projection is block.fc2
        assert layer.expansions == (block.fc1,)
        assert layer.expansions[0].out_features == layer.width == layer.projection.in_features


def test_an_architecture_can_be_registered(small_model: SmallModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ARCHITECTURES, "_entries", dict(ARCHITECTURES))
    ARCHITECTURES.register("half")(Architecture({"decoder": ("decoder.layers", "")}, (Form("fc2", ("fc1",)),)))
    model = small_model()
    monkeypatch.setattr(type(model.config), "model_type", "half")
    assert [layer.name for layer in find_ffn_layers(model)] == ["decoder.0", "decoder.1"]


def test_finding_changes_nothing(small_model: SmallModel) -> None:
    model = small_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    find_ffn_layers(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())
