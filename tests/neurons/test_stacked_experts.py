"""Experts that share one parameter: where their neurons are, and what is counted, against a short computation."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from accelerate import cpu_offload
from tests.conftest import STACKED
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.activations import ACT2FN

from neuronspec.errors import NeuronspecError
from neuronspec.models.stacked_experts import is_stacked
from neuronspec.neurons.activity import GatedAt, Unit
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.recording import record_activations
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.routing import unspecialize

SmallModel = Callable[..., PreTrainedModel]
Counts = dict[tuple[str, str], torch.Tensor]

TASKS = ("de", "en")
SENTENCES = [("de", [5, 6, 7, 8, 9]), ("en", [10, 11]), ("de", [12]), ("en", [13, 14, 15, 5, 40]), ("en", [20, 21, 22])]
_GROUPS = {"n_routed_experts": 3, "n_group": 1, "topk_group": 1, "n_shared_experts": 1, "first_k_dense_replace": 1}
_LATENT = {
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 2,
}
# Registered, too: built as those of `STACKED`
MORE: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("flex_olmo", "minimax_m2", "granitemoe"), STACKED["mixtral"]),
    "dots1": {**STACKED["mixtral"], **_GROUPS},
    "deepseek_v3": {**STACKED["mixtral"], **_GROUPS, **_LATENT},
    "ernie4_5_moe": {
        **STACKED["mixtral"],
        **{"moe_num_experts": 3, "moe_k": 2, "moe_num_shared_experts": 1},
        **{"moe_layer_start_index": 1, "moe_layer_end_index": 1},
    },
}
SHARED = ("qwen2_moe", "glm4_moe", "dots1", "deepseek_v3", "ernie4_5_moe")  # a dense layer, then one with a shared one


@pytest.fixture(params=STACKED)
def model(request: pytest.FixtureRequest, small_model: SmallModel) -> PreTrainedModel:
    return small_model(request.param)


def batches_of(*sizes: int) -> list[dict[str, Any]]:
    """The sentences in batches of these sizes, padded on the right."""
    found, rest = [], SENTENCES
    for size in sizes:
        rows, rest = rest[:size], rest[size:]
        longest = max(len(ids) for _, ids in rows)
        ids = torch.tensor([ids + [1] * (longest - len(ids)) for _, ids in rows])
        found.append({"input_ids": ids, "attention_mask": ids.ne(1).long(), "tasks": [task for task, _ in rows]})
    return found


def holders(model: PreTrainedModel) -> list[tuple[str, nn.Module]]:
    """The modules that hold experts in one parameter, by the names of their layers."""
    return [
        (f"decoder.{index}", module)
        for index, block in enumerate(model.base_model.layers)
        for module in block.modules()
        if is_stacked(module)
    ]


def count_alone(model: PreTrainedModel, unit: Unit, gated_at: GatedAt) -> Counts:
    """The neurons of experts, from what a layer of experts reads and its parameters, sentence by sentence."""
    counts: Counts = {}

    def look(layer: str, task: str, experts: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        hidden, chosen, _ = arguments
        for expert, (first, second) in enumerate(zip(experts.gate_up_proj, experts.down_proj, strict=True)):
            gate, factor = (hidden[(chosen == expert).any(1)] @ first.T).split(second.shape[1], 1)
            neurons = ACT2FN[model.config.hidden_act](gate) * (factor if gated_at == "product" else 1)
            seen = (neurons > 0).sum(0)
            before = counts.get((task, f"{layer}.expert.{expert}"), 0)
            counts[task, f"{layer}.expert.{expert}"] = before + (seen if unit == "token" else seen.clamp(max=1))

    for task, ids in SENTENCES:
        handles = [
            experts.register_forward_pre_hook(functools.partial(look, layer, task)) for layer, experts in holders(model)
        ]
        with torch.no_grad():
            model(input_ids=torch.tensor([ids]))
        for handle in handles:
            handle.remove()
    return counts


@pytest.mark.parametrize("unit", get_args(Unit))
@pytest.mark.parametrize("gated_at", get_args(GatedAt))
def test_r5_counts_are_those_of_each_expert_s_tokens(model: PreTrainedModel, unit: Unit, gated_at: GatedAt) -> None:
    expected = count_alone(model, unit, gated_at)
    assert len({tuple(counts.tolist()) for counts in expected.values()}) > 4  # they differ
    for sizes in ((5,), (1, 1, 1, 1, 1), (2, 3)):
        counts = record_activations(model, batches_of(*sizes), unit, gated_at=gated_at)
        assert counts.totals["decoder"].tolist() == ([2, 3] if unit == "sentence" else [6, 10])
        for (task, layer), seen in expected.items():
            assert torch.equal(counts.values[layer][counts.tasks.index(task)], seen), (task, layer)


@pytest.mark.parametrize("name", [*STACKED, *MORE])
def test_every_expert_is_a_layer(name: str) -> None:
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **(STACKED | MORE)[name])).eval()
    layers = {layer.name: layer for layer in find_ffn_layers(model)}
    experts = [f"expert.{number}" for number in range(3)]
    second = [f"decoder.1.{expert}" for expert in experts]
    if name in SHARED:
        assert list(layers) == ["decoder.0", *second, "decoder.1.expert.shared"]
        assert layers["decoder.1.expert.shared"].width == (20 if name == "qwen2_moe" else 24)
        assert layers["decoder.1.expert.shared"].experts is None  # every token goes there
    else:
        assert list(layers) == [f"decoder.0.{expert}" for expert in experts] + second
    assert all(layers[layer].width == 24 and layers[layer].gated for layer in second)

    # Expert by expert, it computes what transformers computes for all at once.
    batch = batches_of(5)[0]
    batch.pop("tasks")
    with torch.no_grad():
        expected = model(**batch).logits
        masks = NeuronMasks(("de",), {layer.name: torch.ones(1, layer.width).bool() for layer in layers.values()})
        found = specialize(model, masks, packed="never")(**batch, tasks=["de"] * 5).logits
    assert torch.allclose(found, expected, atol=1e-6)


def test_nothing_is_left_of_a_recording(model: PreTrainedModel) -> None:
    batch = batches_of(5)[0]
    keys, parameters = list(model.state_dict()), [name for name, _ in model.named_parameters()]
    modules = [name for name, _ in model.named_modules()]
    with torch.no_grad():
        ids = batch["input_ids"]
        expected = model(input_ids=ids).logits
        record_activations(model, [batch])
        assert torch.equal(model(input_ids=ids).logits, expected)
        assert not any("forward" in experts.__dict__ for _, experts in holders(model))
        assert torch.equal(copy.deepcopy(model)(input_ids=ids).logits, expected)
    assert list(model.state_dict()) == keys
    assert [name for name, _ in model.named_parameters()] == parameters
    assert [name for name, _ in model.named_modules()] == modules


def test_parts_are_found_once_and_follow_a_copy(small_model: SmallModel) -> None:
    model = small_model("mixtral")
    layers = find_ffn_layers(model)
    assert [layer.projection for layer in find_ffn_layers(model)] == [layer.projection for layer in layers]
    masks = NeuronMasks(TASKS, {layer.name: torch.arange(48).view(2, 24) % 3 > 0 for layer in layers})
    ids = batches_of(5)[0]["input_ids"]
    with torch.no_grad():
        expected = specialize(model, masks)(input_ids=ids, tasks=["de"] * 5).logits
        copied = copy.deepcopy(model)
        unspecialize(model)
        for parameter in model.parameters():
            parameter.zero_()
        assert torch.equal(copied(input_ids=ids, tasks=["de"] * 5).logits, expected)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("mixtral", {"has_bias": True}, "has has_bias=True"),
        ("mixtral", {"is_transposed": True}, "has is_transposed=True"),
        ("mixtral", {"down_proj": nn.Parameter(torch.zeros(3, 16, 20))}, "do not fit together"),
        ("mixtral", {"scale": nn.Parameter(torch.zeros(3, 1, 1))}, "alone; found gate_up_proj, down_proj, scale"),
    ],
)
def test_experts_that_compute_otherwise_are_refused(
    name: str, change: dict[str, Any], said: str, small_model: SmallModel
) -> None:
    model = small_model(name)
    for key, value in change.items():
        setattr(model.model.layers[1].mlp.experts, key, value)
    with pytest.raises(NeuronspecError, match=f"this 'mixtral' model is not built as its architecture says .*{said}"):
        find_ffn_layers(model)


@pytest.mark.parametrize("own_gate", [True, False])
def test_a_formula_of_its_own_is_refused(
    own_gate: bool, small_model: SmallModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen by the method that clamps the gate, or else by what comes out."""
    model = small_model("mixtral")
    kind = type(model.model.layers[0].mlp.experts)
    own = (lambda self, states, *more: states * 7) if not own_gate else (lambda self, states: states[..., :24])
    monkeypatch.setattr(kind, "_apply_gate" if own_gate else "forward", own)
    said = "in a way of its own" if own_gate else "computes something else than"
    with pytest.raises(NeuronspecError, match=said):
        find_ffn_layers(model)


def test_offloaded_experts_are_counted_too(small_model: SmallModel) -> None:
    model = small_model("mixtral")
    expected = record_activations(model, batches_of(2, 3))
    for find_first in (True, False):  # accelerate comes after us, or before
        offloaded = small_model("mixtral")
        if find_first:
            record_activations(offloaded, batches_of(5))
        cpu_offload(offloaded, execution_device=torch.device("cpu"))
        assert next(offloaded.parameters()).is_meta
        counts = record_activations(offloaded, batches_of(2, 3))
        assert all(torch.equal(counts.values[layer], expected.values[layer]) for layer in expected.layers)
