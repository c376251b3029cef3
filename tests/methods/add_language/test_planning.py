"""Plans of new directions: what they train, what they read, and what is refused."""

from __future__ import annotations

import pytest

from neuronspec.errors import NeuronspecError
from neuronspec.methods.add_language.planning import find_own_neurons, plan_masks
from neuronspec.neurons.masks import NeuronMasks

BEFORE = NeuronMasks.from_dict(
    {
        "de-en": {"encoder.0": [1, 1, 0, 0, 0, 0], "decoder.0": [1, 0, 0, 0, 0, 0]},
        "en-de": {"encoder.0": [0, 1, 1, 0, 0, 0], "decoder.0": [0, 1, 0, 0, 0, 0]},
    }
)
NEW = ("en-lt", "lt-en")


def show(masks: NeuronMasks, task: str) -> dict[str, str]:
    return {layer: "".join(map(str, masks.mask(task, layer).int().tolist())) for layer in masks.layers}


@pytest.mark.parametrize(
    ("reads", "into", "out_of"),
    [
        ("all", {"encoder.0": "111111", "decoder.0": "111111"}, {"encoder.0": "111111", "decoder.0": "111111"}),
        # Like en-de, what reads English; like de-en, what writes it; all where a language is new
        ("shared", {"encoder.0": "011111", "decoder.0": "111111"}, {"encoder.0": "111111", "decoder.0": "101111"}),
        ("none", {"encoder.0": "000111", "decoder.0": "001111"}, {"encoder.0": "000111", "decoder.0": "001111"}),
    ],
)
def test_new_directions_read_the_neurons_that_are_asked_for(
    reads: str, into: dict[str, str], out_of: dict[str, str]
) -> None:
    masks = plan_masks(BEFORE, NEW, reads=reads)  # type: ignore[arg-type]
    assert (show(masks, "en-lt"), show(masks, "lt-en")) == (into, out_of)
    assert [show(masks, task) for task in BEFORE.tasks] == [show(BEFORE, task) for task in BEFORE.tasks]

    own = find_own_neurons(masks, NEW)
    assert {layer: neurons.int().tolist() for layer, neurons in own.items()} == {
        "encoder.0": [0, 0, 0, 1, 1, 1],
        "decoder.0": [0, 0, 1, 1, 1, 1],
    }


def test_some_free_neurons_are_left_for_later_languages() -> None:
    masks = plan_masks(BEFORE, NEW, reads="none", max_free=1, old_widths={"encoder.0": 5, "decoder.0": 5})
    # Of the neurons that were there, the first free one; the sixth came with widening.
    assert show(masks, "en-lt") == {"encoder.0": "000101", "decoder.0": "001001"}


def test_too_few_free_neurons_are_refused_with_advice() -> None:
    with pytest.raises(NeuronspecError, match=r"1 of 2 layers .* \(encoder\.0: 3\); .* model\.extend\.widen=64"):
        plan_masks(BEFORE, NEW, min_neurons=4)


@pytest.mark.parametrize("task", ["de-en", "deu_Latn-eng_Latn"])
def test_a_direction_that_is_there_is_refused(task: str) -> None:
    with pytest.raises(NeuronspecError, match="is a direction of the model already"):
        plan_masks(BEFORE, [task])


def test_unknown_choices_are_refused() -> None:
    with pytest.raises(NeuronspecError, match="reads must be all, shared or none"):
        plan_masks(BEFORE, NEW, reads="some")  # type: ignore[arg-type]
