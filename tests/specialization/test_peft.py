"""Adapters of PEFT in a specialised model: no masked neuron enters one, in whichever order the two were put on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.methods.adapters.model import find_hook_points
from neuronspec.methods.layer_matrices import find_layer_matrices
from neuronspec.methods.parameter_differentiation.model import find_units
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.recording import record_activations
from neuronspec.specialization.masking import Specialization, get_masks, specialize
from neuronspec.specialization.momentum import hold_absent_neurons
from neuronspec.specialization.packing import PackedLayer
from neuronspec.specialization.pruning import prune
from neuronspec.specialization.routing import dense, find_router, task, unspecialize

peft = pytest.importorskip("peft")

SmallModel = Callable[..., PreTrainedModel]
TASKS = ["de-en", "en-fr"]
# The names of the matrices of an FFN, the second one last.
FFN = {
    "m2m_100": ["fc1", "fc2"],
    "t5": ["wi", "wo"],
    "mt5": ["wi_0", "wi_1", "wo"],
    "llama": ["gate_proj", "up_proj", "down_proj"],
    "phi3": ["gate_up_proj", "down_proj"],
    "gpt2": ["c_fc", "mlp.c_proj"],
    "opt": ["fc1", "fc2"],
}


def _configure(kind: str, name: str) -> Any:
    """Return the configuration of adapters around all FFN matrices of an architecture."""
    first, second = FFN[name][:-1], FFN[name][-1]
    if kind == "IA3":
        return peft.IA3Config(target_modules=[*first, second], feedforward_modules=[second], init_ia3_weights=False)
    if kind == "copies":
        return peft.LoraConfig(r=2, target_modules=first, modules_to_save=[second])
    lora = {"r": 2, "target_modules": [*first, second], "init_lora_weights": False, "fan_in_fan_out": name == "gpt2"}
    return peft.LoraConfig(**lora, use_dora=kind == "DoRA", bias="lora_only" if kind == "biases" else "none")


def _batch(model: PreTrainedModel) -> dict[str, Any]:
    ids = torch.tensor([[5, 6, 7, 8, 2], [9, 10, 2, 1, 1]])
    return {"input_ids": ids, "attention_mask": ids.ne(1).long(), "labels": ids.masked_fill(ids == 1, -100)}


def _masks(model: PreTrainedModel) -> NeuronMasks:
    generator = torch.Generator().manual_seed(2)
    layers = find_ffn_layers(model)
    return NeuronMasks(TASKS, {layer.name: torch.rand(2, layer.width, generator=generator) > 0.4 for layer in layers})


def _put_on(model: PreTrainedModel, kind: str, name: str, order: str, packed: Any = "auto", **more: Any) -> Any:
    """Specialise a model and put adapters on it, in either order; all of their weights are random."""
    masks = _masks(model)
    if order == "adapters last":
        specialize(model, masks, packed=packed, **more)
        with task(model, TASKS[0]), torch.no_grad():
            model(**_batch(model))  # it has been used as it was
    torch.manual_seed(3)  # PEFT draws from it
    wrapped = peft.get_peft_model(model, _configure(kind, name)).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype), alpha=0.2)
    if order == "adapters first":
        assert specialize(wrapped, masks, packed=packed, **more) is wrapped
    return wrapped


def _multiply_by(mask: torch.Tensor) -> Callable[..., Any]:
    return lambda module, given: (given[0] * mask, *given[1:])


def _logits(model: Any, tasks: list[str]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(**_batch(model), tasks=tasks).logits
    return found


@torch.no_grad()
def _scramble(model: Any, masks: NeuronMasks, of_task: str) -> None:
    """Change whatever computes with the neurons that a task lacks: in the second matrix and in any adapter of it."""
    for layer in find_ffn_layers(model):
        off = ~masks.mask(of_task, layer.name)
        for module in layer.entrance.modules():
            weight = getattr(module, "weight", None)
            if isinstance(weight, torch.Tensor) and weight.ndim == 2:
                dimension = next((d for d in (1, 0) if weight.shape[d] == layer.width), None)
                if dimension is not None and type(module) in (nn.Linear, type(layer.projection)):
                    weight.data[(slice(None), off) if dimension == 1 else off] += 3.0


@pytest.mark.parametrize("order", ["adapters first", "adapters last"])
@pytest.mark.parametrize("kind", ["LoRA", "IA3", "copies", "biases"])
@pytest.mark.parametrize("name", FFN)
def test_no_masked_neuron_enters_an_adapter(name: str, kind: str, order: str, small_model: SmallModel) -> None:
    model = small_model(name)
    wrapped = _put_on(model, kind, name, order)
    masks = get_masks(wrapped)
    assert masks is not None
    before = [_logits(wrapped, [one, one]) for one in TASKS]
    mixed = _logits(wrapped, TASKS)
    assert not torch.allclose(before[0], before[1])
    for row in range(len(TASKS)):
        torch.testing.assert_close(mixed[row], before[row][row])
    _scramble(wrapped, masks, TASKS[0])
    assert torch.equal(_logits(wrapped, [TASKS[0]] * 2), before[0])
    assert not torch.equal(_logits(wrapped, [TASKS[1]] * 2), before[1])


@pytest.mark.parametrize("order", ["adapters first", "adapters last"])
@pytest.mark.parametrize("kind", ["LoRA", "IA3", "copies", "DoRA"])
@pytest.mark.parametrize("name", ["m2m_100", "mt5", "gpt2"])
def test_adapters_compute_the_same_however_masks_are_put_on(
    name: str, kind: str, order: str, small_model: SmallModel
) -> None:
    """One task or several in a batch, packed or not: what a hook of the test's own makes of the same model."""
    found = []
    for packed in ("never", "always", "auto"):
        wrapped = _put_on(small_model(name), kind, name, order, packed)
        masks = get_masks(wrapped)
        assert masks is not None
        found.append(torch.stack([_logits(wrapped, [one, one]) for one in TASKS]))
        with dense(wrapped):
            plain = _logits(wrapped, TASKS)
        unspecialize(wrapped)
        assert find_router(wrapped) is None
        with torch.no_grad():
            torch.testing.assert_close(wrapped(**_batch(wrapped)).logits, plain)
        by_hand = []
        for one in TASKS:
            handles = [
                layer.entrance.register_forward_pre_hook(_multiply_by(masks.mask(one, layer.name)))
                for layer in find_ffn_layers(wrapped)
            ]
            with torch.no_grad():
                by_hand.append(wrapped(**_batch(wrapped)).logits)
            for handle in handles:
                handle.remove()
        torch.testing.assert_close(found[-1], torch.stack(by_hand))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("order", ["adapters first", "adapters last"])
