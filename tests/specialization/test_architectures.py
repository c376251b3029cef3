"""Masked, packed and released models of every architecture, against models whose weights are zeroed one by one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from neuronspec.models.matrices import locate_weight
from neuronspec.models.stacked_experts import as_stacked
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization import packing
from neuronspec.specialization.masking import get_masks, specialize
from neuronspec.specialization.packing import Packed
from neuronspec.specialization.routing import dense, task, unspecialize

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]
Gradients = dict[str, torch.Tensor]

TASKS = ("de-en", "en-fr")
MIXED = ("en-fr", "de-en", "de-en", "en-fr")  # the tasks of the four rows of `small_batch`

pytestmark = pytest.mark.filterwarnings("ignore:this version of transformers sends the tokens of NLLB-MoE")


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let packed matrices hold a task's neurons alone: filled up as they are for speed, small ones would be whole."""
    monkeypatch.setattr(packing, "_WIDTH_MULTIPLE", 1)


@pytest.fixture
def plain(every_architecture: str, small_model: SmallModel) -> PreTrainedModel:
    return small_model(every_architecture)


@pytest.fixture
def masks(plain: PreTrainedModel) -> NeuronMasks:
    return draw_masks(plain)


@pytest.fixture
def batch(plain: PreTrainedModel, small_batch: SmallBatch) -> dict[str, torch.Tensor]:
    return {
        name: value
        for name, value in small_batch().items()
        if plain.config.is_encoder_decoder or not name.startswith("decoder_")
    }


def draw_masks(model: PreTrainedModel, seed: int = 0) -> NeuronMasks:
    generator = torch.Generator().manual_seed(seed)
    widths = {layer.name: layer.width for layer in find_ffn_layers(model)}
    return NeuronMasks(TASKS, {name: torch.rand(2, width, generator=generator) > 0.5 for name, width in widths.items()})


def rows_of_neurons(layer: FFNLayer, numbers: torch.Tensor, matrix: torch.nn.Module) -> torch.Tensor:
    """The rows of a first matrix that are those of neurons: two a neuron where gate and other matrix are one."""
    weight = matrix.weight.T if isinstance(matrix, Conv1D) else matrix.weight
    assert isinstance(weight, torch.Tensor)
    return torch.cat([numbers + start for start in range(0, len(weight), layer.width)])


def zero_out(model: PreTrainedModel, masks: NeuronMasks, name: str, *, bias: bool = True) -> PreTrainedModel:
    """A copy whose rows of W1, gate and up (and b1) are zero where the task masks: f(0) = 0 in every architecture."""
    zeroed = copy.deepcopy(model)
    with torch.no_grad():
        for layer in find_ffn_layers(zeroed):
            off = (~masks.mask(name, layer.name)).nonzero()[:, 0]
            assert 0 < len(off) < layer.width
            for matrix in layer.expansions:
                rows = rows_of_neurons(layer, off, matrix)
                (matrix.weight.T if isinstance(matrix, Conv1D) else matrix.weight)[rows] = 0
                if bias and matrix.bias is not None:
                    matrix.bias[rows] = 0
    return zeroed


def real(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """(rows, positions): where the logits are those of tokens."""
    return batch.get("decoder_attention_mask", batch["attention_mask"]).bool()


def logits(model: PreTrainedModel, batch: dict[str, torch.Tensor], tasks: object = None) -> torch.Tensor:
    options = {} if tasks is None else {"tasks": tasks}
    found: torch.Tensor = model(**batch, use_cache=False, **options).logits
    return found * real(batch)[..., None]


def loss(found: torch.Tensor) -> torch.Tensor:
    """A number that weighs every logit differently."""
    generator = torch.Generator().manual_seed(7)
    return (found * torch.randn(found.shape, generator=generator, dtype=torch.float64).to(found.dtype)).sum()


def gradients(model: PreTrainedModel, value: Any) -> Gradients:
    model.zero_grad()
    value.backward()
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in model.named_parameters()
    }


def close(one: torch.Tensor, other: torch.Tensor, *, exactly: bool = True) -> bool:
    tolerance = 1e-9 if one.dtype == torch.float64 and exactly else 1e-4
    largest = float(other.detach().nan_to_num().abs().max())
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance * max(1.0, largest), equal_nan=True)


