"""Experts that share one parameter, beyond what every architecture is tested for: pruning, and held neurons."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.conftest import STACKED
from transformers import AutoModelForCausalLM, PreTrainedModel

import neuronspec
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.momentum import hold_absent_neurons
from neuronspec.specialization.pruning import prune

SmallModel = Callable[..., PreTrainedModel]

TASKS = ("de", "en")
IDS = torch.tensor([[5, 6, 7, 8, 9], [10, 11, 12, 13, 14], [20, 30, 40, 21, 31]])


def draw_masks(model: PreTrainedModel) -> NeuronMasks:
    generator = torch.Generator().manual_seed(0)
    widths = {layer.name: layer.width for layer in find_ffn_layers(model)}
    return NeuronMasks(TASKS, {name: torch.rand(2, width, generator=generator) > 0.7 for name, width in widths.items()})


@pytest.mark.parametrize("name", STACKED)
def test_a_pruned_model_is_the_masked_one_with_experts_as_wide_as_the_widest(
    name: str, small_model: SmallModel, tmp_path: Path
) -> None:
    model = small_model(name)
    masks = draw_masks(model)
    pruned = prune(model, masks, "en")
    kept = {layer: int(masks.mask("en", layer).sum()) for layer in masks.layers}
    for layer in find_ffn_layers(pruned):
        together = (
            [layer.name]
            if layer.experts is None
            else [
                other for other in kept if other.startswith(f"decoder.{layer.index}.expert.") and "shared" not in other
            ]
        )
        widest = max(kept[other] for other in together)
        assert layer.width == (widest if layer.experts is None else -(-widest // 8) * 8)
    assert sum(p.numel() for p in pruned.parameters()) < sum(p.numel() for p in model.parameters())

    pruned.save_pretrained(tmp_path)
    loaded = neuronspec.load_model(tmp_path).double()
    loaded.set_experts_implementation("eager")
    for buffer, value in model.named_buffers():  # random there, and not saved
        loaded.get_buffer(buffer).copy_(value)
    with torch.no_grad():
        expected = specialize(model, masks)(input_ids=IDS, tasks=["en"] * 3).logits
        assert torch.allclose(pruned(input_ids=IDS).logits, expected, atol=1e-9)
        assert torch.allclose(loaded(input_ids=IDS).logits, expected, atol=1e-4)  # saved in float64, read in float32


def test_experts_of_one_width_load_in_plain_transformers(small_model: SmallModel, tmp_path: Path) -> None:
    model = small_model("mixtral").float()
    masks = draw_masks(model)
    prune(model, masks, "en", widths="stack").save_pretrained(tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    for buffer, value in model.named_buffers():  # random there, and not saved
        plain.get_buffer(buffer).copy_(value)
    with torch.no_grad():
        expected = specialize(model, masks)(input_ids=IDS, tasks=["en"] * 3).logits
        assert torch.allclose(plain(input_ids=IDS).logits, expected, atol=1e-4)


def test_experts_next_to_other_ffns_have_no_common_width(small_model: SmallModel) -> None:
    model = small_model("qwen2_moe")
    with pytest.raises(NeuronspecError, match=r"no key for d_ff is known in a 'qwen2_moe'.*prune with widths='own'"):
        prune(model, draw_masks(model), "en", widths="stack")


@pytest.mark.parametrize("held", [True, False])
def test_r9_neurons_of_absent_tasks_can_be_held(held: bool, small_model: SmallModel) -> None:
    model = small_model("mixtral")
    masks = draw_masks(model)
    specialize(model, masks)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    handles = hold_absent_neurons(model, optimizer)

    def update(task: str) -> None:
        model(input_ids=IDS, tasks=[task] * 3).logits.logsumexp(-1).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    update("de")  # fills the momentum
    for handle in handles if not held else ():
        handle.remove()
    before = copy.deepcopy(model.state_dict())
    update("en")
    moved = 0
    for layer in find_ffn_layers(model):
        absent = ~masks.mask("en", layer.name)
        experts = f"model.layers.{layer.index}.mlp.experts"
        for matrix, rows in ((layer.expansions[0], absent.repeat(2)), (layer.projection, absent)):
            old = before[f"{experts}.{'down_proj' if matrix is layer.projection else 'gate_up_proj'}"][layer.expert]
            now = matrix.weight.detach()
            if matrix is layer.projection:
                old, now = old.T, now.T
            moved += int((now[rows] != old[rows]).any(1).sum())
            assert (now[~rows] != old[~rows]).any()
    assert (moved == 0) == held
