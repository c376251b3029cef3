"""Own neurons from given masks: each task's own number, and refused where nothing is left to compare them with."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from neuronspec.analysis.ablation import Ablation, ablate
from neuronspec.analysis.ablation_masks import make_ablation_masks
from neuronspec.analysis.given_masks import allow_all, take_own_neurons
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks

TASKS = ("de", "ru")
WIDTH = 8


def mark(*numbers: int) -> list[bool]:
    return [number in numbers for number in range(WIDTH)]


def make_masks(changes: dict[str, Any] | None = None, **signature: str) -> NeuronMasks:
    """Masks of LAPE's kind: few neurons, and not equally many of each task."""
    german = {"encoder.0": mark(0, 1), "decoder.0": mark(1, 4, 6), "decoder.1": mark()}
    russian = {"encoder.0": mark(7), "decoder.0": mark(7), "decoder.1": mark(2, 3)}
    masks = NeuronMasks.from_dict({"de": german | (changes or {}), "ru": russian})
    return NeuronMasks(
        masks.tasks, {layer: masks.layer(layer) for layer in masks.layers}, {"rule": "lape", **signature}
    )


@pytest.fixture
def counts() -> ActivationCounts:
    generator = torch.Generator().manual_seed(0)
    values = {layer: torch.randint(1, 9, (2, WIDTH), generator=generator) for layer in make_masks().layers}
    totals = {stack: torch.tensor([10, 10]) for stack in ("encoder", "decoder")}
    return ActivationCounts(TASKS, values, totals, "token")


def test_each_task_is_measured_without_its_given_neurons_and_without_as_many_others(counts: ActivationCounts) -> None:
    given = make_masks(bias="kept")
    own = take_own_neurons(given, given, ["ru", "de"], "decoder")
    assert own.tasks == ("ru", "de")
    assert own.layers == ("decoder.0", "decoder.1")
    assert own.signature == {"rule": "given: lape"}  # what is off is silent

    off = make_ablation_masks(own, allow_all(given), counts, random=2)
    for task in TASKS:
        for layer in off.layers:
            expected = given.mask(task, layer) if layer in own.layers else torch.zeros(WIDTH, dtype=torch.bool)
            assert torch.equal(~off.mask(f"without {task}", layer), expected)
            for draw in (1, 2):
                drawn = ~off.mask(f"without random {draw} for {task}", layer)
                assert drawn.sum() == expected.sum()
                assert not (drawn & expected).any()

    found = ablate(["ru", "de"], off, lambda text, without: 1.0 + (without == f"without {text}"), given="lape")
    assert found.changes.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert found.neurons == {"decoder.0": 2, "decoder.1": 1}
    assert found.share == (2 + 1) / 16
    assert found.amount == "on average 19 % of the decoder, from given masks: lape"
    assert Ablation.from_dict(found.as_dict()).given == "lape"
    with pytest.raises(NeuronspecError, match="equally many"):
        ablate(["ru", "de"], off, lambda text, without: 1.0)


def test_a_file_of_an_earlier_version_has_chosen_neurons() -> None:
    values: list[Any] = [[1.0, 2.0], [[1.0, 2.0], [1.0, 2.0]], [[1.0], [2.0]]]
    stored = Ablation("decoder", TASKS, "loss", False, 0.05, {"decoder.0": 1}, *values).as_dict()
    del stored["given"]
    assert Ablation.from_dict(stored).amount == "5 % of the decoder"
    with pytest.raises(NeuronspecError, match="expected given as str, found 3"):
        Ablation.from_dict(stored | {"given": 3})


@pytest.mark.parametrize(
    ("masks", "stack", "message"),
    [
        (make_masks({"encoder.0": mark()}), "encoder", "the given masks select no neuron of de in the encoder"),
        (make_masks({"decoder.0": mark(0, 1, 2, 3, 4)}), "decoder", r"select 5 of 8 neurons of de in decoder\.0, so "),
        (NeuronMasks.from_dict({"de": {"decoder.0": mark(1)}}), "decoder", "other layers or widths"),
        (make_masks().reorder(["de"]), "decoder", "no masks for the task 'ru'"),
    ],
)
def test_masks_that_cannot_be_compared_are_refused(masks: NeuronMasks, stack: str, message: str) -> None:
    with pytest.raises(NeuronspecError, match=message):
        take_own_neurons(masks, make_masks(), TASKS, stack)
