"""Packing: when a batch of one task is computed with smaller matrices, and that they are never out of date."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

import neuronspec
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.packing import _MIN_TOKENS, Packed
from neuronspec.specialization.routing import dense, task, unspecialize

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]

TASKS = ("de-en", "en-fr")
WIDTHS = {"encoder.0": 512, "encoder.1": 512, "decoder.0": 640, "decoder.1": 640}
WIDE = {"encoder_ffn_dim": 512, "decoder_ffn_dim": 640}  # packed matrices are filled up to a multiple of 64
FEW = ((5, 4), (3, 6), (6, 2), (1, 1))  # 24 tokens a stack
MANY = ((_MIN_TOKENS // 4,) * 2,) * 4  # as many tokens as `auto` asks for
LONG, SHORT = _MIN_TOKENS // 4, _MIN_TOKENS // 4 - 1


def draw_masks(sparsity: float = 0.5, seed: int = 0) -> NeuronMasks:
    """Masks in which exactly this share of every layer is off."""
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for layer, width in WIDTHS.items():
        order = torch.rand(len(TASKS), width, generator=generator).argsort(1)
        values[layer] = order >= round(sparsity * width)
    return NeuronMasks(TASKS, values)


@pytest.fixture
def masks() -> NeuronMasks:
    return draw_masks()


@pytest.fixture
def batch(small_batch: SmallBatch) -> dict[str, torch.Tensor]:
    return small_batch()


def logits(model: PreTrainedModel, batch: dict[str, torch.Tensor], tasks: object = None) -> Any:
    options = {} if tasks is None else {"tasks": tasks}
    return model(**batch, **options).logits


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-9, atol=1e-9)


@contextmanager
def watch(model: PreTrainedModel) -> Iterator[dict[str, int]]:
    """Collect how many neurons each layer's first matrix puts out: fewer than d_ff where the layer is packed."""
    seen: dict[str, int] = {}
    handles = [
        layer.expansions[0].register_forward_hook(
            lambda module, arguments, output, name=layer.name: seen.update({name: output.shape[-1]})
        )
        for layer in find_ffn_layers(model)
    ]
    yield seen
    for handle in handles:
        handle.remove()


def packed_layers(model: PreTrainedModel, batch: dict[str, torch.Tensor], tasks: object = None) -> set[str]:
    with watch(model) as seen:
        logits(model, batch, tasks)
    assert seen.keys() == WIDTHS.keys()
    return {layer for layer, width in seen.items() if width < WIDTHS[layer]}


@pytest.mark.parametrize(
    ("lengths", "gradients", "expected"),
    [
        (FEW, True, set()),
        (FEW, False, set()),
        (MANY, True, set(WIDTHS)),
        (MANY, False, set(WIDTHS)),
        (((LONG, SHORT),) * 4, True, {"encoder.0", "encoder.1"}),
        (((SHORT, LONG),) * 4, True, {"decoder.0", "decoder.1"}),
    ],
)
def test_auto_packs_where_there_are_enough_tokens(
    small_model: SmallModel,
    small_batch: SmallBatch,
    masks: NeuronMasks,
    lengths: Any,
    gradients: bool,
    expected: set[str],
) -> None:
    model = specialize(small_model(**WIDE), masks)
    with torch.set_grad_enabled(gradients):
        assert packed_layers(model, small_batch(lengths), ["de-en"] * 4) == expected


