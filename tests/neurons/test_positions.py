from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError, NeuronspecWarning
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers
from neuronspec.neurons.positions import Positions
from neuronspec.neurons.recording import record_activations

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]

EXPERTS = 4


class Watched:
    """A model's positions, and what its second matrices and its experts were seen to read in one forward pass."""

    def __init__(self, model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> None:
        self.layers = find_ffn_layers(model)
        self.positions = Positions(self.layers)
        self.read: dict[str, torch.Tensor] = {}  # layer -> what its second matrix read
        self.entered: dict[str, torch.Tensor] = {}  # layer -> what its first matrix read
        self.hidden: dict[str, torch.Tensor] = {}  # layer -> the hidden states that all experts share
        self.tokens: dict[str, torch.Tensor | None] = {}
        self.shapes: dict[str, tuple[int, int]] = {}  # as they were when the layer was computed
        with contextlib.ExitStack() as hooks:
            for handle in self.positions.attach():
                hooks.callback(handle.remove)
            for layer in self.layers:
                see = functools.partial(self.note, layer)
                hooks.callback(layer.projection.register_forward_pre_hook(see).remove)
                enter = functools.partial(self.enter, self.entered, layer.name)
                hooks.callback(layer.expansions[0].register_forward_pre_hook(enter).remove)
                if layer.experts is not None:
                    share = functools.partial(self.enter, self.hidden, layer.name)
                    hooks.callback(layer.experts.register_forward_pre_hook(share).remove)
            with torch.no_grad():
                model(**batch, use_cache=False)

    @staticmethod
    def enter(to: dict[str, torch.Tensor], name: str, module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        to[name] = arguments[0]

    def note(self, layer: FFNLayer, module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        self.read[layer.name] = arguments[0]
        self.shapes[layer.name] = self.positions.shapes[layer.stack]
        self.tokens[layer.name] = self.positions.tokens(layer, arguments[0])


def causal(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


@pytest.mark.parametrize("name", ["m2m_100", "fsmt", "t5", "opt", "gpt2", "llama"])
def test_the_shape_is_batch_and_length_of_each_stack(
    name: str, small_model: SmallModel, small_batch: SmallBatch
) -> None:
    model, batch = small_model(name), small_batch(((5, 4), (3, 7), (6, 2)))
    seq2seq = model.config.is_encoder_decoder
    watched = Watched(model, batch if seq2seq else causal(batch))
    for layer in watched.layers:
        shape = (3, 7) if seq2seq and layer.stack == "decoder" else (3, 6)
        assert watched.shapes[layer.name] == shape
        assert watched.tokens[layer.name] is None  # every token is there, in order
        assert watched.read[layer.name].shape[-1] == layer.width
        assert watched.read[layer.name].numel() == shape[0] * shape[1] * layer.width


def test_fsmt_puts_time_first(small_model: SmallModel, small_batch: SmallBatch) -> None:
    watched = Watched(small_model("fsmt"), small_batch(((5, 4), (3, 7), (6, 2))))
    assert all(layer.time_first for layer in watched.layers)
    assert watched.read["encoder.0"].shape == (6, 3, 24)
    assert watched.read["decoder.1"].shape == (7, 3, 40)


def test_a_second_batch_has_its_own_shape(small_model: SmallModel, small_batch: SmallBatch) -> None:
    model = small_model("opt")
    positions = Positions(find_ffn_layers(model))
    handles = list(positions.attach())
    for lengths in (((5, 1), (3, 1)), ((2, 1),)):
        model(**causal(small_batch(lengths)))
        assert positions.shapes == {"decoder": (len(lengths), lengths[0][0])}
    for handle in handles:
        handle.remove()
    model(**causal(small_batch(((6, 1),))))
    assert positions.shapes == {"decoder": (1, 2)}
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_opt_flattens_batch_and_time(small_model: SmallModel, small_batch: SmallBatch) -> None:
    watched = Watched(small_model("opt"), causal(small_batch(((5, 4), (3, 7), (6, 2)))))
    assert [states.shape for states in watched.read.values()] == [(18, 24), (18, 24)]
    assert [states.shape for states in Watched(small_model("xglm"), causal(small_batch())).read.values()] == [
        (4, 6, 24),
        (4, 6, 24),
    ]


@pytest.mark.parametrize("name", ["m2m_100", "gpt2"])
def test_flattened_vectors_are_counted_as_batch_and_time(
    name: str, small_model: SmallModel, small_batch: SmallBatch
) -> None:
    """Whatever the architecture: the same model with batch and time in one dimension has the same counts."""
    model = small_model(name)
    batch: dict[str, Any] = dict(small_batch())
    batch = (batch if model.config.is_encoder_decoder else causal(batch)) | {"tasks": ["a-b", "c-d", "a-b", "e-f"]}
    expected = record_activations(model, [batch], "token")
    layers = find_ffn_layers(model)
    for layer in layers:
        first, second = layer.expansions[0], layer.projection
        first.forward = functools.partial(_flatten, first.forward)  # type: ignore[method-assign]
        second.forward = functools.partial(_unflatten, second.forward)  # type: ignore[method-assign]
    counts = record_activations(model, [batch], "token")
    assert all(torch.equal(counts.values[layer], expected.values[layer]) for layer in expected.layers)


def _flatten(forward: Callable[[torch.Tensor], torch.Tensor], states: torch.Tensor) -> torch.Tensor:
    return forward(states).flatten(0, 1)


def _unflatten(forward: Callable[[torch.Tensor], torch.Tensor], states: torch.Tensor) -> torch.Tensor:
    assert states.ndim == 2
    return forward(states).reshape(4, 6, -1)


def route_as_chosen(
    experts: torch.nn.ModuleDict, hidden: torch.Tensor, router_mask: torch.Tensor, router_probs: torch.Tensor
) -> torch.Tensor:
    """What transformers meant to do: every token to the expert that the router chose for it."""
    mixed = torch.zeros_like(hidden)
    for number in range(router_mask.shape[1]):
        tokens = router_mask[:, number].nonzero()[:, 0]
        if len(tokens):
            mixed[tokens] = experts[f"expert_{number}"](hidden[tokens]) * router_probs[tokens, number, None]
    return mixed


@pytest.fixture
def routed(small_model: SmallModel, monkeypatch: pytest.MonkeyPatch) -> PreTrainedModel:
    """NLLB-MoE whose tokens go where the router sends them."""
    model = small_model("nllb-moe", num_experts=EXPERTS)
    for stack in (model.model.encoder, model.model.decoder):
        experts = stack.layers[1].ffn.experts
        monkeypatch.setattr(experts, "forward", functools.partial(route_as_chosen, experts))
    return model


def assert_tokens_are_right(watched: Watched) -> None:
    for layer in watched.layers:
        if layer.experts is None:
            assert watched.tokens.get(layer.name) is None
        elif layer.name in watched.read:
            tokens = watched.tokens[layer.name]
            assert tokens is not None
            assert len(tokens) == len(watched.read[layer.name].reshape(-1, layer.width))
            entered = watched.entered[layer.name]
            assert torch.equal(watched.hidden[layer.name][tokens], entered.reshape(-1, entered.shape[-1]))


def test_tokens_are_those_that_an_expert_got(routed: PreTrainedModel, small_batch: SmallBatch) -> None:
    """Without a warning: where the router's choice is followed, there is nothing to warn of."""
    for seed in range(4):
        watched = Watched(routed, small_batch(seed=seed))
        assert_tokens_are_right(watched)
        seen = [set(tokens.tolist()) for tokens in watched.tokens.values() if tokens is not None]
        assert sum(map(len, seen)) <= 2 * 4 * 6  # none was sent to two experts of one layer
        assert len(seen) > 2


@pytest.mark.parametrize("experts", [2, 3, 4])
def test_tokens_are_followed_and_the_error_of_transformers_is_told_once(
    experts: int, small_model: SmallModel, small_batch: SmallBatch
) -> None:
    model = small_model("nllb-moe", num_experts=experts)
    with pytest.warns(NeuronspecWarning, match="experts 0 and 1 alone, whatever the router chose") as told:
        watched = Watched(model, small_batch())
    assert len([one for one in told if issubclass(one.category, NeuronspecWarning)]) == 1
    assert_tokens_are_right(watched)
    seen = {name for name in watched.read if ".expert." in name}
    assert seen <= {f"{stack}.1.expert.{number}" for stack in ("encoder", "decoder") for number in (0, 1)}
    assert "encoder.1.expert.0" in seen


def test_every_recording_warns_anew(small_model: SmallModel, small_batch: SmallBatch) -> None:
    model = small_model("nllb-moe", num_experts=EXPERTS)
    batch: dict[str, Any] = small_batch() | {"tasks": ["de-en"] * 4}
    for _ in range(2):
        with pytest.warns(NeuronspecWarning, match="what is recorded is what it computes"):
            record_activations(model, [batch, batch])


def test_a_routing_that_nobody_knows_is_refused(
    small_model: SmallModel, small_batch: SmallBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model("nllb-moe", num_experts=EXPERTS)

    def send_two_tokens_to_each(experts: torch.nn.ModuleDict, hidden: torch.Tensor, *more: Any) -> torch.Tensor:
        for number in range(EXPERTS):
            experts[f"expert_{number}"](hidden[[3, 2]])
        return hidden

    experts = model.model.encoder.layers[1].ffn.experts
    monkeypatch.setattr(experts, "forward", functools.partial(send_two_tokens_to_each, experts))
    batch: dict[str, Any] = small_batch(((5, 4), (5, 3))) | {"tasks": ["de-en", "en-fr"]}
    with pytest.raises(
        NeuronspecError, match=r"encoder\.1\.expert\.0 got 2 of 10 tokens: this version of transformers"
    ):
        record_activations(model, [batch])
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


def test_the_hooks_follow_a_model_into_its_copy(small_model: SmallModel, small_batch: SmallBatch) -> None:
    """Two copies must not tell each other's shapes."""
    model = small_model("t5")
    positions = Positions(find_ffn_layers(model))
    handles = list(positions.attach())
    other = copy.deepcopy(model)
    model(**small_batch(((5, 4), (3, 3))))
    before = dict(positions.shapes)
    other(**small_batch(((2, 2),)))
    assert positions.shapes == before == {"encoder": (2, 5), "decoder": (2, 4)}
    for handle in handles:
        handle.remove()


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield
