"""Only what is a new language's own is trained, whatever the optimizer does with the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from neuronspec.methods.add_language.own_entries import (
    EntryTraining,
    count_entries,
    hash_others,
    list_own_entries,
)
from neuronspec.methods.add_language.planning import find_own_neurons, plan_masks
from neuronspec.models.embeddings import tie_embeddings
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.growth import find_free_neurons, grow_model, widen_masks
from neuronspec.specialization.masking import specialize

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]
OLD, NEW = ("de-en", "en-de"), ("en-lt", "lt-en")
OPTIMIZERS: dict[str, Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]] = {
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.3),
    "adamw fused": lambda parameters: torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.3, fused=True),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1),
}


def grow(model: PreTrainedModel, seed: int, widen: int, share: float = 0.6) -> tuple[PreTrainedModel, NeuronMasks]:
    generator = torch.Generator().manual_seed(seed)
    layers = find_ffn_layers(model)
    before = NeuronMasks(
        OLD, {layer.name: torch.rand(len(OLD), layer.width, generator=generator) < share for layer in layers}
    )
    grown = grow_model(model, languages=["lt"], tasks=NEW, parents=[[4], [], [5, 6]], widen=widen, seed=seed)
    widths = {layer.name: layer.width for layer in find_ffn_layers(grown)}
    return grown, plan_masks(widen_masks(before, widths), NEW, min_neurons=0)


def train(model: PreTrainedModel, batch: dict[str, torch.Tensor], optimizer: str, updates: int = 2) -> None:
    """Train on the new tasks; the labels include the new tokens."""
    made = OPTIMIZERS[optimizer]([parameter for parameter in model.parameters() if parameter.requires_grad])
    for update in range(updates):
        labels = (batch["decoder_input_ids"] + update) % 51
        loss = model(**batch, labels=labels, tasks=["en-lt", "lt-en", "lt-en", "en-lt"]).loss
        loss.backward()
        made.step()
        made.zero_grad()


def watch(training: EntryTraining, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every optimizer that is made be watched."""
    for name, make in dict(OPTIMIZERS).items():

        def made(parameters: list[torch.nn.Parameter], make: Any = make) -> torch.optim.Optimizer:
            optimizer: torch.optim.Optimizer = make(parameters)
            training.watch(optimizer)
            return optimizer

        monkeypatch.setitem(OPTIMIZERS, name, made)


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("architecture", ["m2m_100", "t5", "mt5", "mbart", "marian"])
def test_nothing_but_own_entries_changes(
    architecture: str,
    optimizer: str,
    small_model: SmallModel,
    small_batch: SmallBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, masks = grow(small_model(architecture), seed=1, widen=5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    own = find_own_neurons(masks, NEW)
    entries = list_own_entries(model, own, vocabulary=48)
    specialize(model, masks.reorder([*NEW, *OLD]))
    training = EntryTraining(model, entries)
    watch(training, monkeypatch)
    train(model.train(), small_batch(), optimizer)

    shapes = {name: tuple(tensor.shape) for name, tensor in before.items()}
    after = model.state_dict()
    assert hash_others(before, shapes, entries) == hash_others(after, shapes, entries)

    # Each parameter with entries has learned, and the old part of the embeddings has not.
    assert {name for name in entries if after[name].equal(before[name])} <= {"final_logits_bias"}
    first = next(name for name in entries if name.endswith(("shared.weight",)))
    assert after[first][:48].equal(before[first][:48])
    assert not after[first][48:].equal(before[first][48:])


@settings(max_examples=10)
@given(seed=st.integers(0, 999), widen=st.integers(0, 9), share=st.floats(0, 1))
def test_any_masks_leave_everything_else_as_it_was(
    seed: int, widen: int, share: float, small_model: SmallModel, small_batch: SmallBatch
) -> None:
    model, masks = grow(small_model(), seed, widen, share)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    entries = list_own_entries(model, find_own_neurons(masks, NEW), vocabulary=48)
    specialize(model, masks.reorder([*NEW, *OLD]))
    training = EntryTraining(model, entries)

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.1, weight_decay=0.3)
    training.watch(optimizer)
    for _ in range(2):
        model(**small_batch(), labels=small_batch()["decoder_input_ids"], tasks=["en-lt"] * 4).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    for name, tensor in model.state_dict().items():
        changed = tensor != before[name]
        if name not in entries:
            assert not changed.any(), name
        else:
            assert not entries[name].clear(changed.float()).any(), name
    moments = [value for state in optimizer.state.items() for value in state[1].values() if value.ndim]
    assert moments
    for parameter, state in optimizer.state.items():
        (name,) = (name for name, one in model.named_parameters() if one is parameter)
        for value in state.values():
            assert value.ndim == 0 or not entries[name].clear(value).any()


def test_the_norm_of_gradients_is_that_of_own_entries(small_model: SmallModel, small_batch: SmallBatch) -> None:
    model, masks = grow(small_model(), seed=2, widen=3)
    entries = list_own_entries(model, find_own_neurons(masks, NEW), vocabulary=48)
    specialize(model, masks.reorder([*NEW, *OLD]))
    EntryTraining(model, entries)
    model(**small_batch(), labels=small_batch()["decoder_input_ids"], tasks=["en-lt"] * 4).loss.backward()
    for name, parameter in model.named_parameters():
        if name in entries:
            assert parameter.grad is not None
            assert not entries[name].clear(parameter.grad).any()
        else:
            assert parameter.grad is None


def test_separate_embeddings_have_own_rows_in_both(small_model: SmallModel) -> None:
    model = small_model(tie_word_embeddings=False)
    model.config.embeddings = "separate"
    tie_embeddings(model)
    grown, masks = grow(model, seed=3, widen=0)
    entries = list_own_entries(grown, find_own_neurons(masks, NEW), vocabulary=48)
    tables = {name: own for name, own in entries.items() if "fc" not in name}
    assert len(tables) == 4  # two matrices with two names each
    assert all(own.numbers.tolist() == [48, 49, 50] for own in tables.values())
    neurons = sum(int(free.sum()) for free in find_free_neurons(masks.reorder(OLD)).values())
    assert count_entries(grown, entries) == 2 * 3 * 16 + neurons * (2 * 16 + 1)
