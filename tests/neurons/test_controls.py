"""Control masks: as large as those they are made of, and different in just one respect."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.controls import permute_tasks, pool_tasks, share_random
from neuronspec.neurons.masks import NeuronMasks

TASKS = ("de-en", "nl-en", "fr-en", "it-en", "es-en")
FAMILIES = ("Germanic", "Germanic", "Romance", "Romance", "Romance")


def draw(seed: int, width: int = 24) -> NeuronMasks:
    generator = torch.Generator().manual_seed(seed)
    layers = {name: torch.rand(len(TASKS), width, generator=generator) < 0.6 for name in ("encoder.0", "decoder.0")}
    return NeuronMasks(TASKS, layers, {"rule": "coverage", "k": "0.95"})


def rows(masks: NeuronMasks) -> list[bytes]:
    """The masks of each task, of all layers together."""
    return [b"".join(masks.layer(layer)[task].numpy().tobytes() for layer in masks.layers) for task in range(5)]


@given(seed=st.integers(0, 99))
def test_a_shared_mask_is_one_random_mask_of_the_mean_size(seed: int) -> None:
    masks = draw(seed)
    shared = share_random(masks, seed)
    for layer in masks.layers:
        mean = masks.layer(layer).sum(1).double().mean()
        assert abs(shared.layer(layer)[0].sum() - mean) <= 0.5
        assert (shared.layer(layer) == shared.layer(layer)[0]).all()
    assert share_random(masks, seed) == shared
    assert share_random(masks, seed + 1) != shared


@pytest.mark.parametrize("groups", [("all",) * 5, FAMILIES])
@given(seed=st.integers(0, 99))
def test_permuted_tasks_have_the_masks_of_another_one_of_their_group(groups: Sequence[str], seed: int) -> None:
    masks = draw(seed)
    permuted = permute_tasks(masks, groups, seed)
    before, after = rows(masks), rows(permuted)
    assert sorted(before) == sorted(after)
    for task in range(5):
        giver = before.index(after[task])
        assert giver != task
        assert groups[giver] == groups[task]


def test_overlaps_stay_when_all_tasks_exchange_their_masks() -> None:
    masks = draw(1)
    permuted = permute_tasks(masks, ["all"] * 5, seed=3)
    for layer in masks.layers:
        before, after = masks.iou(layer), permuted.iou(layer)
        assert np.allclose(sorted(before.ravel()), sorted(after.ravel()))


def test_a_task_alone_in_its_group_is_refused() -> None:
    with pytest.raises(NeuronspecError, match=r"fr-en is the only task of its group \(Romance\), so that .*: add such"):
        permute_tasks(draw(0), ["Germanic", "Germanic", "Romance", "Slavic", "Slavic"])


@given(seed=st.integers(0, 99))
def test_pooled_tasks_share_the_neurons_that_most_of_them_have(seed: int) -> None:
    masks = draw(seed)
    pooled = pool_tasks(masks, FAMILIES, seed)
    for layer in masks.layers:
        for members in ([0, 1], [2, 3, 4]):
            own, shared = masks.layer(layer)[members], pooled.layer(layer)[members]
            assert (shared == shared[0]).all()
            assert abs(shared[0].sum() - own.sum(1).double().mean()) <= 0.5

            # No neuron that is left out has more votes than one that is in.
            votes = own.sum(0)
            assert votes[shared[0]].min() >= votes[~shared[0]].max()


def test_a_group_of_one_keeps_its_masks() -> None:
    masks = draw(7)
    assert rows(pool_tasks(masks, list(range(5)))) == rows(masks)


def test_the_signature_says_what_the_masks_are_made_of() -> None:
    masks = draw(2)
    made = [share_random(masks), permute_tasks(masks, FAMILIES), pool_tasks(masks, FAMILIES)]
    for control, rule in zip(made, ["one random mask", "of other tasks", "of groups of tasks"], strict=True):
        assert control.signature == {"rule": f"{rule}, made of: coverage", "k": "0.95", "seed": "0"}
        assert control != masks