def test_no_gradient_reaches_what_an_adapter_has_for_a_masked_neuron(order: str, small_model: SmallModel) -> None:
    wrapped = _put_on(small_model(), "LoRA", "m2m_100", order)
    masks = get_masks(wrapped)
    assert masks is not None
    wrapped(**_batch(wrapped), tasks=[TASKS[0]] * 2).loss.backward()
    for layer in find_ffn_layers(wrapped):
        off = ~masks.mask(TASKS[0], layer.name)
        second, first = layer.entrance.get_submodule("lora_A.default"), layer.exits[0].get_submodule("lora_B.default")
        assert isinstance(second, nn.Linear)
        assert isinstance(first, nn.Linear)
        assert second.weight.grad is not None
        assert first.weight.grad is not None
        gradient = second.weight.grad  # (rank, d_ff)
        assert gradient[:, off].eq(0).all()
        assert gradient[:, ~off].ne(0).any()
        assert first.weight.grad[off].eq(0).all()


def test_released_masks_leave_the_bias_of_a_wrapped_matrix(small_model: SmallModel) -> None:
    wrapped = _put_on(small_model(), "LoRA", "m2m_100", "adapters last", released=True)
    masks = get_masks(wrapped)
    assert masks is not None
    seen = {}
    for layer in find_ffn_layers(wrapped):
        layer.exits[0].register_forward_hook(
            lambda module, given, output, name=layer.name: seen.update({name: output[0, 0].clone()})
        )
    _logits(wrapped, [TASKS[0]] * 2)
    for layer in find_ffn_layers(wrapped):
        off = ~masks.mask(TASKS[0], layer.name)
        assert torch.equal(seen[layer.name][off], layer.expansions[0].bias[off])


def test_adapters_that_are_taken_off_again_leave_the_masks(small_model: SmallModel) -> None:
    model = small_model()
    wrapped = _put_on(model, "LoRA", "m2m_100", "adapters last")
    with_adapters = _logits(wrapped, TASKS)
    merged = wrapped.merge_and_unload()
    assert merged is model
    torch.testing.assert_close(_logits(model, TASKS), with_adapters)
    assert all(layer.plain for layer in find_ffn_layers(model))
    assert prune(model, _masks(model), TASKS[0]) is not model


