from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.mask_comparison import compare_masks
from neuronspec.neurons.masks import NeuronMasks

WIDTHS = {"encoder.0": 5, "encoder.1": 9, "decoder.0": 16}
TASKS = ("de-en", "en-fr", "sv-en", "en-nl")


def draw_masks(seed: int, tasks: tuple[str, ...] = TASKS, on: float = 0.5) -> NeuronMasks:
    generator = torch.Generator().manual_seed(seed)
    return NeuronMasks(
        tasks, {layer: torch.rand(len(tasks), w, generator=generator) < on for layer, w in WIDTHS.items()}
    )


def neurons(masks: NeuronMasks, task: str, layer: str) -> set[int]:
    return {neuron for neuron, on in enumerate(masks.mask(task, layer).tolist()) if on}


@settings(max_examples=60)
@given(
    st.integers(0, 10**6),
    st.lists(st.sampled_from(TASKS), min_size=1, unique=True),
    st.lists(st.sampled_from(TASKS), min_size=1, unique=True),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_is_that_of_sets(seed: int, some: list[str], others: list[str], on: float) -> None:
    first, second = draw_masks(seed, tuple(some)), draw_masks(seed + 1, tuple(others), on)
    common = [task for task in some if task in others]
    if not common:
        with pytest.raises(NeuronspecError, match="nothing to compare"):
            compare_masks(first, second)
        return
    comparison = compare_masks(first, second)
    assert comparison.tasks == tuple(common)
    assert comparison.layers == tuple(WIDTHS)
    assert set(comparison.iou) == set(comparison.sizes) == set(WIDTHS)
    for layer, width in WIDTHS.items():
        pairs = [(neurons(first, task, layer), neurons(second, task, layer)) for task in common]
        iou = [len(a & b) / len(a | b) if a | b else 1.0 for a, b in pairs]
        sizes = [[len(pair[side]) / width for pair in pairs] for side in (0, 1)]
        np.testing.assert_allclose(comparison.iou[layer], iou, rtol=0, atol=1e-15)
        np.testing.assert_allclose(comparison.sizes[layer], sizes, rtol=0, atol=1e-15)


def test_two_empty_masks_are_equal_and_one_empty_mask_shares_nothing() -> None:
    empty = NeuronMasks.from_dict({"de-en": {"encoder.0": [0, 0]}, "en-fr": {"encoder.0": [0, 0]}})
    other = NeuronMasks.from_dict({"de-en": {"encoder.0": [0, 0]}, "en-fr": {"encoder.0": [1, 0]}})
    assert compare_masks(empty, other).iou["encoder.0"].tolist() == [1, 0]
    assert compare_masks(other, empty).iou["encoder.0"].tolist() == [1, 0]


def test_masks_are_equal_to_themselves_and_disjoint_from_their_complement() -> None:
    masks = draw_masks(0)
    assert all((iou == 1).all() for iou in compare_masks(masks, masks).iou.values())
    against = compare_masks(masks, masks.complement())
    assert all((iou == 0).all() for iou in against.iou.values())
    assert all(np.allclose(sizes.sum(0), 1) for sizes in against.sizes.values())


def test_tasks_are_matched_by_name_in_the_order_of_the_first() -> None:
    masks = draw_masks(0)
    turned = masks.reorder(["en-nl", "sv-en", "de-en"])
    comparison = compare_masks(turned, masks)
    assert comparison.tasks == ("en-nl", "sv-en", "de-en")
    assert all((iou == 1).all() for iou in comparison.iou.values())
    assert compare_masks(masks, turned).tasks == ("de-en", "sv-en", "en-nl")


def test_layers_are_matched_by_name() -> None:
    masks = draw_masks(0)
    turned = NeuronMasks(masks.tasks, {layer: masks.layer(layer) for layer in reversed(masks.layers)})
    comparison = compare_masks(masks, turned)
    assert comparison.layers == masks.layers
    assert all((iou == 1).all() for iou in comparison.iou.values())


@pytest.mark.parametrize(
    "other",
    [
        {"sv-en": {"encoder.0": [1, 0]}},
        {"de-en": {"encoder.0": [1, 0, 0]}},
        {"de-en": {"encoder.1": [1, 0]}},
        {"de-en": {"encoder.0": [1, 0], "decoder.0": [1, 0]}},
    ],
)
def test_masks_that_cannot_be_compared_are_refused(other: dict[str, dict[str, list[int]]]) -> None:
    masks = NeuronMasks.from_dict({"de-en": {"encoder.0": [1, 0]}})
    with pytest.raises(
        NeuronspecError, match=r"nothing to compare: NeuronMasks\(1 task x 1 layer, .* have other tasks"
    ):
        compare_masks(masks, NeuronMasks.from_dict(other))


def test_as_dict_is_json() -> None:
    first = NeuronMasks.from_dict({"de-en": {"encoder.0": [1, 1, 0, 0]}, "x": {"encoder.0": [1, 0, 0, 0]}})
    second = NeuronMasks.from_dict({"de-en": {"encoder.0": [0, 1, 1, 0]}, "x": {"encoder.0": [1, 1, 1, 1]}})
    comparison = compare_masks(first, second).as_dict()
    assert json.loads(json.dumps(comparison, allow_nan=False)) == comparison
    assert comparison == {
        "tasks": ["de-en", "x"],
        "layers": {
            "encoder.0": {
                "iou": {"de-en": 1 / 3, "x": 0.25},
                "first": {"de-en": 0.5, "x": 0.25},
                "second": {"de-en": 0.5, "x": 1.0},
            }
        },
    }
