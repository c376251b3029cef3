"""Steering against hooks that are written by hand: the same numbers, bit by bit, and afterwards the same model."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from tests.specialization.outputs import generate
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import neuronspec as ns
from neuronspec.errors import NeuronspecError
from neuronspec.methods.adapters.model import Adapters, AdapterSettings
from neuronspec.models.building import build_model
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.routing import dense, task, unspecialize
from neuronspec.specialization.steered_model import refuse_steered
from neuronspec.specialization.steering import Steering, steer

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]
Change = Callable[[torch.Tensor], torch.Tensor]

TASKS = ("de-en", "en-fr")
MIXED = ["en-fr", "de-en", "de-en", "en-fr"]  # the tasks of the four rows of `small_batch`
CHOSEN = [1, 5, 17]

pytestmark = pytest.mark.filterwarnings("ignore:this version of transformers sends the tokens of NLLB-MoE")


@pytest.fixture
def batch(small_batch: SmallBatch) -> dict[str, torch.Tensor]:
    return small_batch()


def draw_masks(model: PreTrainedModel) -> NeuronMasks:
    generator = torch.Generator().manual_seed(0)
    widths = {layer.name: layer.width for layer in find_ffn_layers(model)}
    return NeuronMasks(TASKS, {name: torch.rand(2, width, generator=generator) > 0.4 for name, width in widths.items()})


def inputs_of(model: PreTrainedModel, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    encodes = model.config.is_encoder_decoder
    return {name: value for name, value in batch.items() if encodes or not name.startswith("decoder_")}


@torch.no_grad()
def logits(model: PreTrainedModel, batch: Mapping[str, torch.Tensor], **options: Any) -> torch.Tensor:
    found: torch.Tensor = model(**inputs_of(model, batch), use_cache=False, **options).logits
    return found


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether tensors have the same bits; NaN where one is padding equals NaN."""
    return torch.equal(one.nan_to_num(7), other.nan_to_num(7))