@pytest.mark.parametrize("name", ["m2m_100", "gpt2"])
def test_a_wrapped_model_is_recorded_as_it_computes(name: str, small_model: SmallModel) -> None:
    model = small_model(name)
    wrapped = peft.get_peft_model(model, _configure("LoRA", name))
    batch = _batch(wrapped) | {"tasks": TASKS}
    layers = find_ffn_layers(wrapped)
    assert [layer.name for layer in layers] == [layer.name for layer in find_ffn_layers(model)]
    assert not any(layer.plain for layer in layers)
    merged = peft.get_peft_model(small_model(name), _configure("LoRA", name))
    merged.load_state_dict(wrapped.state_dict())
    counts = record_activations(wrapped, [batch], "token")
    again = record_activations(merged.merge_and_unload(), [batch], "token")
    assert all(torch.equal(counts.values[layer], again.values[layer]) for layer in counts.layers)


def test_a_wrapped_model_generates_with_its_masks(small_model: SmallModel) -> None:
    wrapped = _put_on(small_model(), "LoRA", "m2m_100", "adapters last")
    inputs = {key: value for key, value in _batch(wrapped).items() if key != "labels"}
    mixed = wrapped.generate(**inputs, tasks=TASKS, max_new_tokens=6, do_sample=False)
    for row, one in enumerate(TASKS):
        alone = wrapped.generate(**inputs, tasks=[one, one], max_new_tokens=6, do_sample=False)
        width = min(mixed.shape[1], alone.shape[1])
        assert torch.equal(mixed[row, :width], alone[row, :width])


def test_copies_keep_nothing_of_the_masks_that_they_were_copied_with(small_model: SmallModel) -> None:
    wrapped = _put_on(small_model(), "copies", "m2m_100", "adapters last")
    _logits(wrapped, TASKS)
    router = find_router(wrapped)
    for module in wrapped.modules():
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values(), module.__dict__.get("forward")]
        owners = [getattr(getattr(hook, "func", None), "__self__", None) for hook in hooks]
        assert all(owner is router for owner in owners if isinstance(owner, Specialization))
        assert not any(isinstance(owner, PackedLayer) and owner.task_source is not router for owner in owners)


@pytest.mark.parametrize(
    ("what", "do"),
    [
        ("cannot prune", lambda model, masks: prune(model, masks, TASKS[0])),
        ("cannot put adapters into", lambda model, masks: find_hook_points(model)),
        ("cannot branch", lambda model, masks: find_units(model)),
        ("cannot mask or add to the weights of", lambda model, masks: find_layer_matrices(model)),
    ],
)
def test_what_needs_plain_matrices_says_how_to_get_them(what: str, do: Any, small_model: SmallModel) -> None:
    model = small_model()
    masks = _masks(model)
    wrapped = peft.get_peft_model(model, _configure("LoRA", "m2m_100"))
    for given in (wrapped, model):
        with pytest.raises(NeuronspecError, match=rf"{what} a model with PEFT's adapters .*merge_and_unload"):
            do(given, masks)


def test_momentum_in_adapters_is_not_held(small_model: SmallModel) -> None:
    wrapped = _put_on(small_model(), "LoRA", "m2m_100", "adapters first")
    with pytest.raises(NeuronspecError, match=r"cannot hold the momentum .*merge_and_unload"):
        hold_absent_neurons(wrapped.get_base_model(), torch.optim.AdamW(wrapped.parameters()))


def test_prompts_are_refused_by_name(small_model: SmallModel) -> None:
    model = small_model("gpt2")
    prompted = peft.get_peft_model(model, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    with pytest.raises(NeuronspecError, match="PROMPT_TUNING"):
        record_activations(prompted, [_batch(prompted) | {"tasks": TASKS}])
    with pytest.raises(NeuronspecError, match="PROMPT_TUNING"):
        specialize(prompted, _masks(model))


class _Quantized(nn.Linear):
    """A matrix whose weight is not what it multiplies with."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(states, self.weight.round(), self.bias)


def test_a_matrix_of_an_unknown_kind_is_masked_but_never_cut(small_model: SmallModel) -> None:
    model = small_model()
    for layer in find_ffn_layers(model):
        layer.projection.__class__ = _Quantized
    expected = []
    for packed in ("never", "always"):
        specialize(copied := copy.deepcopy(model), _masks(model), packed=packed)
        expected.append(_logits(copied, [TASKS[0]] * 2))
    assert torch.equal(*expected)
    with pytest.raises(NeuronspecError, match=r"cannot prune encoder\.0: its matrices are quantized"):
        prune(model, _masks(model), TASKS[0])


def test_a_matrix_that_is_none_is_refused_by_name(small_model: SmallModel) -> None:
    model = small_model()
    model.base_model.encoder.layers[0].fc2 = nn.Bilinear(24, 24, 16)
    with pytest.raises(NeuronspecError, match=r"fc2 must be Linear or Conv1D.* torch\.nn.*\.Bilinear"):
        find_ffn_layers(model)
