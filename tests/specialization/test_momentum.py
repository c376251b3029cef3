"""R9 under optimisers with a memory: what moves a neuron that no sentence of an update uses, and what stops it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

import neuronspec
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization import packing
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.momentum import hold_absent_neurons
from neuronspec.specialization.packing import Packed
from neuronspec.specialization.routing import dense, task, unspecialize

Work = Callable[..., list[list[dict[str, torch.Tensor]]]]
SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]
Batch = dict[str, torch.Tensor]
MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

TASKS = ("de-en", "en-fr", "sv-de")
EVERY = ["de-en", "en-fr", "sv-de", "de-en"]  # a task for each of the four rows of `small_batch`
FIRST = ["de-en"] * 4
KINDS = ["m2m_100", "gpt2", "t5", "mt5", "phi3"]  # biases, Conv1D, no biases, gated, gate and other matrix in one
OPTIMIZERS: dict[str, MakeOptimizer] = {
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "Adam(weight_decay)": lambda parameters: torch.optim.Adam(parameters, lr=0.01, weight_decay=0.1),
    "Adam(amsgrad)": lambda parameters: torch.optim.Adam(parameters, lr=0.01, amsgrad=True, weight_decay=0.1),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1),
    "AdamW(foreach)": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1, foreach=True),
    "AdamW(fused)": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1, fused=True),
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=0.1),
    "NAdam": lambda parameters: torch.optim.NAdam(parameters, lr=0.01, weight_decay=0.1),
}


def draw_masks(model: PreTrainedModel, seed: int = 0) -> NeuronMasks:
    generator = torch.Generator().manual_seed(seed)
    widths = {layer.name: layer.width for layer in find_ffn_layers(model)}
    return NeuronMasks(TASKS, {name: torch.rand(3, width, generator=generator) > 0.5 for name, width in widths.items()})


def inputs_of(model: PreTrainedModel, small_batch: SmallBatch) -> Batch:
    encodes = model.config.is_encoder_decoder
    return {name: value for name, value in small_batch().items() if encodes or not name.startswith("decoder_")}


def backward(model: PreTrainedModel, batch: Batch, tasks: Sequence[str] | None) -> None:
    options = {} if tasks is None else {"tasks": tasks}
    model(**batch, use_cache=False, **options).logits.logsumexp(-1).sum().backward()


def update(
    model: PreTrainedModel, optimizer: torch.optim.Optimizer, batch: Batch, *passes: Sequence[str] | None
) -> None:
    """One update, from one or several backward passes."""
    for tasks in passes:
        backward(model, batch, tasks)
    optimizer.step()
    optimizer.zero_grad()


def used(masks: NeuronMasks, layer: str, tasks: Iterable[str]) -> torch.Tensor:
    return torch.stack([masks.mask(name, layer) for name in tasks]).any(0)


def of_layer(layer: FFNLayer) -> list[tuple[nn.Parameter, int, int]]:
    """The parameters of a layer's neurons: (parameter, the dimension they are in, how often they are there)."""
    found: list[tuple[Any, int, int]] = []
    for matrix in layer.expansions:
        dimension = int(isinstance(matrix, Conv1D))
        found.append((matrix.weight, dimension, matrix.weight.shape[dimension] // layer.width))
        if matrix.bias is not None:
            found.append((matrix.bias, 0, len(matrix.bias) // layer.width))
    return [*found, (layer.projection.weight, 1 - int(isinstance(layer.projection, Conv1D)), 1)]


def take(
    model: PreTrainedModel, numbers: dict[str, torch.Tensor], optimizer: Any = None, *, weights: bool = True
) -> list[torch.Tensor]:
    """The weights of neurons, and what the optimiser remembers of them.

    Args:
        numbers: for each layer, (d_ff,) boolean.
    """
    found = []
    for layer in find_ffn_layers(model):
        for parameter, dimension, parts in of_layer(layer):
            rows = numbers[layer.name].repeat(parts).nonzero()[:, 0]
            state = optimizer.state.get(parameter, {}) if optimizer is not None else {}
            moments = [value for value in state.values() if value.shape == parameter.shape]
            for tensor in (parameter, *moments) if weights else moments:
                found.append(tensor.detach().index_select(dimension, rows).clone())
    return found


def same(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def all_moved(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> bool:
    return len(one) == len(other) and not any(map(torch.equal, one, other))


def choose(masks: NeuronMasks, present: Iterable[str], *, absent: bool) -> dict[str, torch.Tensor]:
    """The neurons that one of these tasks uses, or that none of them does."""
    present = list(present)
    return {layer: used(masks, layer, present) ^ absent for layer in masks.layers}


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let packed matrices hold a task's neurons alone: filled up as they are for speed, small ones would be whole."""
    monkeypatch.setattr(packing, "_WIDTH_MULTIPLE", 1)


@pytest.fixture
def model(small_model: SmallModel) -> PreTrainedModel:
    return small_model(encoder_layerdrop=0.0, decoder_layerdrop=0.0)


@pytest.fixture
def masks(model: PreTrainedModel) -> NeuronMasks:
    return draw_masks(model)


@pytest.fixture
def batch(model: PreTrainedModel, small_batch: SmallBatch) -> Batch:
    return inputs_of(model, small_batch)


def adam(model: PreTrainedModel) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.01)


def test_r9_momentum_moves_neurons_that_an_update_does_not_use(
    model: PreTrainedModel, masks: NeuronMasks, batch: Batch
) -> None:
    """As documented: no gradient reaches them, and Adam goes on in the direction of earlier updates."""
    optimizer = adam(specialize(model, masks))
    update(model, optimizer, batch, EVERY)
    once = {layer: used(masks, layer, EVERY) & ~masks.mask("de-en", layer) for layer in masks.layers}
    before = take(model, once)
    update(model, optimizer, batch, FIRST)
    assert all_moved(take(model, once), before)


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        *((KINDS[0], name) for name in OPTIMIZERS),
        *((kind, name) for kind in KINDS[1:] for name in ("Adam(weight_decay)", "AdamW(fused)")),
    ],
)
def test_r9_held_neurons_and_their_moments_stay_bit_for_bit(
    small_model: SmallModel, small_batch: SmallBatch, architecture: str, name: str
) -> None:
    """And what the update uses moves exactly as it does without the switch."""
    model = small_model(architecture)
    masks, batch = draw_masks(model), inputs_of(model, small_batch)
    specialize(model, masks, packed="always")
    optimizer = OPTIMIZERS[name](model.parameters())
    update(model, optimizer, batch, EVERY)
    free = copy.deepcopy(model)
    free_optimizer = OPTIMIZERS[name](free.parameters())
    free_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    hold_absent_neurons(model, optimizer)
    absent, present = (choose(masks, FIRST, absent=value) for value in (True, False))
    held, moving = take(model, absent, optimizer), take(model, present, optimizer)
    assert len(held) > len(take(model, absent))  # there are moments
    for _ in range(3):
        update(model, optimizer, batch, FIRST)
        update(free, free_optimizer, batch, FIRST)
        assert same(take(model, absent, optimizer), held)
    assert all_moved(take(model, present, optimizer), moving)
    assert all_moved(take(free, absent, free_optimizer), held)


@pytest.mark.parametrize("architecture", KINDS)
@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD"])
def test_r9_used_neurons_get_the_update_that_they_get_without_the_switch(
    small_model: SmallModel, small_batch: SmallBatch, architecture: str, name: str
) -> None:
    model = small_model(architecture)
    masks, batch = draw_masks(model), inputs_of(model, small_batch)
    specialize(model, masks)
    optimizer = OPTIMIZERS[name](model.parameters())
    update(model, optimizer, batch, EVERY)
    free = copy.deepcopy(model)
    free_optimizer = OPTIMIZERS[name](free.parameters())
    free_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    hold_absent_neurons(model, optimizer)
    for one, its in ((model, optimizer), (free, free_optimizer)):
        update(one, its, batch, FIRST)
    present = choose(masks, FIRST, absent=False)
    assert same(take(model, present, optimizer), take(free, present, free_optimizer))
    ffn = {parameter for layer in find_ffn_layers(model) for parameter, _, _ in of_layer(layer)}
    for parameter, other in zip(model.parameters(), free.parameters(), strict=True):
        assert parameter in ffn or torch.equal(parameter, other)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_r9_neurons_are_held_from_the_first_update_on(
    model: PreTrainedModel, masks: NeuronMasks, batch: Batch, name: str
) -> None:
    """Before it there are no moments; after it those of a held neuron must say that nothing has happened yet."""
    optimizer = OPTIMIZERS[name](specialize(model, masks).parameters())
    hold_absent_neurons(model, optimizer)
    absent = choose(masks, FIRST, absent=True)
    weights = take(model, absent)
    update(model, optimizer, batch, FIRST)
    assert same(take(model, absent), weights)
    assert len(take(model, absent, optimizer)) > len(weights)
    assert not any(moment.any() for moment in take(model, absent, optimizer, weights=False))


@pytest.mark.parametrize("packed", ["never", "always"])
def test_r9_an_update_of_several_passes_holds_what_none_of_them_uses(
    model: PreTrainedModel, masks: NeuronMasks, batch: Batch, packed: Packed
) -> None:
    optimizer = OPTIMIZERS["AdamW"](specialize(model, masks, packed=packed).parameters())
    update(model, optimizer, batch, EVERY)
    hold_absent_neurons(model, optimizer)
    for passes in ((["de-en"] * 4, ["en-fr"] * 4), (["en-fr", "de-en", "en-fr", "en-fr"],), (["sv-de"] * 4,)):
        names = {name for tasks in passes for name in tasks}
        absent, present = (choose(masks, names, absent=value) for value in (True, False))
        held, moving = take(model, absent, optimizer), take(model, present, optimizer)
        update(model, optimizer, batch, *passes)
        assert same(take(model, absent, optimizer), held)
        assert all_moved(take(model, present, optimizer), moving)


@pytest.mark.parametrize("packed", ["never", "always"])
@pytest.mark.parametrize("checkpointing", [None, False, True])
def test_r9_the_context_of_a_task_counts_and_evaluation_does_not(
    model: PreTrainedModel, masks: NeuronMasks, batch: Batch, packed: Packed, checkpointing: bool | None
) -> None:
    optimizer = adam(specialize(model, masks, packed=packed))
    update(model, optimizer, batch, EVERY)
    hold_absent_neurons(model, optimizer)
    if checkpointing is not None:
        model.train().gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": checkpointing})
        model.enable_input_require_grads()
    absent, present = (choose(masks, ["sv-de"], absent=value) for value in (True, False))
    held, moving = take(model, absent, optimizer), take(model, present, optimizer)
    with task(model, "sv-de"):
        backward(model, batch, None)
    with torch.no_grad(), task(model, "en-fr"):
        model.eval()(**batch)
        model.generate(batch["input_ids"], attention_mask=batch["attention_mask"], max_new_tokens=2)
    optimizer.step()
    optimizer.zero_grad()
    assert same(take(model, absent, optimizer), held)
    assert all_moved(take(model, present, optimizer), moving)


def test_r9_a_dense_pass_uses_every_neuron(model: PreTrainedModel, masks: NeuronMasks, batch: Batch) -> None:
    optimizer = adam(specialize(model, masks))
    hold_absent_neurons(model, optimizer)
    everything = {layer: torch.ones(width, dtype=torch.bool) for layer, width in masks.widths.items()}
    never = choose(masks, EVERY, absent=True)
    assert any(value.any() for value in never.values())
    before, held = take(model, everything), take(model, never)
    update(model, optimizer, batch, EVERY)
    assert same(take(model, never), held)
    with dense(model):
        update(model, optimizer, batch, None)
    assert all_moved(take(model, everything), before)
    assert not same(take(model, never), held)


def test_r9_released_masks_are_held_with_their_biases(model: PreTrainedModel, masks: NeuronMasks, batch: Batch) -> None:
    """The released code leaves a masked neuron its bias, and sends it gradient: the switch holds it all the same."""
    optimizer = adam(specialize(model, masks, released=True))
    update(model, optimizer, batch, EVERY)
    hold_absent_neurons(model, optimizer)
    absent = choose(masks, FIRST, absent=True)
    held = take(model, absent, optimizer)
    update(model, optimizer, batch, FIRST)
    assert same(take(model, absent, optimizer), held)


def test_removing_the_handles_undoes_it(model: PreTrainedModel, masks: NeuronMasks, batch: Batch) -> None:
    optimizer = adam(specialize(model, masks))
    for handle in hold_absent_neurons(model, optimizer):
        handle.remove()
    update(model, optimizer, batch, EVERY)
    once = {layer: used(masks, layer, EVERY) & ~masks.mask("de-en", layer) for layer in masks.layers}
    before = take(model, once)
    update(model, optimizer, batch, FIRST)
    assert all_moved(take(model, once), before)


def test_a_model_that_is_not_specialised_is_refused(model: PreTrainedModel) -> None:
    with pytest.raises(NeuronspecError, match=r"not specialized: call neuronspec\.specialize"):
        neuronspec.hold_absent_neurons(model, adam(model))


def test_r9_two_optimisers_of_one_model_both_hold(model: PreTrainedModel, masks: NeuronMasks, batch: Batch) -> None:
    """One of the matrices and one of the rest, as Muon is used: the second must know the tasks too."""
    specialize(model, masks)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim != 2]
    optimizers = [torch.optim.Adam(group, lr=0.01) for group in (matrices, rest)]
    for optimizer in optimizers:
        hold_absent_neurons(model, optimizer)
    absent, present = (choose(masks, FIRST, absent=value) for value in (True, False))
    held, moving = take(model, absent), take(model, present)
    backward(model, batch, FIRST)
    for optimizer in optimizers:
        optimizer.step()
    assert same(take(model, absent), held)
    assert all_moved(take(model, present), moving)


def test_r9_an_optimiser_that_calls_a_closure_knows_its_tasks(
    model: PreTrainedModel, masks: NeuronMasks, batch: Batch
) -> None:
    """As Lightning does it: the forward pass is inside `step`."""
    optimizer = adam(specialize(model, masks))
    update(model, optimizer, batch, EVERY)
    hold_absent_neurons(model, optimizer)
    absent, present = (choose(masks, FIRST, absent=value) for value in (True, False))
    held, moving = take(model, absent, optimizer), take(model, present, optimizer)

    def closure() -> float:
        optimizer.zero_grad()
        backward(model, batch, FIRST)
        return 0.0

    optimizer.step(closure)
    assert same(take(model, absent, optimizer), held)
    assert all_moved(take(model, present, optimizer), moving)


def test_an_update_that_was_skipped_does_not_count(model: PreTrainedModel, masks: NeuronMasks, batch: Batch) -> None:
    """A loss scaler leaves out an update of infinite gradients: its tasks are not those of the next one."""
    optimizer = adam(specialize(model, masks))
    update(model, optimizer, batch, EVERY)
    hold_absent_neurons(model, optimizer)
    backward(model, batch, ["en-fr"] * 4)
    optimizer.zero_grad()  # instead of a step
    absent = choose(masks, FIRST, absent=True)
    held = take(model, absent, optimizer)
    update(model, optimizer, batch, FIRST)
    assert same(take(model, absent, optimizer), held)


@pytest.mark.parametrize("change", ["other masks", "unspecialised"])
def test_a_change_of_masks_does_not_freeze_the_neurons(
    model: PreTrainedModel, masks: NeuronMasks, batch: Batch, change: str
) -> None:
    """The switch follows the model, or says that it cannot; it must not hold by masks that are gone."""
    optimizer = adam(specialize(model, masks))
    hold_absent_neurons(model, optimizer)
    update(model, optimizer, batch, FIRST)
    if change == "other masks":
        masks = draw_masks(model, seed=1)
        specialize(model, masks)
        present = choose(masks, FIRST, absent=False)
    else:
        unspecialize(model)
        present = {layer: torch.ones(width, dtype=torch.bool) for layer, width in masks.widths.items()}
    moving = take(model, present)
    with contextlib.suppress(NeuronspecError):
        update(model, optimizer, batch, FIRST if change == "other masks" else None)
        assert all_moved(take(model, present), moving)


WORKER = """
import sys
import torch
from safetensors.torch import load_file, save_file
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModelForSeq2SeqLM

import neuronspec as ns

directory, rank = sys.argv[1], int(sys.argv[2])
torch.distributed.init_process_group("gloo", f"file://{directory}/rendezvous", rank=rank, world_size=2)
model = AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float64).eval()
masks = ns.NeuronMasks.from_pretrained(directory)
ns.specialize(model, masks, packed="always")
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
ns.hold_absent_neurons(model, optimizer)
parallel = DistributedDataParallel(model)
batch = load_file(f"{directory}/batch.safetensors")
for number, tasks in enumerate(([["de-en"] * 4, ["en-fr", "sv-de"] * 2], [["de-en"] * 4, ["en-fr"] * 4])):
    parallel(**batch, tasks=tasks[rank]).logits.logsumexp(-1).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    state = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    save_file(state, f"{directory}/{rank}.{number}.safetensors")
torch.distributed.destroy_process_group()
"""


def test_r9_a_neuron_that_another_process_uses_moves(
    model: PreTrainedModel, masks: NeuronMasks, batch: Batch, work: Work
) -> None:
    """Two processes hold what neither of them uses, and stay equal."""
    states = work(WORKER, model, masks, batch)
    for one, other in zip(*states, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    models = []
    for state in states[0]:
        models.append(copy.deepcopy(model))
        models[-1].load_state_dict(state, strict=False)
    first, second = models
    assert all_moved(take(second, (there := choose(masks, ["de-en", "en-fr"], absent=False))), take(first, there))
    other = {layer: masks.mask("en-fr", layer) & ~masks.mask("de-en", layer) for layer in masks.layers}
    assert all_moved(take(second, other), take(first, other))
    absent = choose(masks, ["de-en", "en-fr"], absent=True)
    assert same(take(second, absent), take(first, absent))
    assert not same(take(first, absent), take(model, absent))  # sv-de moved some of them in the update before