@contextlib.contextmanager
def by_hand(model: PreTrainedModel, changes: Mapping[str, Change]) -> Iterator[None]:
    """Hooks on second matrices, each of which changes the neurons before it."""
    matrices = {layer.name: layer.projection for layer in find_ffn_layers(model)}

    def hook(change: Change, module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (change(arguments[0]), *arguments[1:])

    handles = [
        matrices[name].register_forward_pre_hook(functools.partial(hook, change)) for name, change in changes.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def scaled(factor: float, chosen: list[int] = CHOSEN) -> Change:
    def change(neurons: torch.Tensor) -> torch.Tensor:
        changed = neurons.clone()
        changed[..., chosen] = changed[..., chosen] * factor
        return changed

    return change


def placed(value: float, chosen: list[int] = CHOSEN) -> Change:
    def change(neurons: torch.Tensor) -> torch.Tensor:
        changed = neurons.clone()
        changed[..., chosen] = value
        return changed

    return change


@pytest.mark.parametrize("values", [{"scale": 0}, {"scale": -2.5}, {"to": 0.75}], ids=str)
def test_steered_logits_are_those_of_a_hook_written_by_hand(
    every_architecture: str, small_model: SmallModel, batch: dict[str, torch.Tensor], values: dict[str, Any]
) -> None:
    model = small_model(every_architecture)
    layers = [layer.name for layer in find_ffn_layers(model)]
    change = placed(values["to"]) if "to" in values else scaled(values["scale"])
    before = logits(model, batch)
    with by_hand(model, dict.fromkeys(layers, change)):
        expected = logits(model, batch)

    with steer(model, dict.fromkeys(layers, CHOSEN), **values) as steered:
        assert steered is model
        assert same(logits(model, batch), expected)
    assert not same(expected, before)
    assert same(logits(model, batch), before)


def test_rows_of_chosen_tasks_are_steered_and_no_others(
    every_architecture: str, small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    """Row by row, the masked model steered everywhere, or not at all."""
    model = small_model(every_architecture)
    ns.specialize(model, draw_masks(model), packed="never")
    layers = {layer.name: CHOSEN for layer in find_ffn_layers(model)}
    plain = logits(model, batch, tasks=MIXED)
    each: list[dict[str, Any]] = [{"scale": 3.0}, {"to": -0.5}]
    for values in each:
        with steer(model, layers, **values):
            everywhere = logits(model, batch, tasks=MIXED)
        with steer(model, layers, tasks=["en-fr"], **values):
            found = logits(model, batch, tasks=MIXED)
            for row, name in enumerate(MIXED):
                assert same(found[row], (everywhere if name == "en-fr" else plain)[row])
                assert not same(everywhere[row], plain[row])
            with task(model, "de-en"):
                untouched = logits(model, batch)
            with dense(model):
                unmasked = logits(model, batch)
        with task(model, "de-en"):
            assert same(untouched, logits(model, batch))
        with dense(model):  # where no row has a task
            assert same(unmasked, logits(model, batch))
    assert same(logits(model, batch, tasks=MIXED), plain)


@pytest.mark.parametrize("packed", ["never", "always"])
def test_masks_come_first(small_model: SmallModel, batch: dict[str, torch.Tensor], packed: Any) -> None:
    """What a mask switches off is still off when it is scaled, and has a value when it is set."""
    model = small_model()
    masks = draw_masks(model)
    off = {layer: (~masks.mask("de-en", layer)).nonzero()[:, 0] for layer in masks.layers}
    ns.specialize(model, masks, packed=packed)
    with task(model, "de-en"):
        plain = logits(model, batch)
        with steer(model, off, scale=9):
            assert torch.allclose(logits(model, batch), plain, rtol=0, atol=1e-12)
        with steer(model, off, to=0):
            assert torch.allclose(logits(model, batch), plain, rtol=0, atol=1e-12)
        with steer(model, off, to=1):
            assert not torch.allclose(logits(model, batch), plain, rtol=0, atol=1e-3)


@pytest.mark.parametrize("beams", [1, 3])
def test_generation_is_steered_row_by_row(
    architecture: str, small_model: SmallModel, batch: dict[str, torch.Tensor], beams: int
) -> None:
    """With cached keys and values, and beams that change places: each row as if its whole batch were steered so."""
    model = small_model(architecture)
    ns.specialize(model, draw_masks(model), packed="never")
    layers = {layer.name: CHOSEN for layer in find_ffn_layers(model)}
    plain = generate(model, batch, tasks=MIXED, num_beams=beams, min_new_tokens=8)
    with by_hand(model, dict.fromkeys(layers, placed(30.0))):
        expected = generate(model, batch, tasks=MIXED, num_beams=beams, min_new_tokens=8)
    with steer(model, layers, to=30.0, tasks=["en-fr"]):
        found = generate(model, batch, tasks=MIXED, num_beams=beams, min_new_tokens=8)
    assert found == [(expected if name == "en-fr" else plain)[row] for row, name in enumerate(MIXED)]
    assert found != plain
    assert generate(model, batch, tasks=MIXED, num_beams=beams, min_new_tokens=8) == plain


def test_contexts_apply_in_the_order_in_which_they_were_entered(
    small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    model = small_model()
    layer = {"decoder.1": CHOSEN}

    def expect(*changes: Change) -> torch.Tensor:
        def change(neurons: torch.Tensor) -> torch.Tensor:
            for one in changes:
                neurons = one(neurons)
            return neurons

        with by_hand(model, {"decoder.1": change}):
            return logits(model, batch)

    changes = [scaled(2), placed(0.5, [5, 30]), scaled(-3)]
    one, two, three = (expect(*changes[:number]) for number in (1, 2, 3))
    only_set = expect(placed(1))
    with steer(model, layer, scale=2):
        with steer(model, {"decoder.1": [5, 30]}, to=0.5):
            assert same(logits(model, batch), two)
            with steer(model, layer, scale=-3):
                assert same(logits(model, batch), three)
        assert same(logits(model, batch), one)

    # Left in another order, each context takes back its own change.
    first, second = steer(model, layer, scale=2), steer(model, layer, to=1)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert same(logits(model, batch), only_set)
    with pytest.raises(NeuronspecError, match=r"cannot prune a model inside ns\.steer"):
        refuse_steered(model, "cannot prune")
    second.__exit__(None, None, None)
    refuse_steered(model, "cannot prune")


def test_each_neuron_can_have_a_value_of_its_own(small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    model = small_model()
    expected = []
    for change in (scaled, placed):
        first, second = change(3, [7]), change(0.5, [9])
        both = functools.partial(lambda one, two, neurons: two(one(neurons)), first, second)
        with by_hand(model, {"encoder.0": change(2, [3]), "decoder.1": both}):
            expected.append(logits(model, batch))

    given: list[tuple[Any, Any]] = [
        (["decoder.1:7", "encoder.0:3", "decoder.1:9"], [3, 2, 0.5]),
        ({"encoder.0": 3, "decoder.1": torch.tensor([9, 7])}, torch.tensor([2, 0.5, 3])),
        ({"encoder.0": [3], "decoder.1": [7, 9]}, {"encoder.0": 2, "decoder.1": [3, 0.5]}),
        (
            {"decoder.1": torch.arange(40).eq(7) | torch.arange(40).eq(9), "encoder.0": [n == 3 for n in range(24)]},
            {"encoder.0": [2], "decoder.1": [3, 0.5]},
        ),
    ]
    for neurons, values in given:
        for name, wanted in zip(("scale", "to"), expected, strict=True):
            with steer(model, neurons, **{name: values}):
                assert same(logits(model, batch), wanted)
            with steer(model, Steering(neurons, **{name: values})):
                assert same(logits(model, batch), wanted)


def test_the_neurons_of_a_task_come_from_its_masks(small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    """A model without a task's neurons is the one with the complement of its mask."""
    model = small_model()
    masks = draw_masks(model)
    with steer(model, masks.neurons("de-en"), scale=0):
        found = logits(model, batch)
    with (
        steer(model, masks.neurons("de-en", "encoder"), scale=0),
        steer(model, masks.neurons("de-en", "decoder"), to=0),
    ):
        assert same(logits(model, batch), found)
    ns.specialize(model, masks.complement(), packed="never")
    assert same(logits(model, batch, tasks=["de-en"] * 4), found)
    with pytest.raises(NeuronspecError, match="stack must be encoder or decoder, not 'both'"):
        masks.neurons("de-en", "both")


def test_nothing_is_left_after_a_failure(every_architecture: str, small_model: SmallModel) -> None:
    model = small_model(every_architecture)
    find_ffn_layers(model)  # views of experts are kept from then on
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    attributes = {name: set(module.__dict__) for name, module in model.named_modules()}
    layer = find_ffn_layers(model)[-1].name
    with pytest.raises(ZeroDivisionError), steer(model, {layer: CHOSEN}, scale=0):
        raise ZeroDivisionError
    with pytest.raises(NeuronspecError), steer(model, {layer: [999]}, scale=0):
        pass

    for name, module in model.named_modules():
        assert set(module.__dict__) - {"forward"} == attributes[name], name  # experts stop with their next pass
        assert not module._forward_pre_hooks, name
        assert not module._forward_hooks, name
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())


def test_losses_and_gradients_are_steered(small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    model = small_model()
    labels = batch["decoder_input_ids"]

    def read() -> tuple[torch.Tensor, torch.Tensor]:
        model.zero_grad()
        loss = model(**batch, labels=labels).loss
        loss.backward()
        gradient = model.get_submodule("model.decoder.layers.0.fc1").weight.grad
        assert isinstance(gradient, torch.Tensor)
        return loss.detach(), gradient.clone()

    with by_hand(model, {"decoder.0": scaled(0)}):
        expected = read()
    with steer(model, {"decoder.0": CHOSEN}, scale=0):
        with torch.inference_mode():  # what is kept for this does not disturb gradients
            model(**batch)
        found = read()
    assert same(found[0], expected[0])
    assert same(found[1], expected[1])
    assert not found[1][CHOSEN].any()


def test_a_model_in_bfloat16_is_steered_in_bfloat16(small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    model = small_model().bfloat16()
    with by_hand(model, {"decoder.0": scaled(1.7)}):
        expected = logits(model, batch)
    with steer(model, {"decoder.0": CHOSEN}, scale=1.7):
        assert same(logits(model, batch), expected)
        assert expected.dtype == torch.bfloat16
    with (
        pytest.raises(NeuronspecError, match=r"1e\+39 is too large for bfloat16, in which decoder\.0 computes"),
        steer(model, {"decoder.0": CHOSEN}, to=1e39),
    ):
        pass


def test_a_model_inside_peft_is_steered(small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    """What the adapters of the second matrix read is steered, too."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(target_modules=["fc1", "fc2"], init_lora_weights=False)
    wrapped = peft.get_peft_model(small_model(), config)
    second = wrapped.get_submodule("base_model.model.model.decoder.layers.1.fc2")
    handle = second.register_forward_pre_hook(lambda module, arguments: (placed(2)(arguments[0]),))
    with torch.no_grad():
        expected = wrapped(**batch).logits
        handle.remove()
        with steer(wrapped, {"decoder.1": CHOSEN}, to=2):
            assert same(wrapped(**batch).logits, expected)
        assert not same(wrapped(**batch).logits, expected)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_compiled_model_notices_the_steering_and_its_end(
    small_model: SmallModel, batch: dict[str, torch.Tensor], in_place: bool
) -> None:
    """A compiled model does not look at its hooks again."""
    model = small_model(num_hidden_layers=1)
    with by_hand(model, {"decoder.0": placed(2)}):
        expected = logits(model, batch)
    compiled: Any = model
    if in_place:
        model.compile(backend="eager")
    else:
        compiled = torch.compile(model, backend="eager")

    def read() -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = compiled(**batch, use_cache=False).logits
        return found

    before = read()
    with steer(compiled, {"decoder.0": CHOSEN}, to=2):
        assert torch.allclose(read(), expected, rtol=0, atol=1e-12)
    assert torch.allclose(read(), before, rtol=0, atol=1e-12)
    assert not torch.allclose(before, expected, rtol=0, atol=1e-3)


def test_adapters_know_the_rows_of_a_task(small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    """Anything that makes a model depend on tasks says which rows are steered."""
    model = small_model()
    owners = {"encoder": [0, 1], "decoder": [0, 1]}
    Adapters(model, AdapterSettings(tasks=list(TASKS), sets=["a", "b"], owners=owners, bottleneck=4, dropout=[0, 0]))
    plain = logits(model, batch, tasks=MIXED)
    with steer(model, {"decoder.0": CHOSEN}, to=2, tasks=["de-en"]):
        found = logits(model, batch, tasks=MIXED)
    assert [same(found[row], plain[row]) for row in range(4)] == [name != "de-en" for name in MIXED]


def test_translations_are_steered(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    model = build_model("tiny", tokenizer)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    ns.specialize(model, draw_masks(model))
    text = {"de-en": ["abc def", "ponml"], "en-fr": ["abc def", "ghi"]}
    plain = ns.translate(model, tokenizer, text, max_tokens=12)
    layer = find_ffn_layers(model)[-1]
    with steer(model, {layer.name: range(layer.width)}, to=5.0, tasks=["eng-fra"]):
        found = ns.translate(model, tokenizer, text, max_tokens=12)
        with pytest.raises(NeuronspecError, match=r"inside ns\.steer"):
            ns.translate(model, tokenizer, text, engine="ctranslate2")
        with pytest.raises(NeuronspecError, match=r"cannot prune a model inside ns\.steer"):
            ns.prune(model, draw_masks(model), "de-en")
    assert found["de-en"] == plain["de-en"]
    assert found["en-fr"] != plain["en-fr"]
    assert ns.translate(model, tokenizer, text, max_tokens=12) == plain


def test_what_changes_the_hooks_inside_the_context_is_refused(
    small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    model = small_model()
    with steer(model, {"decoder.0": CHOSEN}, scale=0):
        ns.specialize(model, draw_masks(model))
        with pytest.raises(NeuronspecError, match=r"was specialized, or its masks were removed, inside ns\.steer"):
            logits(model, batch, tasks=MIXED)
    with steer(model, {"decoder.0": CHOSEN}, scale=0):
        unspecialize(model)
        with pytest.raises(NeuronspecError, match=r"inside ns\.steer"):
            logits(model, batch)
    with steer(model, {"decoder.0": CHOSEN}, scale=0):
        peft = pytest.importorskip("peft")
        wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=["fc2"]))
        with pytest.raises(NeuronspecError, match=r"the model was wrapped, as PEFT does, inside ns\.steer"):
            wrapped(**batch)
    model = small_model()
    model.gradient_checkpointing_enable()
    with steer(model, {"decoder.0": CHOSEN}, scale=0):
        assert logits(model, batch).isfinite().all()
        with pytest.raises(NeuronspecError, match="gradient checkpointing"):
            model.train()(**batch)


@pytest.mark.parametrize(
    ("neurons", "options", "message"),
    [
        ({"decoder.9": [0]}, {"scale": 0}, r"no layer 'decoder.9' \(did you mean 'decoder.1' or 'decoder.0'\?\)"),
        ({"fc1": [0]}, {"scale": 0}, "a layer is called encoder.N or decoder.N, not 'fc1'"),
        ({"decoder.0": [40]}, {"scale": 0}, "no neuron 40 in decoder.0: its neurons are 0 to 39"),
        ({"decoder.0": [-1]}, {"scale": 0}, "neuron -1 of decoder.0: neurons are numbered from 0"),
        ({"decoder.0": [3, 3]}, {"scale": 0}, "the neuron 3 of decoder.0 is given twice"),
        ({"decoder.0": [0.5]}, {"scale": 0}, r"whole numbers or a \(d_ff,\) boolean mask; found float32 of shape \(1,"),
        ({"decoder.0": [[1]]}, {"scale": 0}, r"found int64 of shape \(1, 1\)"),
        ({"decoder.0": True}, {"scale": 0}, r"found bool of shape \(\)"),
        ({"decoder.0": ["a"]}, {"scale": 0}, "the neurons of decoder.0 must be numbers or booleans"),
        ({"decoder.0": [2**70]}, {"scale": 0}, "the neurons of decoder.0 must be numbers or booleans"),
        ({"decoder.0": [True] * 24}, {"scale": 0}, "the mask of decoder.0 has 24 neurons, the model has 40"),
        ({"decoder.0": []}, {"scale": 0}, "no neurons of decoder.0 were chosen"),
        ({"decoder.0": [False] * 40}, {"scale": 0}, "no neurons of decoder.0 were chosen"),
        ({}, {"scale": 0}, "no neurons were chosen"),
        ([], {"scale": 0}, "no neurons were chosen"),
        (["decoder.0"], {"scale": 0}, "found the neuron 'decoder.0': a neuron is written LAYER:NUMBER"),
        (["decoder.0:²"], {"scale": 0}, "a neuron is written LAYER:NUMBER"),
        (["decoder.0:99999999999999999999"], {"scale": 0}, "a neuron is written LAYER:NUMBER"),
        (["../x:1"], {"scale": 0}, "a layer is called"),
        ([3], {"scale": 0}, "found the neuron 3: expected a name"),
        ("decoder.0:3", {"scale": 0}, r"expected neurons such as .* found str"),
        ({"decoder.0": [0]}, {}, "give scale= .* or to= .*; found neither of them"),
        ({"decoder.0": [0]}, {"scale": 1, "to": 1}, "found both"),
        ({"decoder.0": [0]}, {"scale": float("nan")}, "scale holds nan; expected finite numbers"),
        ({"decoder.0": [0, 1]}, {"to": [1, float("inf")]}, "to holds inf"),
        ({"decoder.0": [0, 1]}, {"to": [1, 2, 3]}, r"to has the shape \(3,\) for 2 neurons"),
        ({"decoder.0": [0]}, {"scale": True}, "scale must be a number, or one for each neuron; found True"),
        ({"decoder.0": [0]}, {"scale": "much"}, "scale must be a number"),
        ({"decoder.0": [0]}, {"scale": {"decoder.1": 2}}, "scale has values for decoder.1; the neurons are in decoder"),
        (
            {"decoder.0": [0]},
            {"scale": {"decoder.0": [2, 3]}},
            r"scale of decoder.0 has the shape \(2,\) for 1",
        ),
        ({"decoder.0": [0]}, {"scale": 0, "tasks": ["de-en"]}, "does not know the tasks of its rows"),
        ({"decoder.0": [0]}, {"scale": 0, "tasks": []}, "tasks must be a list of one name or more"),
        ({"decoder.0": [0]}, {"scale": 0, "tasks": "de-en"}, "tasks must be a list of one name or more"),
        (Steering({"decoder.0": [0]}, scale=0), {"to": 0}, "says everything itself: leave out to"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(
    small_model: SmallModel, neurons: Any, options: dict[str, Any], message: str
) -> None:
    model = small_model()
    with pytest.raises(NeuronspecError, match=message), steer(model, neurons, **options):
        pass
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_an_unknown_task_is_refused(small_model: SmallModel) -> None:
    model = small_model()
    ns.specialize(model, draw_masks(model))
    with (
        pytest.raises(NeuronspecError, match="no masks for the task 'de-fr'"),
        steer(model, {"decoder.0": [0]}, scale=0, tasks=["de-en", "de-fr"]),
    ):
        pass
    steering = Steering({"decoder.0": [0]}, scale=0, tasks=["deu_Latn-eng_Latn"])
    assert [steering.applies_to(name) for name in TASKS] == [True, False]