def first_matrices(model: PreTrainedModel) -> Iterator[tuple[str, str, FFNLayer, torch.nn.Module]]:
    """The first matrices: (parameter, weight or bias, layer, matrix)."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    for layer in find_ffn_layers(model):
        for matrix in layer.expansions:
            if (stacked := as_stacked(matrix)) is not None:
                yield names[stacked.parameter], "weight", layer, matrix
            for kind, parameter in matrix.named_parameters():
                yield names[parameter], kind, layer, matrix


def turned(gradient: torch.Tensor, kind: str, matrix: torch.nn.Module) -> torch.Tensor:
    """A gradient with the neurons in its first dimension."""
    if (stacked := as_stacked(matrix)) is not None:
        return gradient[stacked.number]
    return gradient.T if kind == "weight" and isinstance(matrix, Conv1D) else gradient


@pytest.mark.parametrize("released", [False, True])
def test_r4_a_mixed_batch_is_computed_and_trained_as_by_models_without_the_weights(
    plain: PreTrainedModel, batch: dict[str, torch.Tensor], masks: NeuronMasks, released: bool
) -> None:
    """Outputs row by row, gradients as the sum over the tasks: each of the rows of one task, in its own model."""
    model = specialize(copy.deepcopy(plain), masks, released=released)
    found = logits(model, batch, MIXED)
    sent = gradients(model, loss(found))
    expected = torch.zeros_like(found)
    wanted = {name: torch.zeros_like(value) for name, value in sent.items()}
    for name in TASKS:
        zeroed = zero_out(plain, masks, name, bias=not released)
        rows = torch.tensor([other == name for other in MIXED])[:, None, None]
        output = logits(zeroed, batch) * rows
        part = gradients(zeroed, loss(output))
        for parameter, kind, layer, matrix in first_matrices(zeroed):
            if kind == "weight" or not released:  # the released code leaves a masked neuron its bias
                off = (~masks.mask(name, layer.name)).nonzero()[:, 0]
                turned(part[parameter], kind, matrix)[rows_of_neurons(layer, off, matrix)] = 0
        expected += output.detach()
        wanted = {parameter: value + part[parameter] for parameter, value in wanted.items()}
    assert close(found, expected)
    assert not close(found, logits(plain, batch))
    for parameter, value in wanted.items():
        # Gemma's norms and GLM's routers compute in float32.
        rounded = {"gemma": "norm", "glm4_moe": "mlp.gate."}
        exactly = not any(kind in plain.config.model_type and part in parameter for kind, part in rounded.items())
        assert close(sent[parameter], value, exactly=exactly), parameter


@pytest.mark.parametrize("packed", ["never", "always"])
def test_r9_a_masked_neuron_gets_exactly_no_gradient(
    plain: PreTrainedModel, batch: dict[str, torch.Tensor], masks: NeuronMasks, packed: Packed
) -> None:
    model = specialize(plain, masks, packed=packed)
    sent = gradients(model, loss(logits(model, batch, ["de-en"] * 4)))
    names = {parameter: name for name, parameter in model.named_parameters()}
    for parameter, kind, layer, matrix in first_matrices(model):
        on = masks.mask("de-en", layer.name)
        rows = turned(sent[parameter], kind, matrix)
        assert not rows[rows_of_neurons(layer, (~on).nonzero()[:, 0], matrix)].any()
        assert rows.any() or layer.experts is not None  # an expert may get no token
    for layer in find_ffn_layers(model):
        weight, number = locate_weight(layer.projection)
        gradient = sent[names[weight]] if number is None else sent[names[weight]][number]
        columns = gradient if isinstance(layer.projection, Conv1D) else gradient.T  # (d_ff, d_model)
        on = masks.mask("de-en", layer.name)
        assert not columns[~on].any()
        assert columns[on].any() or layer.experts is not None


@pytest.mark.parametrize("multiple", [1, 16])
def test_a_packed_batch_is_computed_and_trained_as_a_masked_one(
    plain: PreTrainedModel,
    batch: dict[str, torch.Tensor],
    masks: NeuronMasks,
    multiple: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With its neurons alone, and with others that fill up the width."""
    monkeypatch.setattr(packing, "_WIDTH_MULTIPLE", multiple)
    masked = specialize(copy.deepcopy(plain), masks, packed="never")
    packed = specialize(plain, masks, packed="always")
    for tasks in (["en-fr"] * 4, ["de-en"] * 4, MIXED):
        one, other = logits(masked, batch, tasks), logits(packed, batch, tasks)
        assert close(other, one)
        sent = gradients(packed, loss(other))
        for name, value in gradients(masked, loss(one)).items():
            assert close(sent[name], value), name
        with torch.no_grad():
            assert close(logits(packed, batch, tasks), one)  # from kept matrices too
            assert close(logits(packed, batch, tasks), one)


