from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.planted import DECODER, ENCODER, plant_families, plant_nothing, select

from neuronspec.analysis.compared_tasks import choose_tasks
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.report.language_cards import MAX_CARD_NEURONS, make_language_cards
from neuronspec.report.neuron_cards import make_neuron_card

COUNTS = plant_families(["de", "nl", "ru", "fi"])
MASKS = select(COUNTS)
PANELS = [choose_tasks(MASKS.tasks, "en", stack) for stack in ("encoder", "decoder")]


def neurons_of(masks: NeuronMasks, task: str, layer: str) -> set[int]:
    return {*masks.mask(task, layer).nonzero().flatten().tolist()}


def test_every_task_of_every_panel_has_a_card() -> None:
    cards = make_language_cards(MASKS, PANELS, COUNTS)
    assert [(card.stack, card.task) for card in cards] == [(one.stack, t) for one in PANELS for t in one.tasks]
    assert [card.name for card in cards[:4]] == ["German", "Dutch", "Russian", "Finnish"]
    assert [place.layer for place in cards[0].layer_shares] == [*ENCODER]
    assert [place.layer for place in cards[-1].layer_shares] == [*DECODER]


def test_own_exclusive_and_shared_neurons_are_counted() -> None:
    for card in make_language_cards(MASKS, PANELS):
        panel = next(one for one in PANELS if one.stack == card.stack)
        for place in card.layer_shares:
            own = neurons_of(MASKS, card.task, place.layer)
            others = [neurons_of(MASKS, task, place.layer) for task in panel.tasks if task != card.task]
            found = (place.own, place.exclusive, place.shared)
            assert found == (len(own), len(own - set().union(*others)), len(own.intersection(*others)))


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(1, 12), st.booleans())
def test_the_neurons_named_are_those_that_stand_out_most(seed: int, limit: int, counted: bool) -> None:
    counts = plant_nothing(["law", "news", "talks"], ["encoder.0", "encoder.1"], seed)
    masks = select(counts)
    panel = choose_tasks(masks.tasks, "en", "encoder")
    rates = {layer: counts.frequencies(layer).tolist() for layer in counts.layers}
    for row, card in enumerate(make_language_cards(masks, [panel], counts if counted else None, limit)):
        margins = {}
        for layer in masks.layers:
            for neuron in neurons_of(masks, card.task, layer):
                others = [other for other in range(3) if other != row]
                if counted:
                    margin = rates[layer][row][neuron] - max(rates[layer][other][neuron] for other in others)
                else:
                    margin = sum(neuron not in neurons_of(masks, panel.tasks[other], layer) for other in others) / 3
                if margin > 0:
                    margins[layer, neuron] = round(margin, 9)
        expected = sorted(margins, key=lambda place: (-margins[place], place))[:limit]  # ties: the lower one first
        assert list(card.neurons) == expected


def test_planted_neurons_are_named() -> None:
    tasks = ("de-en", "nl-en", "ru-en")
    values = torch.full((3, 30), 5, dtype=torch.int64)
    for row in range(3):
        values[row, row * 4 : row * 4 + 4] = torch.tensor([10, 9, 8, 7])
    counts = ActivationCounts(tasks, {"encoder.0": values}, {"encoder": torch.tensor([10] * 3)}, "sentence")
    cards = make_language_cards(NeuronMasks.from_counts(counts, 1.0), [choose_tasks(tasks, "en", "encoder")], counts)
    for row, card in enumerate(cards):
        assert [neuron for _, neuron in card.neurons] == [*range(row * 4, row * 4 + 4)]


def test_a_card_names_ten_neurons_at_most_and_a_single_task_none() -> None:
    assert {len(card.neurons) for card in make_language_cards(MASKS, PANELS, COUNTS)} == {MAX_CARD_NEURONS}
    counts = plant_nothing(["law"])
    (card,) = make_language_cards(select(counts), [choose_tasks(["law"], "en", "decoder")], counts)
    assert list(card.neurons) == []
    for place in card.layer_shares:
        assert place.own == place.exclusive == place.shared > 0


@pytest.mark.parametrize("name", ["decoder.0:0", "encoder.2:79"])
def test_the_card_of_a_neuron_has_its_owners_and_frequencies(name: str) -> None:
    layer, index = name.split(":")
    card = make_neuron_card(name, MASKS, COUNTS)
    assert (card.name, card.layer, card.neuron) == (name, layer, int(index))
    assert list(card.owners) == [task for task in MASKS.tasks if int(index) in neurons_of(MASKS, task, layer)]
    values = COUNTS.values[layer][:, int(index)].tolist()
    assert card.frequencies == pytest.approx({task: n / 30 for task, n in zip(MASKS.tasks, values, strict=True)})
    assert not make_neuron_card(name, MASKS).frequencies
    assert list(card.examples) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("decoder.7:1", r"no layer 'decoder\.7'.*LAYER:NUMBER"),
        ("decoder.0", "LAYER:NUMBER"),
        ("117", "LAYER:NUMBER"),
        ("encodr.0:1", r"did you mean 'encoder\.0'"),
        ("decoder.0:80", "no neuron '80' in decoder.0: its neurons are 0 to 79"),
        ("decoder.0:-1", "no neuron '-1'"),
        ("decoder.0:one", "no neuron 'one'"),
        ("decoder.0:", "no neuron ''"),
        ("decoder.0:²", "no neuron '²'"),
    ],
)
def test_names_of_no_neuron_are_refused(name: str, message: str) -> None:
    with pytest.raises(NeuronspecError, match=message):
        make_neuron_card(name, MASKS, COUNTS)