def test_auto_packs_while_generating_however_few_the_tokens(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    """The matrices are gathered once and serve many forwards; weights that change afterwards change the next ones."""
    model = specialize(small_model(**WIDE), masks)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    options = {"max_new_tokens": 3, "num_beams": 2, "output_scores": True, "return_dict_in_generate": True}
    for change in (scale_parameters, scale_data, fused_step):
        reference = specialize(unspecialize(copy.deepcopy(model)), masks, packed="never")
        for tasks, packs in ((["de-en"] * 4, True), (["en-fr"] * 4, True), (["de-en", *["en-fr"] * 3], False)):
            with watch(model) as seen:
                found = model.generate(**inputs, **options, tasks=tasks)
            assert {layer for layer in seen if seen[layer] < WIDTHS[layer]} == (set(WIDTHS) if packs else set())
            expected = reference.generate(**inputs, **options, tasks=tasks)
            assert torch.equal(found.sequences, expected.sequences)
            assert close(found.sequences_scores, expected.sequences_scores)
        change(model)


@pytest.mark.parametrize(
    ("sparsity", "packs"), [(0.0, False), (0.05, False), (0.125, False), (0.25, True), (0.9, True), (1.0, True)]
)
def test_auto_packs_where_enough_neurons_are_off(
    small_model: SmallModel, small_batch: SmallBatch, sparsity: float, packs: bool
) -> None:
    masks = draw_masks(sparsity)
    model = specialize(small_model(**WIDE), masks)
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            found = packed_layers(model, small_batch(MANY), ["de-en"] * 4)
        assert found == (set(WIDTHS) if packs else set())


def test_auto_decides_by_the_sparsity_of_the_task_and_layer_at_hand(
    small_model: SmallModel, small_batch: SmallBatch, masks: NeuronMasks
) -> None:
    values = {layer: masks.layer(layer).clone() for layer in WIDTHS}
    values["encoder.1"][0] = True
    values["decoder.0"][1] = True
    model = specialize(small_model(**WIDE), NeuronMasks(TASKS, values))
    assert packed_layers(model, small_batch(MANY), ["de-en"] * 4) == set(WIDTHS) - {"encoder.1"}
    assert packed_layers(model, small_batch(MANY), ["en-fr"] * 4) == set(WIDTHS) - {"decoder.0"}


@pytest.mark.parametrize("packed", ["auto", "always"])
@pytest.mark.parametrize("gradients", [False, True])
def test_a_layer_that_someone_else_watches_is_not_packed(
    small_model: SmallModel, small_batch: SmallBatch, masks: NeuronMasks, packed: Packed, gradients: bool
) -> None:
    model = specialize(small_model(**WIDE), masks, packed=packed)
    batch = small_batch(MANY)
    expected = logits(model, batch, ["de-en"] * 4).detach()
    watched = find_ffn_layers(model)[1]
    seen: list[torch.Tensor] = []
    handle = watched.projection.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    with torch.set_grad_enabled(gradients):
        assert packed_layers(model, batch, ["de-en"] * 4) == set(WIDTHS) - {watched.name}
        assert close(logits(model, batch, ["de-en"] * 4), expected)
    off = ~masks.mask("de-en", watched.name)
    assert seen[0].shape[-1] == watched.width
    assert not seen[0][..., off].any()  # and it sees the masked neurons as zeros
    assert seen[0][..., ~off].any()
    handle.remove()
    assert packed_layers(model, batch, ["de-en"] * 4) == set(WIDTHS)


@pytest.mark.parametrize("kind", ["mt5", "llama"])
def test_a_gated_layer_whose_activation_someone_watches_is_not_packed(
    small_model: SmallModel, batch: dict[str, torch.Tensor], kind: str
) -> None:
    model = small_model(kind, **{"d_ff" if kind == "mt5" else "intermediate_size": 256})
    if kind == "llama":
        batch = {name: value for name, value in batch.items() if "decoder" not in name}
    layers = find_ffn_layers(model)
    specialize(
        model,
        NeuronMasks(TASKS, {layer.name: torch.arange(256).expand(2, 256) < 64 for layer in layers}),
        packed="always",
    )
    handles = []
    with torch.no_grad(), watch(model) as seen:
        logits(model, batch, ["de-en"] * 4)
        assert set(seen.values()) == {64}
        for layer in layers:
            assert layer.activation is not None
            handles.append(layer.activation.register_forward_hook(lambda module, arguments, output: None))
        logits(model, batch, ["de-en"] * 4)
        assert set(seen.values()) == {256}
        for handle in handles:
            handle.remove()
        logits(model, batch, ["de-en"] * 4)
        assert set(seen.values()) == {64}


@pytest.mark.parametrize("kept", [0, 1, 63, 64, 65, 128, 200, 256])
def test_filled_up_matrices_compute_and_train_the_masked_model(
    small_model: SmallModel, batch: dict[str, torch.Tensor], kept: int
) -> None:
    """Whatever fills up the width puts nothing out and gets no gradient."""
    plain = small_model("phi3", intermediate_size=256)
    batch = {name: value for name, value in batch.items() if "decoder" not in name}
    layers = find_ffn_layers(plain)
    order = torch.randperm(256, generator=torch.Generator().manual_seed(0))
    masks = NeuronMasks(["de-en"], {layer.name: (order < kept)[None] for layer in layers})
    found = []
    for packed in ("never", "always"):
        model = specialize(copy.deepcopy(plain), masks, packed=packed)
        with watch(model) as seen:
            output = logits(model, batch, ["de-en"] * 4)
        expected = {2 * 256} if packed == "never" else {2 * (-(-kept // 64) * 64)}  # gate and other matrix in one
        assert set(seen.values()) == expected
        output.logsumexp(-1).sum().backward()
        found.append((output, [parameter.grad for parameter in model.parameters()]))
    (masked, wanted), (output, sent) = found
    assert close(output, masked)
    for one, other in zip(sent, wanted, strict=True):
        assert one is not None
        assert other is not None
        assert close(one, other)
        assert torch.equal(one == 0, other == 0)


def test_recording_sees_all_neurons_of_a_packed_model(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    recorded = []
    for packed in ("never", "always"):
        model = specialize(small_model(**WIDE), masks, packed=packed)
        recorded.append(neuronspec.record_activations(model, [batch | {"tasks": ["de-en"] * 4}]))
    for layer in WIDTHS:
        assert torch.equal(*(torch.as_tensor(counts.values[layer]) for counts in recorded))


@pytest.mark.parametrize(
    ("tasks", "packs"),
    [
        (["de-en"] * 4, True),
        (("en-fr",) * 4, True),
        (torch.tensor([1, 1, 1, 1]), True),
        (torch.tensor([0, 0, 0, 0], dtype=torch.int32), True),
        (["de-en", "de-en", "de-en", "en-fr"], False),
        (torch.tensor([0, 1, 0, 0]), False),
    ],
)
def test_a_batch_of_one_task_is_recognised(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks, tasks: Any, packs: bool
) -> None:
    model = specialize(small_model(**WIDE), masks, packed="always")
    reference = specialize(small_model(**WIDE), masks, packed="never")
    assert packed_layers(model, batch, tasks) == (set(WIDTHS) if packs else set())
    assert close(logits(model, batch, tasks), logits(reference, batch, tasks))
    assert packed_layers(reference, batch, tasks) == set()


def test_task_packs_and_dense_and_mixed_batches_do_not(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    plain = small_model(**WIDE)
    model = specialize(copy.deepcopy(plain), masks, packed="always")
    expected = logits(specialize(copy.deepcopy(plain), masks, packed="never"), batch, ["en-fr"] * 4)
    with task(model, "en-fr"):
        assert packed_layers(model, batch) == set(WIDTHS)
        assert close(logits(model, batch), expected)
        with dense(model):
            assert packed_layers(model, batch) == set()
            assert torch.equal(logits(model, batch), logits(plain, batch))
        assert packed_layers(model, batch) == set(WIDTHS)
    with dense(model):
        assert packed_layers(model, batch, ["de-en"] * 4) == set()
    mixed = ["de-en", "en-fr", "en-fr", "en-fr"]
    assert packed_layers(model, batch, ["en-fr"] * 4) == set(WIDTHS)
    assert packed_layers(model, batch, mixed) == set()  # nothing of the batch before is left


def test_released_masks_are_never_packed(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(**WIDE), masks, packed="always", released=True)
    assert packed_layers(model, batch, ["de-en"] * 4) == set()


def test_tasks_that_do_not_fit_are_refused_in_packed_batches_too(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(**WIDE), masks, packed="always")
    for wrong in (1, 3, 5, 8):
        with pytest.raises(neuronspec.NeuronspecError, match=f"{wrong} tasks were given for 4 rows"):
            logits(model, batch, ["de-en"] * wrong)
    reference = specialize(small_model(**WIDE), masks, packed="never")
    expected = logits(reference, batch, ["en-fr"] * 4)
    assert close(logits(model, batch, ["en-fr"] * 4), expected)


def test_an_unknown_policy_is_refused(small_model: SmallModel, masks: NeuronMasks) -> None:
    with pytest.raises(neuronspec.NeuronspecError, match="alwyas"):
        specialize(small_model(**WIDE), masks, packed="alwyas")  # type: ignore[arg-type]


Change = Callable[[PreTrainedModel], None]


def scale_parameters(model: PreTrainedModel) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.25)


def scale_data(model: PreTrainedModel) -> None:
    for parameter in model.parameters():
        parameter.data.mul_(1.25)


def replace_data(model: PreTrainedModel) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data * 1.25


def load_scaled(model: PreTrainedModel, *, assign: bool) -> None:
    state = {name: 1.25 * tensor for name, tensor in model.state_dict().items()}
    model.load_state_dict(state, assign=assign)


def step(model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
    for parameter in model.parameters():
        parameter.grad = parameter.detach().clone()
    optimizer.step()
    optimizer.zero_grad()


def fused_step(model: PreTrainedModel) -> None:
    step(model, torch.optim.AdamW(model.parameters(), lr=0.1, fused=True))


CHANGES: dict[str, Change] = {
    "parameters": scale_parameters,
    "the data of parameters": scale_data,
    "other data": replace_data,
    "load_state_dict": lambda model: load_scaled(model, assign=False),
    "load_state_dict(assign=True)": lambda model: load_scaled(model, assign=True),
    "SGD": lambda model: step(model, torch.optim.SGD(model.parameters(), lr=0.1)),
    "AdamW": lambda model: step(model, torch.optim.AdamW(model.parameters(), lr=0.1)),
    "AdamW(foreach)": lambda model: step(model, torch.optim.AdamW(model.parameters(), lr=0.1, foreach=True)),
    "AdamW(fused)": fused_step,
    "SGD(fused)": lambda model: step(model, torch.optim.SGD(model.parameters(), lr=0.1, fused=True)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("architecture", ["m2m_100", "gpt2"])
def test_kept_matrices_follow_the_weights(
    small_model: SmallModel, batch: dict[str, torch.Tensor], architecture: str, change: str
) -> None:
    """Evaluate, change the weights, evaluate: as a model that is specialised anew."""
    model = small_model(architecture, **(WIDE if architecture == "m2m_100" else {"n_inner": 512}))
    if not model.config.is_encoder_decoder:
        batch = {name: value for name, value in batch.items() if "decoder" not in name}
    widths = {layer.name: layer.width for layer in find_ffn_layers(model)}
    generator = torch.Generator().manual_seed(0)
    masks = NeuronMasks(TASKS, {name: torch.rand(2, n, generator=generator) > 0.5 for name, n in widths.items()})
    specialize(model, masks, packed="always")
    with torch.no_grad():
        before = logits(model, batch, ["de-en"] * 4)
        assert torch.equal(logits(model, batch, ["de-en"] * 4), before)
        for _ in range(2):
            CHANGES[change](model)
            fresh = specialize(unspecialize(copy.deepcopy(model)), masks, packed="never")
            assert close(logits(model, batch, ["de-en"] * 4), logits(fresh, batch, ["de-en"] * 4))
    assert not close(logits(model, batch, ["de-en"] * 4), before)


def test_kept_matrices_follow_the_task(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(**WIDE), masks, packed="always")
    reference = specialize(small_model(**WIDE), masks, packed="never")
    with torch.no_grad():
        for name in ("de-en", "en-fr", "de-en", "de-en", "en-fr"):
            assert close(logits(model, batch, [name] * 4), logits(reference, batch, [name] * 4))
            with task(model, TASKS[0]):
                assert close(logits(model, batch), logits(reference, batch, [TASKS[0]] * 4))


def test_kept_matrices_follow_the_type_and_inference_mode(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(**WIDE), masks, packed="always")
    with torch.inference_mode():
        double = logits(model, batch, ["de-en"] * 4).clone()
    with torch.no_grad():
        assert torch.equal(logits(model, batch, ["de-en"] * 4), double)
        for kind in (torch.float32, torch.bfloat16, torch.float64):
            found = logits(model.to(kind), batch, ["de-en"] * 4)
            reference = specialize(unspecialize(copy.deepcopy(model)), masks, packed="never")
            assert found.dtype == kind
            tolerance = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float64: 1e-9}[kind]
            assert torch.allclose(found, logits(reference, batch, ["de-en"] * 4), atol=tolerance, rtol=tolerance)
    found = logits(model, batch, ["de-en"] * 4)
    assert close(found, logits(reference, batch, ["de-en"] * 4))
    found.sum().backward()  # what inference mode has kept is not used with gradients


def test_with_gradients_nothing_is_kept(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    """Matrices of an evaluation would cut the gradient off; those of a training step would hold its freed graph."""
    model = specialize(small_model(**WIDE), masks, packed="always")
    reference = specialize(small_model(**WIDE), masks, packed="never")
    with torch.no_grad():
        logits(model, batch, ["de-en"] * 4)
    logits(reference, batch, ["de-en"] * 4).logsumexp(-1).sum().backward()
    for _ in range(3):
        model.zero_grad()
        logits(model, batch, ["de-en"] * 4).logsumexp(-1).sum().backward()
        for one, other in zip(model.parameters(), reference.parameters(), strict=True):
            assert one.grad is not None
            assert other.grad is not None
            assert close(one.grad, other.grad)
        with torch.no_grad():
            found = logits(model, batch, ["de-en"] * 4)
        assert not found.requires_grad


def test_frozen_weights_are_packed_for_what_is_trained_around_them(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    sent = []
    for packed in ("never", "always"):
        model = specialize(small_model(**WIDE), masks, packed=packed)
        for layer in find_ffn_layers(model):
            for matrix in (*layer.expansions, layer.projection):
                matrix.requires_grad_(False)
        logits(model, batch, ["de-en"] * 4).logsumexp(-1).sum().backward()
        sent.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in sent[0].items():
        other = sent[1][name]
        assert (gradient is None) == (other is None)
        assert gradient is None or (other is not None and close(gradient, other)), name


def test_a_copy_of_a_packed_model_is_packed_with_its_own_weights(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(**WIDE), masks, packed="always")
    with torch.no_grad():
        expected = logits(model, batch, ["de-en"] * 4)
        copied = copy.deepcopy(model)
        scale_parameters(model)
        assert packed_layers(copied, batch, ["de-en"] * 4) == set(WIDTHS)
        assert torch.equal(logits(copied, batch, ["de-en"] * 4), expected)
        scaled = logits(model, batch, ["de-en"] * 4)
        assert not close(scaled, expected)
        scale_data(copied)  # writes past the version counter, on purpose after the copy was made
        del copied
        assert torch.equal(logits(model, batch, ["de-en"] * 4), scaled)


def test_another_library_s_forward_stays_below_and_comes_back(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = small_model(**WIDE)
    matrix: Any = find_ffn_layers(model)[0].expansions[0]
    calls: list[int] = []
    before = matrix.forward

    def counted(states: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        found: torch.Tensor = before(states)
        return found

    matrix.forward = counted
    specialize(model, masks, packed="always")
    with dense(model):
        logits(model, batch)
    assert len(calls) == 1
    unspecialize(model)
    assert matrix.forward is counted


def test_a_forward_that_another_library_puts_on_top_survives(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    """As accelerate's hooks do, which offload and cast."""
    from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module

    model = small_model(**WIDE)
    expected, keys = logits(model, batch).detach(), list(model.state_dict())
    specialize(model, masks, packed="always")
    packed = logits(model, batch, ["de-en"] * 4).detach()
    matrix = find_ffn_layers(model)[0].expansions[0]
    add_hook_to_module(matrix, ModelHook())
    assert close(logits(model, batch, ["de-en"] * 4), packed)
    unspecialize(model)
    assert list(model.state_dict()) == keys
    assert close(logits(model, batch), expected)
    remove_hook_from_module(matrix)  # puts back the forward that it found
    assert close(logits(model, batch), expected)