@pytest.mark.parametrize("released", [False, True])
def test_specialising_changes_no_tensor_and_can_be_undone(
    plain: PreTrainedModel, batch: dict[str, torch.Tensor], masks: NeuronMasks, released: bool, tmp_path: Path
) -> None:
    with torch.no_grad():
        expected = logits(plain, batch)
    state = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    parameters = list(plain.parameters())
    attributes = {name: set(module.__dict__) for name, module in plain.named_modules()}
    forwards = {name: module.forward for name, module in plain.named_modules()}

    def unchanged() -> bool:
        now = plain.state_dict()
        return list(now) == list(state) and all(torch.equal(now[name], state[name]) for name in state)

    with torch.no_grad():
        for _ in range(2):
            specialize(plain, masks, packed="always", released=released)
            logits(plain, batch, ["de-en"] * 4)
            assert unchanged()
            with dense(plain):
                assert torch.equal(logits(plain, batch), expected)
        plain.save_pretrained(tmp_path)
        copied = unspecialize(copy.deepcopy(plain))  # as `prune` does
        assert torch.equal(logits(copied, batch), expected)
        assert not any("forward" in module.__dict__ for module in copied.modules())
        assert unspecialize(plain) is plain
        assert get_masks(plain) is None
        assert torch.equal(logits(plain, batch), expected)
    assert unchanged()
    assert all(one is other for one, other in zip(plain.parameters(), parameters, strict=True))
    for name, module in plain.named_modules():
        assert set(module.__dict__) == attributes[name], name
        assert module.forward == forwards[name], name
        assert not module._forward_pre_hooks, name
        assert not module._forward_hooks, name
    kind = AutoModelForSeq2SeqLM if plain.config.is_encoder_decoder else AutoModelForCausalLM
    loaded = kind.from_pretrained(tmp_path, dtype=plain.dtype).eval()
    assert get_masks(loaded) is None
    saved = loaded.state_dict()
    assert list(saved) == list(state)
    assert all(torch.equal(saved[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("beams", [1, 2])
def test_r4_generation_is_that_of_models_without_the_weights(
    plain: PreTrainedModel, batch: dict[str, torch.Tensor], masks: NeuronMasks, beams: int
) -> None:
    encodes = plain.config.is_encoder_decoder
    inputs = {name: value if encodes else value.flip(1) for name, value in batch.items() if "decoder" not in name}
    model = specialize(copy.deepcopy(plain), masks, packed="always")
    found, scores = generate(model, inputs, beams, tasks=MIXED)
    assert not close(scores, generate(plain, inputs, beams)[1])
    for name in TASKS:
        rows = [row for row, other in enumerate(MIXED) if other == name]
        expected, its_scores = generate(zero_out(plain, masks, name), inputs, beams)
        with task(model, name):
            in_context = generate(model, inputs, beams)
        for ids, values in ((found, scores), generate(model, inputs, beams, tasks=[name] * 4), in_context):
            assert torch.equal(ids[rows], expected[rows])
            assert close(values[rows], its_scores[rows])


def generate(
    model: PreTrainedModel, inputs: dict[str, torch.Tensor], beams: int, **tasks: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Four tokens for each row, and what they were chosen by: a number for each beam, or for each token and word."""
    output = model.generate(
        **{**inputs, **tasks},
        **{"num_beams": beams, "max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False},
        **{"return_dict_in_generate": True, "output_logits": True, "output_scores": True},
    )
    return output.sequences, output.sequences_scores if beams > 1 else torch.stack(output.logits, 1)


def test_gradient_checkpointing_changes_nothing(
    plain: PreTrainedModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    if not plain.supports_gradient_checkpointing:
        pytest.skip("transformers has none for this architecture")
    model = specialize(plain, masks, packed="always").train()

    def step(tasks: object) -> tuple[torch.Tensor, Gradients]:
        torch.manual_seed(0)  # dropout, where the architecture has some
        found = logits(model, batch, tasks)
        return found.detach(), gradients(model, loss(found))

    before = [step(tasks) for tasks in (MIXED, ["en-fr"] * 4)]
    for reentrant in (False, True):
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
        model.enable_input_require_grads()
        for (expected, wanted), tasks in zip(before, (MIXED, ["en-fr"] * 4), strict=True):
            found, sent = step(tasks)
            assert close(found, expected)
            assert all(close(sent[name], value) for name, value in wanted.items())


def test_r4_task_numbers_are_as_good_as_names(
    plain: PreTrainedModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(plain, masks)
    with torch.no_grad():
        expected = logits(model, batch, MIXED)
        assert torch.equal(logits(model, batch, torch.tensor([1, 0, 0, 1])), expected)
