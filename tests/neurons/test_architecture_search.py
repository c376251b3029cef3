from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.conftest import SHAPES
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedConfig, PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.architecture_search import search_architecture
from neuronspec.neurons.architectures import ARCHITECTURES
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers

SmallModel = Callable[..., PreTrainedModel]

REFUSED = ("nllb-moe", "fsmt")  # layers of different kinds, and time before batch
_USUAL = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
_GPTJ = {"n_embd": 16, "n_inner": 24, "n_layer": 2, "n_head": 2, "rotary_dim": 4, "n_positions": 64}
HOW = r"ARCHITECTURES\.register\(model_type\)\(Architecture\(stacks, forms\)\)$"


def build(name: str, **shape: Any) -> PreTrainedModel:
    tokens = {"vocab_size": 48, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(name, **tokens, **(shape or _USUAL))
    kind = AutoModelForMaskedLM if name == "bert" else AutoModelForCausalLM
    model: PreTrainedModel = kind.from_config(config)
    return model.eval()


def forget(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    entries = {known: ARCHITECTURES[known] for known in ARCHITECTURES if known != name}
    monkeypatch.setattr(ARCHITECTURES, "_entries", entries)


def describe(layer: FFNLayer) -> tuple[object, ...]:
    """Everything that the search and the registry must agree on; modules are compared by identity."""
    return (layer.name, layer.stack, layer.index, layer.width, layer.gated, layer.projection, layer.block)


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in REFUSED])
def test_agrees_with_the_registry(name: str, small_model: SmallModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(name)
    registered = find_ffn_layers(model)
    forget(monkeypatch, name)
    assert name not in ARCHITECTURES
    found = find_ffn_layers(model)
    assert [describe(layer) for layer in found] == [describe(layer) for layer in registered]
    for one, other in zip(found, registered, strict=True):
        assert one.expansions == other.expansions  # the gate's first
        # Where gate and other matrix are one, nothing shows which module activates the gate.
        assert one.activation is (None if name == "phi3" else other.activation)


@pytest.mark.parametrize("name", ["m2m_100", "mt5", "llama", "gpt2", "bloom"])
@pytest.mark.parametrize("seed", [1, 2])
def test_does_not_depend_on_the_weights_or_the_padding(
    name: str, seed: int, small_model: SmallModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model(name, seed=seed, pad_token_id=seed, bos_token_id=0).float()
    registered = [describe(layer) for layer in find_ffn_layers(model)]
    forget(monkeypatch, name)
    assert [describe(layer) for layer in find_ffn_layers(model)] == registered
    assert [layer.name for layer in find_ffn_layers(model.base_model)] == [layer[0] for layer in registered]


def test_works_in_the_precision_that_models_are_loaded_in(
    small_model: SmallModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model("llama").to(torch.bfloat16)
    registered = [describe(layer) for layer in find_ffn_layers(model)]
    forget(monkeypatch, "llama")
    assert [describe(layer) for layer in find_ffn_layers(model)] == registered


@pytest.mark.parametrize(
    ("name", "shape", "first", "second", "activation"),
    [
        ("gptj", _GPTJ, ("transformer.h.{}.mlp.fc_in",), "transformer.h.{}.mlp.fc_out", None),
        ("starcoder2", {}, ("model.layers.{}.mlp.c_fc",), "model.layers.{}.mlp.c_proj", None),
        (
            "nemotron",
            _USUAL | {"num_key_value_heads": 1},
            ("model.layers.{}.mlp.up_proj",),
            "model.layers.{}.mlp.down_proj",
            None,
        ),
        (
            "olmo",
            {},
            ("model.layers.{}.mlp.gate_proj", "model.layers.{}.mlp.up_proj"),
            "model.layers.{}.mlp.down_proj",
            "model.layers.{}.mlp.act_fn",
        ),
        ("bert", {}, ("bert.encoder.layer.{}.intermediate.dense",), "bert.encoder.layer.{}.output.dense", None),
    ],
)
def test_finds_what_nobody_registered(
    name: str, shape: dict[str, Any], first: tuple[str, ...], second: str, activation: str | None
) -> None:
    assert name not in ARCHITECTURES
    model = build(name, **shape)
    stack = "encoder" if name == "bert" else "decoder"
    layers = find_ffn_layers(model)
    assert [(layer.name, layer.stack, layer.width) for layer in layers] == [
        (f"{stack}.0", stack, 24),
        (f"{stack}.1", stack, 24),
    ]
    for number, layer in enumerate(layers):
        assert layer.projection is model.get_submodule(second.format(number))
        assert layer.expansions == tuple(model.get_submodule(path.format(number)) for path in first)
        assert layer.activation is (model.get_submodule(activation.format(number)) if activation else None)
        assert layer.gated == (len(first) == 2)


def test_a_single_layer_is_enough(small_model: SmallModel, monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch, "gpt2")
    assert [layer.name for layer in find_ffn_layers(small_model("gpt2", n_layer=1))] == ["decoder.0"]


@pytest.mark.parametrize(
    ("name", "seen"),
    [("nllb-moe", r"layers of different kinds in encoder\.layers\.N"), ("fsmt", "no such pair among self_attn.k_proj")],
)
def test_what_it_cannot_be_sure_of_is_refused(
    name: str, seen: str, small_model: SmallModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(monkeypatch, name)
    with pytest.raises(NeuronspecError, match=f"a {name!r} model live: found {seen}.*{HOW}"):
        find_ffn_layers(small_model(name))


class OddConfig(PreTrainedConfig):  # type: ignore[misc,unused-ignore]
    model_type = "odd"

    def __init__(self, kind: str = "plain", **options: Any) -> None:
        self.kind, self.hidden_size, self.vocab_size = kind, 8, 16
        super().__init__(**options)


class OddLayer(nn.Module):
    """An FFN, and what may stand in its place."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first = nn.Linear(8, 12)
        self.second = nn.Linear(12, 8)
        if kind == "norm":
            self.norm = nn.LayerNorm(12)
        if kind == "two":
            self.other_first, self.other_second = nn.Linear(8, 12), nn.Linear(12, 8)
        if kind == "three":
            self.gate_one, self.gate_two = nn.Linear(8, 12), nn.Linear(8, 12)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        neurons = self.first(states).relu()
        if self.kind == "norm":
            neurons = self.norm(neurons)
        if self.kind == "shifted":  # every position reads its neighbour's neurons
            neurons = neurons.roll(1, dims=1)
        if self.kind == "turned":  # and every entry its neighbour's feature
            neurons = neurons.roll(1, dims=2)
        if self.kind == "softmax":
            neurons = neurons.softmax(-1)
        if self.kind == "detached":
            neurons = torch.ones_like(neurons)
        if self.kind == "three":
            neurons = neurons * self.gate_one(states) * self.gate_two(states)
        states = states + self.second(neurons)
        if self.kind == "two":
            states = states + self.other_second(self.other_first(states).relu())
        if self.kind == "breaks":
            raise ValueError("this layer cannot be run")
        return states


class OddModel(PreTrainedModel):  # type: ignore[misc,unused-ignore]
    config_class = OddConfig

    def __init__(self, config: OddConfig) -> None:
        super().__init__(config)
        self.words = nn.Embedding(16, 8)
        self.layers = nn.ModuleList(OddLayer(config.kind) for _ in range(2 if config.kind != "empty" else 0))
        if config.kind == "lists":
            self.others = nn.ModuleList(OddLayer("plain") for _ in range(2))
        if config.kind == "different":
            self.layers[1].extra = nn.Linear(8, 8)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.words

    def forward(self, input_ids: torch.Tensor, use_cache: bool | None = None) -> torch.Tensor:
        states: torch.Tensor = self.words(input_ids)
        for layer in self.layers:
            states = layer(states)
        return states


def snapshot(model: PreTrainedModel) -> Any:
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    hooks = [(dict(m._forward_pre_hooks), dict(m._forward_hooks)) for m in model.modules()]
    return weights, hooks, [module.training for module in model.modules()], torch.get_rng_state()


def assert_unchanged(model: PreTrainedModel, before: Any) -> None:
    weights, hooks, modes, random_state = snapshot(model)
    assert weights.keys() == before[0].keys()
    assert all(torch.equal(tensor, before[0][name]) for name, tensor in weights.items())
    assert hooks == before[1]
    assert modes == before[2]
    assert torch.equal(random_state, before[3])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_plain_ffn_without_attention_is_found() -> None:
    model = OddModel(OddConfig("plain"))
    assert [(layer.name, layer.width) for layer in find_ffn_layers(model)] == [("decoder.0", 12), ("decoder.1", 12)]
    assert find_ffn_layers(model)[1].projection is model.layers[1].second
    assert search_architecture(model).stacks == {"decoder": ("layers", "")}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("norm", r"no such pair among first, second in layers\.N"),
        ("softmax", "no such pair among first, second"),
        ("shifted", "no such pair"),
        ("turned", "no such pair"),
        ("detached", "no such pair"),
        ("two", "first -> second; .*other_first -> other_second among first, second, other_first"),
        ("three", r"first \+ gate_one \+ gate_two -> second among"),
        ("different", "layers of different kinds"),
        ("empty", r"0 lists of layers \(none\), expected 1"),
        ("lists", r"2 lists of layers \(layers, others\), expected 1"),
        ("breaks", r"a model that a few tokens cannot be sent through \(this layer cannot be run\)"),
    ],
)
def test_what_is_no_ffn_is_refused_and_left_as_it_was(kind: str, seen: str, training: bool) -> None:
    model = OddModel(OddConfig(kind)).train(training)
    model.register_forward_hook(lambda module, arguments, output: None)
    before = snapshot(model)
    with pytest.raises(
        NeuronspecError, match=f"cannot tell where the neurons of a 'odd' model live: found {seen}.*{HOW}"
    ):
        find_ffn_layers(model)
    assert_unchanged(model, before)


def test_factors_are_found_although_the_neurons_are_off_at_one_position() -> None:
    """Where the first factor is 0, a change of the others moves nothing."""
    model = OddModel(OddConfig("three"))
    with torch.no_grad():
        model.words.weight[0] = 0
        layers: list[Any] = list(model.layers)
        for layer in layers:
            layer.first.bias.fill_(-1e-6)
            layer.second.bias.zero_()
    with pytest.raises(NeuronspecError, match=r"first \+ gate_one \+ gate_two -> second among"):
        search_architecture(model)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["m2m_100", "mt5", "llama"])
def test_a_model_is_left_as_it_was(
    name: str, training: bool, small_model: SmallModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(monkeypatch, name)
    model = small_model(name).train(training)
    model.register_forward_hook(lambda module, arguments, output: None)
    before = snapshot(model)
    assert find_ffn_layers(model)
    assert_unchanged(model, before)


def test_a_part_that_was_put_into_another_mode_keeps_it() -> None:
    for kind in ("plain", "norm"):
        model = OddModel(OddConfig(kind)).train()
        model.layers[0].eval()  # as one does to freeze it
        modes = [module.training for module in model.modules()]
        try:
            find_ffn_layers(model)
        except NeuronspecError:
            assert kind == "norm"
        assert [module.training for module in model.modules()] == modes


def test_dropout_does_not_hide_an_ffn(small_model: SmallModel, monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch, "bart")
    model = small_model("bart", dropout=0.9, activation_dropout=0.9, attention_dropout=0.9).train()
    assert [layer.width for layer in find_ffn_layers(model)] == [24, 24, 40, 40]


def test_says_the_same_each_time(small_model: SmallModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("qwen3")
    forget(monkeypatch, "qwen3")
    for one, other in itertools.pairwise(search_architecture(copy.deepcopy(model)) for _ in range(3)):
        assert one == other


def test_a_registered_entry_goes_before_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ARCHITECTURES, "_entries", dict(ARCHITECTURES))
    model = OddModel(OddConfig("norm"))
    ARCHITECTURES.register("odd")(search_architecture(OddModel(OddConfig("plain"))))
    assert [layer.projection for layer in find_ffn_layers(model)] == [layer.second for layer in model.layers]
