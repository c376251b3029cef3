"""Masks of single weights: every row is computed with its task's weights, and nothing else changes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tests.raw_files import write_raw
from tests.specialization.outputs import generate, logits, trimmed
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from neuronspec.errors import NeuronspecError
from neuronspec.methods.lass import masks as weight_masks
from neuronspec.methods.lass import model as weight_routing
from neuronspec.methods.lass.masks import WEIGHT_MASKS_FILE, WeightMasks, keep_largest
from neuronspec.methods.lass.model import load_weight_masks, mask_weights
from neuronspec.methods.layer_matrices import SUBLAYERS, find_layer_matrices
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.specialization.routing import assign_tasks, dense, find_router, task, unspecialize

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]

TASKS = ("de-en", "en-fr", "sv-de")
MIXED = ["en-fr", "de-en", "sv-de", "en-fr"]  # the tasks of the four rows of `small_batch`
TRANSLATORS = ("m2m_100", "mbart", "bart", "marian", "pegasus", "fsmt", "t5", "mt5")

pytestmark = pytest.mark.filterwarnings("ignore:this version of transformers sends the tokens of NLLB-MoE")


@pytest.fixture(params=TRANSLATORS)
def translator(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def batch(small_batch: SmallBatch) -> dict[str, torch.Tensor]:
    return small_batch()


def draw_masks(model: PreTrainedModel, parts: Any = SUBLAYERS, tasks: tuple[str, ...] = TASKS) -> WeightMasks:
    """Masks that differ from task to task: of the model with noise on its weights."""
    drawn = []
    for number, name in enumerate(tasks):
        torch.manual_seed(number)
        noisy = copy.deepcopy(unspecialize(model))
        with torch.no_grad():
            for parameter in noisy.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
        drawn.append(WeightMasks.from_model(noisy, name, 0.7, parts))
    return WeightMasks.concatenate(drawn)


def zero_out(model: PreTrainedModel, masks: WeightMasks, encoder: str, decoder: str | None = None) -> PreTrainedModel:
    """A plain copy whose pruned weights are zero."""
    zeroed = copy.deepcopy(model)
    with torch.no_grad():
        for name in masks.shapes:
            owner = encoder if "encoder." in name.partition("encoder_attn")[0] else decoder or encoder
            zeroed.base_model.get_submodule(name).get_parameter("weight")[~masks.mask(owner, name)] = 0
    return zeroed


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    tolerance = 1e-11 if one.dtype == torch.float64 else 1e-4
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance)


# Pruning


def keep_naively(weight: np.ndarray[Any, np.dtype[np.float32]], pruned: float) -> list[bool]:
    """By sorting; what equals the threshold goes."""
    magnitudes = sorted(abs(float(value)) for value in weight.flatten())
    k = int(pruned * len(magnitudes))
    return [k == 0 or abs(float(value)) > magnitudes[k - 1] for value in weight.flatten()]


@settings(max_examples=60)
@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=40),
    st.sampled_from([0.0, 0.01, 0.3, 0.5, 0.7, 0.99, 1.0]),
)
def test_the_smallest_magnitudes_go_and_what_equals_the_threshold(values: list[int], pruned: float) -> None:
    weight = torch.tensor(values, dtype=torch.float32)[None]
    assert keep_largest(weight, pruned)[0].tolist() == keep_naively(weight.numpy(), pruned)


def test_nothing_and_everything_can_be_pruned() -> None:
    weight = torch.randn(5, 7)
    assert keep_largest(weight, 0).all()
    assert keep_largest(weight, 0.02).all()  # k = int(0.7) = 0
    assert not keep_largest(weight, 1).any()
    assert int(keep_largest(weight, 0.7).sum()) == 35 - 24
    assert not keep_largest(torch.ones(4, 4), 0.1).any()  # all are equal to the threshold


def test_each_matrix_is_pruned_by_itself(small_model: SmallModel) -> None:
    model = small_model()
    masks = WeightMasks.from_model(model, "de-en", 0.7)
    for name, place in find_layer_matrices(model).items():
        assert torch.equal(masks.mask("de-en", name), keep_largest(place.matrix.weight, 0.7))
        assert masks.bits[name].numel() == -(-place.matrix.weight.numel() // 8)


# Which matrices


def test_matrices_are_those_of_attention_and_ffn_in_the_layers(small_model: SmallModel) -> None:
    model = small_model()
    attention, ffn, both = (set(find_layer_matrices(model, parts)) for parts in (("attention",), ("ffn",), SUBLAYERS))
    assert attention | ffn == both
    assert not attention & ffn
    for name in both:
        assert name.rpartition(".")[2] in {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"}
        assert (name.rpartition(".")[2] in {"fc1", "fc2"}) == (name in ffn)
    # 2 layers a stack: 4 matrices of self-attention, 4 of cross-attention, 2 of the FFN
    assert (len(attention), len(ffn)) == (2 * 4 + 2 * 8, 2 * 2 + 2 * 2)
    cross = [place.stack for name, place in find_layer_matrices(model).items() if "encoder_attn" in name]
    assert cross == ["decoder"] * 8


def test_in_every_architecture_all_matrices_of_the_layers_are_found_or_it_is_refused(
    any_architecture: str, small_model: SmallModel
) -> None:
    model = small_model(any_architecture)
    refused = {"nllb-moe": "has experts", "falcon": "is a FalconLinear: only plain matrices"}
    if any_architecture in refused:
        with pytest.raises(NeuronspecError, match=refused[any_architecture]):
            find_layer_matrices(model)
        return
    found = {place.matrix for place in find_layer_matrices(model).values()}
    inside = {module for layer in find_ffn_layers(model) for module in layer.block.modules()}
    assert found == {module for module in inside if isinstance(module, torch.nn.Linear | Conv1D)}
    head = model.get_output_embeddings()
    assert head not in found


def test_a_matrix_that_its_parent_computes_is_refused(small_model: SmallModel) -> None:
    model = small_model()
    layer = model.base_model.encoder.layers[0]
    layer.extra = torch.nn.MultiheadAttention(16, 2)
    with pytest.raises(NeuronspecError, match=r"encoder\.layers\.0\.extra\.out_proj is a NonDynamically.*only plain"):
        find_layer_matrices(model)


def test_parameters_of_mt_big_take_a_bit_each() -> None:
    per_layer = {"encoder": 4 * 1024**2 + 2 * 1024 * 4096, "decoder": 8 * 1024**2 + 2 * 1024 * 4096}
    assert 6 * sum(per_layer.values()) * 60 / 8 == 176_160_768 * 60 / 8


# Computing


def test_r4_every_row_is_computed_with_its_tasks_weights(
    translator: str, small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    plain = small_model(translator)
    masks = draw_masks(plain)
    model = copy.deepcopy(plain)
    mask_weights(model, masks)
    real = batch["decoder_attention_mask"].bool()
    with torch.no_grad():
        mixed = model(**batch, tasks=MIXED).logits
        by_number = model(**batch, tasks=torch.tensor([TASKS.index(name) for name in MIXED])).logits
    assert torch.equal(mixed, by_number)
    for row, name in enumerate(MIXED):
        expected = logits(zero_out(plain, masks, name), batch)
        assert close(logits(model, batch, tasks=[name] * 4), expected)  # the batch of one task
        with torch.no_grad():
            alone = model(**batch, tasks=[name] * 4).logits
        assert close(mixed[row][real[row]], alone[row][real[row]])
        assert not close(expected, logits(plain, batch))
    assert not close(mixed[0][real[0]], mixed.new_zeros(()) + logits(plain, batch)[: int(real[0].sum())])


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gpt_neox"])
def test_decoders_alone_are_masked_too(
    architecture: str, small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    plain = small_model(architecture)
    masks = draw_masks(plain)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    real = inputs["attention_mask"].bool()
    model = copy.deepcopy(plain)
    mask_weights(model, masks)
    with torch.no_grad():
        mixed = model(**inputs, tasks=MIXED).logits
        for row, name in enumerate(MIXED):
            expected = zero_out(plain, masks, name)(**inputs).logits[row][real[row]]
            assert close(mixed[row][real[row]], expected)
    gradients = gradients_of(model, inputs, MIXED)
    naive = [gradients_of(zero_out(plain, masks, name), inputs, None, [row]) for row, name in enumerate(MIXED)]
    check_gradients(masks, gradients, naive)


def gradients_of(
    model: PreTrainedModel, inputs: dict[str, torch.Tensor], tasks: Any, rows: list[int] | None = None
) -> dict[str, torch.Tensor]:
    """The gradient of a sum over the logits of some rows, by the names of the base model's parameters."""
    model.zero_grad()
    options = {} if tasks is None else {"tasks": tasks}
    real = inputs.get("decoder_attention_mask", inputs["attention_mask"])
    found = model(**inputs, use_cache=False, **options).logits
    weights = torch.linspace(-1, 1, found.shape[-1], dtype=found.dtype)
    sums = (found.tanh() * weights * real[..., None]).sum((1, 2))
    sums[rows or slice(None)].sum().backward()
    named = {name: parameter.grad for name, parameter in model.base_model.named_parameters()}
    return {name: gradient.clone() for name, gradient in named.items() if gradient is not None}


