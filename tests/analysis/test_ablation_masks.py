"""Own neurons are those that stand out, and random ones are others of the same mask that fire as often."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronspec.analysis.ablation_masks import MATCH_CANDIDATES, choose_own_neurons, make_ablation_masks
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks


def draw_counts(
    seed: int, tasks: int = 4, width: int = 40, layers: tuple[str, ...] = ("encoder.0",)
) -> ActivationCounts:
    draw = np.random.default_rng(seed)
    names = tuple(f"t{number}" for number in range(tasks))
    totals = torch.from_numpy(draw.integers(5, 30, tasks))
    values = {name: torch.from_numpy(draw.integers(0, totals.numpy()[:, None] + 1, (tasks, width))) for name in layers}
    return ActivationCounts(names, values, {"encoder": totals, "decoder": totals}, "sentence")


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.02, 0.9), st.integers(2, 5))
def test_own_neurons_are_those_that_stand_out_most(seed: int, share: float, tasks: int) -> None:
    counts = draw_counts(seed, tasks)
    masks = NeuronMasks.from_counts(counts, k=0.9)
    names = counts.tasks[::-1]  # a panel's own order
    own = choose_own_neurons(counts, masks, names, "encoder", share)
    most = min(int(masks.layer("encoder.0").sum(1).min()) // 2, max(1, round(share * 40)))
    frequencies = {name: counts.frequencies("encoder.0")[counts.tasks.index(name)].tolist() for name in names}
    for name in names:

        def excess(neuron: int, name: str = name) -> float:
            others = [frequencies[other][neuron] for other in names if other != name]
            return round(float(frequencies[name][neuron] - math.fsum(others) / len(others)), 10)

        selected = masks.mask(name, "encoder.0").nonzero().flatten().tolist()
        expected = sorted(selected, key=lambda neuron: (-excess(neuron), neuron))[:most]
        assert own.mask(name, "encoder.0").nonzero().flatten().tolist() == sorted(expected)


def test_a_layer_with_a_mask_of_one_neuron_takes_no_part() -> None:
    values = {"decoder.0": torch.tensor([[9, 0, 0, 0], [5, 6, 7, 8]]), "decoder.1": torch.tensor([[9, 8, 7, 6]] * 2)}
    counts = ActivationCounts(("a", "b"), values, {"decoder": torch.tensor([10, 10])}, "sentence")
    masks = NeuronMasks.from_counts(counts, k=0.8)
    own = choose_own_neurons(counts, masks, ("a", "b"), "decoder", 0.25)
    assert not own.layer("decoder.0").any()
    assert own.layer("decoder.1").sum(1).tolist() == [1, 1]
    few = NeuronMasks(masks.tasks, {name: torch.eye(4, dtype=torch.bool)[:2] for name in masks.layers})
    with pytest.raises(NeuronspecError, match="fewer than two selected neurons"):
        choose_own_neurons(counts, few, ("a", "b"), "decoder")


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_off_is_own_or_random_neurons_of_the_texts_mask_equally_many(seed: int, random: int) -> None:
    layers = ("encoder.0", "encoder.1", "decoder.0")
    counts = draw_counts(seed, layers=layers)
    masks = NeuronMasks.from_counts(counts, k=0.9)
    own = choose_own_neurons(counts, masks, counts.tasks, "encoder", 0.1)
    off = make_ablation_masks(own, masks, counts, random, seed)
    assert len(off.tasks) == len(counts.tasks) * (1 + random)
    assert bool(off.layer("decoder.0").all())
    for task, layer in itertools.product(counts.tasks, own.layers):
        mine, selected = own.mask(task, layer), masks.mask(task, layer)
        assert torch.equal(~off.mask(f"without {task}", layer), mine)
        for draw in range(random):
            drawn = ~off.mask(f"without random {draw + 1} for {task}", layer)
            assert int(drawn.sum()) == int(mine.sum())
            assert bool((drawn <= (selected & ~mine)).all())
    assert off == make_ablation_masks(own, masks, counts, random, seed)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(50, 400))
def test_random_neurons_fire_as_often_as_own_ones_where_there_are_such(seed: int, width: int) -> None:
    """However unlucky the draws, the neurons that others took are all that keeps one from its nearest ones."""
    counts = draw_counts(seed, width=width)
    masks = NeuronMasks.from_counts(counts, k=0.9)
    own = choose_own_neurons(counts, masks, counts.tasks, "encoder", 0.1)
    off = make_ablation_masks(own, masks, counts, seed=seed)
    for row, task in enumerate(counts.tasks):
        frequencies = counts.frequencies("encoder.0")[row]
        mine = own.mask(task, "encoder.0")
        there = frequencies[masks.mask(task, "encoder.0") & ~mine]
        distances = (frequencies[mine][:, None] - there).abs().sort(1).values  # (own, pool)
        farthest = distances[:, min(len(there), MATCH_CANDIDATES + int(mine.sum()) - 1) - 1].mean()
        for draw in range(3):
            drawn = frequencies[~off.mask(f"without random {draw + 1} for {task}", "encoder.0")]
            assert abs(drawn.mean() - frequencies[mine].mean()) <= farthest + 1e-9


def test_random_neurons_are_not_those_that_fire_less() -> None:
    """Own neurons fire more than the rest of the mask; the control must not."""
    counts = draw_counts(5, width=2000)
    masks = NeuronMasks.from_counts(counts, k=0.95)
    own = choose_own_neurons(counts, masks, counts.tasks, "encoder", 0.05)
    off = make_ablation_masks(own, masks, counts)
    for row, task in enumerate(counts.tasks):
        frequencies, selected = counts.frequencies("encoder.0")[row], masks.mask(task, "encoder.0")
        mine = float(frequencies[own.mask(task, "encoder.0")].mean())
        drawn = float(frequencies[~off.mask(f"without random 1 for {task}", "encoder.0")].mean())
        assert mine > float(frequencies[selected].mean()) + 0.15
        assert drawn == pytest.approx(mine, abs=0.03)


def test_each_neuron_of_the_control_is_one_of_the_nearest() -> None:
    values = {"encoder.0": torch.stack([torch.arange(40), torch.arange(40).flip(0)])}
    counts = ActivationCounts(("a", "b"), values, {"encoder": torch.tensor([40, 40])}, "sentence")
    full = NeuronMasks(counts.tasks, {"encoder.0": torch.ones(2, 40, dtype=torch.bool)})
    own = NeuronMasks(counts.tasks, {"encoder.0": torch.stack([torch.arange(40) == 20, torch.arange(40) == 39])})
    off = make_ablation_masks(own, full, counts, random=200)
    drawn = {
        name: {int((~off.mask(f"without random {n + 1} for {name}", "encoder.0")).nonzero()) for n in range(200)}
        for name in "ab"
    }
    assert drawn == {"a": {16, 17, 18, 19, 21, 22, 23, 24}, "b": set(range(31, 39))}


def test_random_neurons_depend_on_nothing_but_seed_and_task() -> None:
    counts = draw_counts(3, width=200, layers=("encoder.0", "encoder.1"))
    masks = NeuronMasks.from_counts(counts, k=0.9)
    own = choose_own_neurons(counts, masks, counts.tasks, "encoder", 0.1)
    name, layer = "without random 2 for t2", "encoder.1"
    drawn = make_ablation_masks(own, masks, counts).mask(name, layer)
    assert torch.equal(drawn, make_ablation_masks(own.reorder(["t2", "t0"]), masks, counts, 2).mask(name, layer))
    assert not torch.equal(drawn, make_ablation_masks(own, masks, counts, seed=1).mask(name, layer))
    assert not torch.equal(drawn, make_ablation_masks(own, masks, counts).mask("without random 1 for t2", layer))
    others = {layer: values.clone() for layer, values in counts.values.items()}
    for values in others.values():
        values[:2] = 0  # what the other tasks do
    assert torch.equal(drawn, make_ablation_masks(own, masks, replace(counts, values=others)).mask(name, layer))
    full = NeuronMasks(masks.tasks, {name: torch.ones(4, 200, dtype=torch.bool) for name in masks.layers})
    same = NeuronMasks(masks.tasks, {name: (torch.arange(200) < 10).expand(4, -1) for name in masks.layers})
    alike = {name: values[:1].expand(4, -1) for name, values in counts.values.items()}
    texts = make_ablation_masks(same, full, replace(counts, values=alike), random=1).layer(layer)[4:]
    assert len({tuple(row) for row in texts.tolist()}) == 4


def test_every_neuron_that_may_be_drawn_is() -> None:
    masks = NeuronMasks.from_dict({"a": {"encoder.0": [1] * 8}, "b": {"encoder.0": [1, 1, 1, 1, 0, 0, 0, 0]}})
    own = NeuronMasks.from_dict({name: {"encoder.0": [1] + [0] * 7} for name in "ab"})
    values = {"encoder.0": torch.tensor([[5, 9, 5, 5, 0, 1, 1, 5], [3, 3, 3, 3, 3, 3, 3, 3]])}
    counts = ActivationCounts(("a", "b"), values, {"encoder": torch.tensor([9, 9])}, "sentence")
    off = make_ablation_masks(own, masks, counts, random=400)
    times = {
        name: sum((~off.mask(f"without random {n + 1} for {name}", "encoder.0")).int() for n in range(400))
        for name in "ab"
    }
    assert all(30 < count < 90 for count in torch.as_tensor(times["a"])[1:].tolist())  # 57 expected
    assert all(95 < count < 175 for count in torch.as_tensor(times["b"])[1:4].tolist())  # 133 expected
    assert torch.as_tensor(times["b"])[[0, 4, 5, 6, 7]].tolist() == [0] * 5


def test_equals_are_drawn_alike() -> None:
    """Of many neurons that fire equally often, no eight are preferred."""
    counts = ActivationCounts(
        ("a", "b"),
        {"encoder.0": torch.full((2, 60), 7)},
        {"encoder": torch.tensor([10, 10])},
        "sentence",
    )
    full = NeuronMasks(counts.tasks, {"encoder.0": torch.ones(2, 60, dtype=torch.bool)})
    own = NeuronMasks(counts.tasks, {"encoder.0": (torch.arange(60) == 0).expand(2, -1)})
    off = make_ablation_masks(own, full, counts, random=600)
    times = sum((~off.mask(f"without random {n + 1} for a", "encoder.0")).int() for n in range(600))
    assert int(torch.as_tensor(times)[1:].min()) >= 1  # 10 expected
    assert int(torch.as_tensor(times).max()) < 30


def test_masks_of_the_released_code_switch_neurons_off_truly() -> None:
    counts = draw_counts(0)
    masks = NeuronMasks.from_counts(counts, k=0.9).keep_bias()
    own = choose_own_neurons(counts, masks, counts.tasks, "encoder")
    assert not own.keeps_bias
    assert not make_ablation_masks(own, masks, counts).keeps_bias
    assert not make_ablation_masks(own.keep_bias(), masks, counts).keeps_bias


def test_choices_that_make_no_sense_are_refused() -> None:
    counts = draw_counts(0)
    masks = NeuronMasks.from_counts(counts, k=0.9)
    own = choose_own_neurons(counts, masks, counts.tasks, "encoder")
    with pytest.raises(NeuronspecError, match="found 1 tasks"):
        choose_own_neurons(counts, masks, ("t0",), "encoder")
    with pytest.raises(NeuronspecError, match=r"share of 1\.5"):
        choose_own_neurons(counts, masks, counts.tasks, "encoder", 1.5)
    with pytest.raises(NeuronspecError, match="no layers of the stack 'decoder'"):
        choose_own_neurons(counts, masks, counts.tasks, "decoder")
    with pytest.raises(NeuronspecError, match="no counts for the task 't9'"):
        choose_own_neurons(counts, masks, ("t0", "t9"), "encoder")
    with pytest.raises(NeuronspecError, match="different layers or widths"):
        choose_own_neurons(draw_counts(0, width=41), masks, counts.tasks, "encoder")
    with pytest.raises(NeuronspecError, match="different layers or widths"):
        make_ablation_masks(own, NeuronMasks.from_counts(draw_counts(0, width=41)), counts)
    with pytest.raises(NeuronspecError, match="different layers or widths"):
        make_ablation_masks(own, masks, draw_counts(0, width=41))
    with pytest.raises(NeuronspecError, match="no counts for the task 't3'"):
        make_ablation_masks(own, masks, draw_counts(0, tasks=3))
    with pytest.raises(NeuronspecError, match="0 random sets"):
        make_ablation_masks(own, masks, counts, random=0)
    with pytest.raises(NeuronspecError, match="too few to draw the control from"):
        make_ablation_masks(masks, masks, counts)
