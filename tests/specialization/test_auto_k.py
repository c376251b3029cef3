"""Searching for k: the smallest one from which on the loss stays within the tolerance."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.recording import record_activations
from neuronspec.specialization.auto_k import K_GRID, KCurve, search_k
from neuronspec.specialization.masking import find_specialization, get_masks, specialize
from neuronspec.specialization.routing import unspecialize

TASKS = ["de-en", "en-de", "de-en", "en-de"]

positive = st.floats(0.1, 10)
tolerances = st.floats(0, 2)


def make_curve(losses: list[float], tolerance: float) -> KCurve:
    ks = tuple(np.linspace(0, 1, len(losses)).tolist()) if len(losses) > 1 else (1.0,)
    return KCurve(ks, tuple(losses), tuple(1 - k for k in ks), tolerance)


def choose_naively(curve: KCurve) -> float:
    """Walk down from k = 1 for as long as the loss is within the tolerance."""
    chosen = curve.ks[-1]
    for share, loss in reversed(list(zip(curve.ks, curve.losses, strict=True))):
        if loss > curve.losses[-1] * (1 + curve.tolerance):
            break
        chosen = share
    return chosen


@pytest.fixture
def model(small_model: Callable[..., PreTrainedModel]) -> PreTrainedModel:
    return small_model()


@pytest.fixture
def batch(small_batch: Callable[..., dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return small_batch()


@pytest.fixture
def counts(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> ActivationCounts:
    return record_activations(model, [{**batch, "tasks": TASKS}], "token")


@pytest.fixture
def measure(batch: dict[str, torch.Tensor]) -> Callable[[PreTrainedModel], float]:
    """The mean entropy of what a model says of the batch: positive, and another with every mask."""

    def of(model: PreTrainedModel) -> float:
        with torch.no_grad():
            logits = model(**batch, tasks=TASKS).logits
        return float(torch.special.entr(logits.softmax(-1)).sum(-1).mean())

    return of


@given(st.lists(positive, min_size=1, max_size=12), tolerances)
def test_the_smallest_k_from_which_on_the_loss_stays_within_the_tolerance_is_chosen(
    losses: list[float], tolerance: float
) -> None:
    curve = make_curve(losses, tolerance)
    assert curve.chosen == choose_naively(curve)


@given(st.lists(positive, min_size=1, max_size=12), tolerances, tolerances)
def test_more_tolerance_never_means_a_larger_k(losses: list[float], one: float, two: float) -> None:
    strict, lax = sorted((one, two))
    assert make_curve(losses, lax).chosen <= make_curve(losses, strict).chosen


@pytest.mark.parametrize(
    ("losses", "chosen"),
    [
        ([3.0, 2.01, 2.0], 0.5),
        ([2.0, 3.0, 2.0], 1.0),  # a smaller k that happens to be as good does not count
        ([1.0, 1.5, 2.0], 0.0),  # masks may also help
        ([3.0, 2.02, 2.0], 0.5),  # exactly at the tolerance
        ([3.0, 2.03, 2.0], 1.0),
    ],
)
def test_the_choice_by_hand(losses: list[float], chosen: float) -> None:
    assert make_curve(losses, 0.01).chosen == chosen


def test_a_curve_is_json_that_says_everything() -> None:
    curve = KCurve((0.5, 1.0), (2.5, 2.0), (0.4, 0.0), 0.25)
    assert json.loads(json.dumps(curve.as_dict())) == {
        "chosen": 0.5,
        "tolerance": 0.25,
        "curve": [{"k": 0.5, "loss": 2.5, "sparsity": 0.4}, {"k": 1.0, "loss": 2.0, "sparsity": 0.0}],
    }


def test_each_k_is_measured_under_its_masks(
    model: PreTrainedModel, counts: ActivationCounts, measure: Callable[[PreTrainedModel], float]
) -> None:
    curve = search_k(model, counts, measure, ks=[0.9, 0.4])
    assert curve.ks == (0.4, 0.9, 1.0)  # in order, and 1 is always there
    for share, loss, sparsity in zip(curve.ks, curve.losses, curve.sparsities, strict=True):
        masks = NeuronMasks.from_counts(counts, share)
        assert loss == measure(specialize(model, masks))
        assert sparsity == pytest.approx(np.mean([off.mean() for off in masks.sparsity().values()]))
    assert len(set(curve.losses)) == 3, "the masks change nothing: the test would prove nothing"


def test_twelve_k_are_tried_from_a_half_to_all(
    model: PreTrainedModel, counts: ActivationCounts, measure: Callable[[PreTrainedModel], float]
) -> None:
    curve = search_k(model, counts, measure)
    assert curve.ks == K_GRID
    assert len(K_GRID) == 12
    assert (K_GRID[0], K_GRID[-1]) == (0.5, 1.0)
    assert list(curve.sparsities) == sorted(curve.sparsities, reverse=True)
    assert curve.sparsities[-1] == 0
    assert curve.tolerance == 0.01


def test_the_masks_are_made_as_one_says(
    model: PreTrainedModel, counts: ActivationCounts, measure: Callable[[PreTrainedModel], float]
) -> None:
    def top(counts: ActivationCounts, share: float) -> NeuronMasks:
        return NeuronMasks.from_counts(counts, share, rule="top")

    curve = search_k(model, counts, measure, choose=top, ks=[0.25, 0.5])
    assert curve.sparsities == (0.75, 0.5, 0.0)


@pytest.mark.parametrize("before", ["dense", "specialised"])
def test_the_model_is_dense_afterwards(
    before: str,
    model: PreTrainedModel,
    counts: ActivationCounts,
    batch: dict[str, torch.Tensor],
    measure: Callable[[PreTrainedModel], float],
) -> None:
    expected, keys = model(**batch).logits, list(model.state_dict())
    if before == "specialised":
        specialize(model, NeuronMasks.from_counts(counts, 0.3))
    search_k(model, counts, measure, ks=[0.5])
    assert get_masks(model) is None
    assert list(model.state_dict()) == keys
    assert torch.equal(model(**batch).logits, expected)  # without tasks: nothing asks for them any more


@pytest.mark.parametrize("failure", [RuntimeError("out of memory"), KeyboardInterrupt(), NeuronspecError("no")])
@pytest.mark.parametrize("after", [0, 2])
def test_the_model_is_dense_also_where_measuring_fails(
    failure: BaseException,
    after: int,
    model: PreTrainedModel,
    counts: ActivationCounts,
    batch: dict[str, torch.Tensor],
) -> None:
    expected, calls = model(**batch).logits, itertools.count()

    def fail(model: PreTrainedModel) -> float:
        assert find_specialization(model) is not None
        if next(calls) == after:
            raise failure
        return 1.0

    with pytest.raises(type(failure)):
        search_k(model, counts, fail)
    assert get_masks(model) is None
    assert torch.equal(model(**batch).logits, expected)


@pytest.mark.parametrize("loss", [0.0, -1.0, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_losses_of_which_a_share_means_nothing_are_refused(
    loss: float, place: int, model: PreTrainedModel, counts: ActivationCounts
) -> None:
    losses = [2.0, 2.0, 2.0]
    losses[place] = loss
    measured = iter(losses)
    with pytest.raises(NeuronspecError, match=r"the losses with k = \[0.5, 0.9, 1.0\] are .*: expected positive"):
        search_k(model, counts, lambda _: next(measured), ks=[0.5, 0.9])
    assert get_masks(model) is None


@pytest.mark.parametrize("share", [-0.1, 1.5, math.nan])
def test_a_k_that_is_no_share_is_refused(share: float, model: PreTrainedModel, counts: ActivationCounts) -> None:
    with pytest.raises(NeuronspecError):
        search_k(model, counts, lambda _: 1.0, ks=[share])
    unspecialize(model)