def check_gradients(masks: WeightMasks, found: dict[str, torch.Tensor], naive: list[dict[str, torch.Tensor]]) -> None:
    """Compare with the sum over rows of what models without the pruned weights get, masked."""
    for name, gradient in found.items():
        expected = torch.zeros_like(gradient)
        for row, alone in enumerate(naive):
            matrix = name.removesuffix(".weight")
            on = masks.mask(MIXED[row], matrix) if matrix in masks.shapes else torch.ones(())
            expected += alone.get(name, torch.zeros_like(gradient)) * on
        assert close(gradient, expected), name
        if (matrix := name.removesuffix(".weight")) in masks.shapes:
            kept_by_any = torch.stack([masks.mask(task, matrix) for task in set(MIXED)]).any(0)
            assert not gradient[~kept_by_any].any()
            assert gradient[kept_by_any].any() or "k_proj" in name or ".k." in name


def test_r9_gradients_are_zero_where_masked_and_else_as_with_zeroed_weights(
    translator: str, small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    plain = small_model(translator)
    masks = draw_masks(plain)
    model = copy.deepcopy(plain)
    mask_weights(model, masks)
    naive = [gradients_of(zero_out(plain, masks, name), batch, None, [row]) for row, name in enumerate(MIXED)]
    check_gradients(masks, gradients_of(model, batch, MIXED), naive)
    for name in TASKS:
        one_task = gradients_of(model, batch, [name] * 4)
        expected = gradients_of(zero_out(plain, masks, name), batch, None)
        for matrix in masks.shapes:
            on = masks.mask(name, matrix)
            assert not one_task[f"{matrix}.weight"][~on].any()
            assert close(one_task[f"{matrix}.weight"][on], expected[f"{matrix}.weight"][on])


@pytest.mark.parametrize("architecture", ["m2m_100", "t5"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_nothing(
    architecture: str, reentrant: bool, small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    chance = {"attention_dropout": 0.0, "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0}
    model = small_model(architecture, **chance)
    mask_weights(model, draw_masks(model))
    model.train()

    def gradients() -> dict[str, torch.Tensor]:
        """Of batches of other tasks, added up before the backward pass, which computes each layer once more."""
        model.zero_grad()
        mixes = (["de-en"] * 4, MIXED, ["sv-de"] * 4)
        found = [model(**batch, use_cache=False, tasks=tasks).logits.logsumexp(-1).sum() for tasks in mixes]
        torch.stack(found).sum().backward()  # type: ignore[no-untyped-call]
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    expected = gradients()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    if reentrant:
        model.enable_input_require_grads()
    found = gradients()
    assert all(close(expected[name], found[name]) for name in expected)


def test_a_numerical_derivative_is_the_gradient(small_model: SmallModel) -> None:
    torch.manual_seed(0)
    for turned in (False, True):
        weight = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
        states = torch.randn(2, 4, 3 if turned else 5, dtype=torch.float64, requires_grad=True)
        bias = torch.randn(5 if turned else 3, dtype=torch.float64, requires_grad=True)
        bits = torch.from_numpy(np.packbits(np.random.default_rng(0).random(15) < 0.5))
        for given_bias in (bias, None):
            inputs: Any = (states, weight, given_bias, bits, turned)
            assert torch.autograd.gradcheck(weight_routing._MaskedLinear.apply, inputs)


def test_in_bfloat16_the_masked_weight_is_rounded_as_a_plain_one(
    small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    plain = small_model().float()
    masks = draw_masks(plain)
    model = copy.deepcopy(plain)
    mask_weights(model, masks)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients_of(model, batch, ["de-en"] * 4)
        expected = gradients_of(zero_out(plain, masks, "de-en"), batch, None)
        assert torch.equal(logits(model, batch, tasks=["de-en"] * 4), logits(zero_out(plain, masks, "de-en"), batch))
    for matrix in masks.shapes:
        on = masks.mask("de-en", matrix)
        gradient = found[f"{matrix}.weight"]
        assert not gradient[~on].any()
        assert gradient.dtype == torch.float32
        torch.testing.assert_close(gradient[on], expected[f"{matrix}.weight"][on], rtol=0.05, atol=0.05)


def test_pieces_of_a_model_are_computed_with_assigned_tasks(
    small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    model = small_model()
    mask_weights(model, draw_masks(model))
    expected = logits(model, batch, tasks=MIXED)
    assign_tasks(model, MIXED)
    with torch.no_grad():
        hidden = model.base_model(**batch, use_cache=False)[0]
        found = model.get_output_embeddings()(hidden)[batch["decoder_attention_mask"].bool()]
    assert close(found, expected)


@pytest.mark.parametrize("parts", [("attention",), ("ffn",)])
def test_only_the_parts_that_were_asked_for_are_masked(
    parts: Any, small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    plain = small_model()
    masks = draw_masks(plain, parts)
    assert {name.rpartition(".")[2] in ("fc1", "fc2") for name in masks.shapes} == {parts == ("ffn",)}
    model = copy.deepcopy(plain)
    mask_weights(model, masks)
    assert close(logits(model, batch, tasks=["de-en"] * 4), logits(zero_out(plain, masks, "de-en"), batch))


# Generation


@pytest.mark.parametrize("beams", [1, 3])
def test_r4_generation_is_that_of_models_without_the_weights(
    translator: str, small_model: SmallModel, batch: dict[str, torch.Tensor], beams: int
) -> None:
    plain = small_model(translator)
    masks = draw_masks(plain)
    model = copy.deepcopy(plain)
    mask_weights(model, masks)
    found = generate(model, batch, tasks=MIXED, num_beams=beams)
    for row, name in enumerate(MIXED):
        expected = generate(zero_out(plain, masks, name), batch, num_beams=beams)
        assert trimmed(found[row]) == trimmed(expected[row])
        assert [*map(trimmed, generate(model, batch, tasks=[name] * 4, num_beams=beams))] == [*map(trimmed, expected)]


@pytest.mark.parametrize("most", [0, 1, 4])
def test_masked_weights_are_kept_while_generating_and_not_longer(
    most: int, small_model: SmallModel, batch: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model()
    router = mask_weights(model, draw_masks(model))
    monkeypatch.setattr(weight_routing, "_CACHED_TASKS", 4)
    expected = generate(model, batch, tasks=MIXED, num_beams=2)
    monkeypatch.setattr(weight_routing, "_CACHED_TASKS", most)
    made: list[int] = []
    original = weight_masks.unpack

    def count(bits: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        made.append(1)
        return original(bits, shape)

    monkeypatch.setattr(weight_routing, "unpack", count)
    assert generate(model, batch, tasks=MIXED, num_beams=2) == expected
    least = 3 * len(router.masks.shapes)
    assert len(made) == least if most == 4 else len(made) > least
    assert not router._cached
    with torch.no_grad():  # the weights change: what was kept would be wrong
        for parameter in model.parameters():
            parameter.mul_(0.5)
    changed = generate(model, batch, tasks=MIXED)
    fresh = copy.deepcopy(unspecialize(model))
    mask_weights(fresh, router.masks)
    assert changed == generate(fresh, batch, tasks=MIXED)


# Zero-shot, dense, taking off


def test_an_unseen_direction_takes_the_encoder_of_one_task_and_the_decoder_of_another(
    small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    for architecture in ("m2m_100", "t5"):
        plain = small_model(architecture)
        masks = draw_masks(plain)
        model = copy.deepcopy(plain)
        router = mask_weights(model, masks)
        router.add_zero_shot(["de-fr"], "en")
        expected = zero_out(plain, masks, "de-en", "en-fr")
        assert close(logits(model, batch, tasks=["de-fr"] * 4), logits(expected, batch))
        assert generate(model, batch, tasks=["de-fr"] * 4, num_beams=2) == generate(expected, batch, num_beams=2)
        mixed = ["de-fr", "de-en", "de-fr", "en-fr"]
        with torch.no_grad():
            row = model(**batch, tasks=mixed).logits[2][:2]
            assert close(row, expected(**batch).logits[2][:2])
        with pytest.raises(NeuronspecError, match="nothing for the task 'fr-en'"):
            router.add_zero_shot(["fr-de"], "en")


def test_dense_and_unspecialized_are_bit_identical_to_before(
    translator: str, small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    plain = small_model(translator)
    model = copy.deepcopy(plain)
    keys = list(model.state_dict())
    before = [set(module.__dict__) for module in model.modules()]
    mask_weights(model, draw_masks(plain))
    assert list(model.state_dict()) == keys
    assert len(list(model.modules())) == len(list(plain.modules()))
    with dense(model):
        assert torch.equal(logits(model, batch), logits(plain, batch))
        assert generate(model, batch, num_beams=2) == generate(plain, batch, num_beams=2)
    with task(model, "en-fr"):
        assert torch.equal(logits(model, batch), logits(model, batch, tasks=["en-fr"] * 4))
    assert unspecialize(model) is model
    assert torch.equal(logits(model, batch), logits(plain, batch))
    assert generate(model, batch) == generate(plain, batch)
    assert find_router(model) is None
    assert [set(module.__dict__) for module in model.modules()] == before


def test_new_masks_replace_the_old_and_a_copy_stands_by_itself(
    small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    plain = small_model()
    masks = draw_masks(plain)
    model = copy.deepcopy(plain)
    mask_weights(model, masks.reorder(TASKS[:2]))
    mask_weights(model, masks)
    expected = logits(model, batch, tasks=MIXED)
    twin = copy.deepcopy(model)
    unspecialize(model)
    assert torch.equal(logits(twin, batch, tasks=MIXED), expected)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(logits(model, batch), logits(plain, batch))


def test_a_forward_that_another_library_put_there_is_kept(
    small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    model = small_model()
    matrix = next(iter(find_layer_matrices(model).values())).matrix
    mine = matrix.forward
    matrix.forward = mine  # type: ignore[method-assign]
    mask_weights(model, draw_masks(model))
    assert matrix.forward is not mine
    unspecialize(model)
    assert matrix.__dict__["forward"] is mine
    mask_weights(model, draw_masks(model))
    below = matrix.forward
    on_top = lambda states: below(states)  # noqa: E731
    matrix.forward = on_top  # type: ignore[method-assign]
    unspecialize(model)
    assert matrix.__dict__["forward"] is on_top
    logits(model, batch)  # which goes through ours, switched off


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (None, "needs to know the task of every row"),
        (["de-en"] * 3, "3 tasks were given for 4 rows"),
        (["de-em"] * 4, r"nothing for the task 'de-em' \(did you mean 'de-en'"),
    ],
)
def test_tasks_that_do_not_fit_the_batch_are_refused(
    small_model: SmallModel, batch: dict[str, torch.Tensor], tasks: Any, message: str
) -> None:
    model = small_model()
    mask_weights(model, draw_masks(model))
    for run in (logits, generate):
        with pytest.raises(NeuronspecError, match=message):
            run(model, batch, tasks=tasks)


# Files


def test_saved_masks_are_the_same_and_take_a_bit_a_weight(
    small_model: SmallModel, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    model = small_model()
    masks = draw_masks(model)
    masks.save(tmp_path / WEIGHT_MASKS_FILE)
    loaded = WeightMasks.load(tmp_path / WEIGHT_MASKS_FILE)
    assert (loaded.tasks, loaded.shapes, loaded.pruned, loaded.parts) == (TASKS, masks.shapes, 0.7, SUBLAYERS)
    assert all(torch.equal(loaded.bits[name], masks.bits[name]) for name in masks.bits)
    weights = sum(place.matrix.weight.numel() for place in find_layer_matrices(model).values())
    header = (tmp_path / WEIGHT_MASKS_FILE).stat().st_size - weights * len(TASKS) / 8
    assert 0 < header < 200 * len(masks.shapes)
    expected = copy.deepcopy(model)
    mask_weights(expected, masks)
    router = load_weight_masks(model, tmp_path)
    assert router.tasks == TASKS
    assert torch.equal(logits(model, batch, tasks=MIXED), logits(expected, batch, tasks=MIXED))


def test_masks_are_taken_in_another_order_or_refused(small_model: SmallModel) -> None:
    masks = draw_masks(small_model())
    assert masks.reorder(TASKS) is masks
    turned = masks.reorder(["sv-de", "de-en"])
    assert turned.tasks == ("sv-de", "de-en")
    for name in masks.shapes:
        assert torch.equal(turned.mask("sv-de", name), masks.mask("sv-de", name))
    with pytest.raises(NeuronspecError, match="no weight masks for the task 'fr-en'; there are: de-en, en-fr, sv-de"):
        masks.reorder(["de-en", "fr-en"])


def test_masks_of_another_model_are_refused(small_model: SmallModel) -> None:
    masks = draw_masks(small_model())
    with pytest.raises(NeuronspecError, match=r"fc1 has the shape \(24, 16\) there, \(32, 16\) in this model"):
        mask_weights(small_model(encoder_ffn_dim=32), masks)
    with pytest.raises(NeuronspecError, match=r"layer.0.SelfAttention.q has the shape of nothing there"):
        mask_weights(small_model("t5"), masks)
    fewer = replace(masks, parts=("ffn",))
    with pytest.raises(NeuronspecError, match=r"k_proj has the shape \(16, 16\) there, of nothing in this model"):
        mask_weights(small_model(), fewer)


def damages() -> dict[str, Callable[[dict[str, Any], dict[str, torch.Tensor]], object]]:
    def shape_of_first(about: dict[str, Any], shape: Any) -> None:
        about["shapes"][min(about["shapes"])] = shape

    return {
        "no tasks": lambda about, bits: about.pop("tasks"),
        "tasks as text": lambda about, bits: about.update(tasks="de-en"),
        "one task less": lambda about, bits: about["tasks"].pop(),
        "a task twice": lambda about, bits: about.update(tasks=["de-en"] * 3),
        "a part unknown": lambda about, bits: about.update(parts=["embeddings"]),
        "a part no name": lambda about, bits: about.update(parts=[["ffn"]]),
        "a share of 2": lambda about, bits: about.update(pruned=2),
        "a share as text": lambda about, bits: about.update(pruned="much"),
        "shapes as list": lambda about, bits: about.update(shapes=[]),
        "another matrix": lambda about, bits: about["shapes"].update(other=[2, 2]),
        "a matrix less": lambda about, bits: bits.pop(min(bits)),
        "a wrong shape": lambda about, bits: shape_of_first(about, [16, 99]),
        "a shape of text": lambda about, bits: shape_of_first(about, ["a", "b"]),
        "a shape of one": lambda about, bits: shape_of_first(about, [256]),
        "a negative shape": lambda about, bits: shape_of_first(about, [-16, -16]),
        "bits of floats": lambda about, bits: bits.update({min(bits): bits[min(bits)].float()}),
        "bits cut": lambda about, bits: bits.update({min(bits): bits[min(bits)][:, 1:].contiguous()}),
    }


@pytest.mark.parametrize("how", damages())
def test_r7_mangled_files_are_refused(how: str, small_model: SmallModel, tmp_path: Path) -> None:
    path = tmp_path / WEIGHT_MASKS_FILE
    masks = draw_masks(small_model())
    about: dict[str, Any] = {
        "tasks": list(masks.tasks),
        "shapes": {name: list(shape) for name, shape in masks.shapes.items()},
        "pruned": 0.7,
        "parts": list(SUBLAYERS),
    }
    bits = dict(masks.bits)
    write_raw(path, bits, about)
    WeightMasks.load(path)
    damages()[how](about, bits)
    write_raw(path, bits, json.loads(json.dumps(about)))
    with pytest.raises(NeuronspecError, match=str(tmp_path)):
        WeightMasks.load(path)


def test_r7_files_that_are_cut_foreign_or_missing_are_refused(small_model: SmallModel, tmp_path: Path) -> None:
    path = tmp_path / WEIGHT_MASKS_FILE
    with pytest.raises(NeuronspecError, match=f"{WEIGHT_MASKS_FILE} does not exist: expected weight masks"):
        load_weight_masks(small_model(), tmp_path)
    draw_masks(small_model()).save(path)
    whole = path.read_bytes()
    save_file(load_file(path), path)  # without what it is about
    with pytest.raises(NeuronspecError, match="cannot read"):
        WeightMasks.load(path)
    for size in (0, 7, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(NeuronspecError, match="cannot read"):
            WeightMasks.load(path)
