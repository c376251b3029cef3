from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.activity import Unit
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.rules import RULES
from neuronspec.neurons.selection import select_neurons

WIDTHS = {"encoder.0": 12, "encoder.1": 9, "decoder.0": 17}


def make_counts(
    values: Mapping[str, Any], total: int = 100, unit: Unit = "token", signature: Mapping[str, str] | None = None
) -> ActivationCounts:
    tensors = {layer: torch.as_tensor(np.asarray(rows), dtype=torch.int64) for layer, rows in values.items()}
    tasks = len(next(iter(tensors.values())))
    totals = {layer.partition(".")[0]: torch.full((tasks,), total) for layer in tensors}
    return ActivationCounts(tuple(f"x{row}-en" for row in range(tasks)), tensors, totals, unit, signature or {})


def draw_counts(seed: int, tasks: int = 3, high: int = 100) -> ActivationCounts:
    draw = np.random.default_rng(seed)
    return make_counts({layer: draw.integers(0, high, (tasks, width)) for layer, width in WIDTHS.items()})


def test_the_rules_are_these() -> None:
    assert list(RULES) == ["coverage", "top", "random", "lape", "released"]


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 100), min_size=3, max_size=3))
def test_coverage_selects_with_the_k_of_each_layer(seed: int, ks: list[int]) -> None:
    counts = draw_counts(seed)
    shares = {layer: k / 100 for layer, k in zip(WIDTHS, ks, strict=True)}
    selected = RULES["coverage"](counts, k=shares)
    assert list(selected) == list(WIDTHS)
    for layer, k in shares.items():
        assert selected[layer].equal(select_neurons(counts.values[layer], k))


@settings(max_examples=60)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=21), st.integers(0, 100))
def test_top_takes_the_most_frequent_ones_rounded_to_the_nearest_number(row: list[int], percent: int) -> None:
    size = math.floor(Fraction(percent, 100) * len(row) + Fraction(1, 2))
    first = sorted(range(len(row)), key=lambda neuron: (-row[neuron], neuron))[:size]
    selected = RULES["top"](make_counts({"decoder.0": [row]}), k={"decoder.0": percent / 100})["decoder.0"]
    assert selected.shape == (1, len(row))
    assert selected[0].nonzero()[:, 0].tolist() == sorted(first)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (0, 0),
        (0.04, 0),
        (0.05, 1),
        (0.1, 1),
        (0.14, 1),
        (0.15, 2),
        (0.25, 3),
        (0.35, 4),
        (0.949, 9),
        (0.95, 10),
        (1, 10),
    ],
)
def test_top_rounds_a_half_up_whatever_the_binary_share(k: float, expected: int) -> None:
    selected = RULES["top"](make_counts({"encoder.0": [[3] * 10]}), k={"encoder.0": k})["encoder.0"]
    assert selected[0].tolist() == [True] * expected + [False] * (10 - expected)


def test_top_counts_neurons_that_never_fired_too() -> None:
    counts = make_counts({"encoder.0": [[0, 9, 0, 0], [0, 0, 0, 0]]})
    selected = RULES["top"](counts, k={"encoder.0": 0.5})["encoder.0"]
    assert selected.tolist() == [[True, True, False, False], [True, True, False, False]]


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(0, 100), st.integers(0, 10**6))
def test_random_selects_as_many_as_coverage(draw: int, percent: int, seed: int) -> None:
    counts, k = draw_counts(draw), dict.fromkeys(WIDTHS, percent / 100)
    covered, drawn = RULES["coverage"](counts, k=k), RULES["random"](counts, k=k, seed=seed)
    for layer in WIDTHS:
        assert drawn[layer].dtype == torch.bool
        assert drawn[layer].sum(1).equal(covered[layer].sum(1))


def test_random_depends_on_its_seed_alone() -> None:
    counts, k = draw_counts(0), dict.fromkeys(WIDTHS, 0.7)
    one, again, other = (RULES["random"](counts, k=k, seed=seed) for seed in (5, 5, 6))
    assert all(one[layer].equal(again[layer]) for layer in WIDTHS)
    assert not all(one[layer].equal(other[layer]) for layer in WIDTHS)
    assert all(
        RULES["random"](counts, k=k)[layer].equal(RULES["random"](counts, k=k, seed=0)[layer]) for layer in WIDTHS
    )
    assert not one["encoder.0"].equal(RULES["coverage"](counts, k=k)["encoder.0"])


def test_random_draws_each_task_and_layer_anew() -> None:
    counts = make_counts({layer: [[1] * 64] * 2 for layer in ("encoder.0", "decoder.0")})
    drawn = RULES["random"](counts, k={"encoder.0": 0.5, "decoder.0": 0.5})
    rows = {tuple(row) for layer in drawn.values() for row in layer.tolist()}
    assert len(rows) == 4


def lape_by_hand(counts: ActivationCounts, share: float, bar: float) -> dict[str, list[list[bool]]]:
    """LAPE, neuron by neuron, as baselines.md describes the authors' code; ties: the first neuron."""
    tasks = range(len(counts.tasks))
    places = [(layer, neuron) for layer in counts.layers for neuron in range(counts.values[layer].shape[1])]
    p = {}
    for layer, neuron in places:
        totals = counts.totals[layer.split(".")[0]]
        p[layer, neuron] = [int(counts.values[layer][task, neuron]) / int(totals[task]) for task in tasks]
    ranked = sorted(value for values in p.values() for value in values)
    limit = ranked[max(half_even(bar, len(ranked)), 1) - 1]  # the k-th smallest
    entropies = {}
    for place, values in p.items():
        if max(values) > limit:
            q = [value / sum(values) for value in values]
            entropies[place] = round(-math.fsum(x * math.log(x) for x in q if x > 0), 10)  # equal but for the noise
    chosen = sorted(entropies, key=lambda place: (entropies[place], places.index(place)))[
        : half_even(share, len(places))
    ]
    selected = {layer: np.zeros((len(tasks), width), dtype=bool) for layer, width in widths_of(counts).items()}
    for layer, neuron in chosen:
        selected[layer][:, neuron] = [value > limit for value in p[layer, neuron]]
    return {layer: mask.tolist() for layer, mask in selected.items()}


def half_even(share: float, number: int) -> int:
    return int((Decimal(str(share)) * number).to_integral_value(ROUND_HALF_EVEN))


def widths_of(counts: ActivationCounts) -> dict[str, int]:
    return {layer: values.shape[1] for layer, values in counts.values.items()}


def listed(selection: Mapping[str, torch.Tensor]) -> dict[str, list[list[bool]]]:
    return {layer: mask.tolist() for layer, mask in selection.items()}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.37, 1.0])
@pytest.mark.parametrize("bar", [0.0, 0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_lape_is_what_its_authors_code_does(share: float, bar: float, tasks: int) -> None:
    draw = np.random.default_rng(tasks)
    for _ in range(4):
        values = {layer: draw.integers(0, 10**6, (tasks, width)) for layer, width in WIDTHS.items()}
        for rows in values.values():  # silent for some tasks, and for all
            rows[draw.random(rows.shape) < 0.2] = 0
            rows[:, draw.random(rows.shape[1]) < 0.2] = 0
        counts = make_counts(values, total=10**6)
        assert listed(RULES["lape"](counts, share=share, bar=bar)) == lape_by_hand(counts, share, bar)


def test_lape_divides_by_the_total_of_each_task_and_stack() -> None:
    # By counts all three neurons are alike; by shares the first task uses them ten times as often.
    values = {"encoder.0": torch.tensor([[50, 40], [50, 40]]), "decoder.0": torch.tensor([[50], [50]])}
    totals = {"encoder": torch.tensor([100, 1000]), "decoder": torch.tensor([1000, 100])}
    counts = ActivationCounts(("de", "en"), values, totals, "token")
    selected = listed(RULES["lape"](counts, share=1, bar=0.5))
    assert selected == {"encoder.0": [[True, True], [False, False]], "decoder.0": [[False], [True]]}
    assert selected == lape_by_hand(counts, 1, 0.5)


def test_lape_selects_the_neuron_of_one_language_alone() -> None:
    counts = make_counts({"decoder.0": [[90, 80, 60, 0], [90, 0, 70, 0], [90, 0, 0, 0]]})
    selected = RULES["lape"](counts, share=0.25, bar=0.5)["decoder.0"]
    assert selected.tolist() == [[False, True, False, False], [False] * 4, [False] * 4]


def test_lape_gives_a_neuron_to_every_task_above_the_bar() -> None:
    counts = make_counts({"decoder.0": [[90, 80, 60, 0], [90, 0, 70, 0], [90, 0, 0, 0]]})
    selected = RULES["lape"](counts, share=0.5, bar=0.5)["decoder.0"]
    assert selected.tolist() == [[False, True, True, False], [False, False, True, False], [False] * 4]


def test_lape_never_selects_neurons_that_are_always_silent() -> None:
    counts = make_counts({"decoder.0": [[0, 5, 0, 1], [0, 5, 0, 4]]})  # entropy 0, were they not filtered
    selected = RULES["lape"](counts, share=1, bar=0.25)["decoder.0"]
    assert selected.tolist() == [[False, True, False, True], [False, True, False, True]]


@pytest.mark.parametrize(
    ("unit", "hint"), [("sentence", "; LAPE counts tokens: record with unit='token'"), ("token", "")]
)
@pytest.mark.parametrize(
    ("rows", "bar", "limit"),
    [
        ([[0, 0], [0, 0]], 0, "0"),  # all silent
        ([[100, 100], [100, 100]], 0.95, "1"),  # every sentence activates every neuron
        ([[1, 2], [50, 4]], 1, "0.5"),
    ],
)
def test_lape_refuses_counts_that_no_neuron_stands_out_of(
    rows: list[list[int]], bar: float, limit: str, unit: Unit, hint: str
) -> None:
    counts = make_counts({"decoder.0": rows}, unit=unit)
    message = f"no activation probability is above their {bar} quantile, {limit}{hint}"
    with pytest.raises(NeuronspecError, match=f"^{re.escape(message)}$"):
        RULES["lape"](counts, bar=bar)


@pytest.mark.parametrize(("share", "expected"), [(0.25, 2), (0.5, 4), (0.625, 5), (1, 8)])
def test_lape_ties_go_to_the_earlier_layer_and_then_the_lower_index(share: float, expected: int) -> None:
    # Eight neurons that one task uses alone (entropy 0), of different strength; none of the other task.
    counts = make_counts({"encoder.0": [[51, 99, 53, 98], [0] * 4], "decoder.0": [[97, 55, 96, 57], [0] * 4]})
    selected = RULES["lape"](counts, share=share, bar=0.5)
    both = torch.cat([selected["encoder.0"], selected["decoder.0"]], dim=1)
    assert both[0].tolist() == [True] * expected + [False] * (8 - expected)
    assert not both[1].any()


@pytest.mark.parametrize("base", [(4, 11, 13), (1, 2, 4), (3, 5, 7), (1, 7, 11), (2, 3, 13)])
def test_lape_entropies_that_differ_by_rounding_only_are_ties(base: tuple[int, ...]) -> None:
    # The same three shares in six orders: six equal entropies, whatever the order of the sum.
    counts = make_counts({"decoder.0": np.array(list(itertools.permutations(base))).T}, total=16)
    selected = RULES["lape"](counts, share=0.5, bar=0.01)["decoder.0"]
    assert selected.any(0).tolist() == [True, True, True, False, False, False]


@pytest.mark.parametrize("width", [33, 65, 130])
@pytest.mark.parametrize("tasks", [30, 60])
def test_lape_neurons_that_are_alike_are_ties_wherever_they_stand(width: int, tasks: int) -> None:
    draw = np.random.default_rng(tasks)
    for _ in range(10):
        column = draw.integers(1, 50, (tasks, 1)).repeat(width, axis=1)
        selected = RULES["lape"](make_counts({"decoder.0": column}), share=0.5, bar=0.01)["decoder.0"].any(0)
        size = int(selected.sum())
        assert 0 < size < width
        assert selected[:size].all()


def as_released(row: torch.Tensor, percent: int) -> list[bool]:
    """The selection of the paper's released code, of one task and layer, as facts.md 2 describes it."""
    target = row.sum() * (percent / 100)
    assert target.dtype == torch.float32
    ranked, order = torch.sort(row, descending=True, stable=True)
    reached = (torch.cumsum(ranked, 0) >= target).nonzero()[:, 0].tolist()
    size = reached[0] + 1 if reached else len(row)
    chosen = set(order[:size].tolist())
    return [neuron in chosen for neuron in range(len(row))]


@settings(max_examples=80)
@given(
    st.integers(0, 10**6),
    st.sampled_from([0, 1, 50, 70, 95, 99, 100]),
    st.sampled_from([2, 100, 2**20, 2**26, 2**31, 2**50]),
)
def test_released_is_what_the_released_code_does(seed: int, percent: int, high: int) -> None:
    counts = draw_counts(seed, high=high)
    selected = RULES["released"](counts, k=dict.fromkeys(WIDTHS, percent / 100))
    for layer, rows in counts.values.items():
        assert selected[layer].tolist() == [as_released(row, percent) for row in rows]


@pytest.mark.parametrize(
    ("row", "k", "expected"),
    [
        ([3, 9, 0, 4], 0, [False, True, False, False]),  # never none
        ([0, 0, 0, 0], 0.95, [True, False, False, False]),
        ([0, 0, 0, 0], 0, [True, False, False, False]),
        ([0, 0, 0, 0], 1, [True, False, False, False]),
        ([3, 9, 0, 4], 1, [True, True, False, True]),  # k = 1 stops when the total is reached
        ([2, 5, 5, 2], 0.5, [False, True, True, False]),
        ([5, 5, 5, 5], 0.5, [True, True, False, False]),
        ([2**24, 1], 1, [True, False]),  # 2**24 + 1 is 2**24 in 32 bits
    ],
)
def test_released_has_the_edges_of_the_released_code(row: list[int], k: float, expected: list[bool]) -> None:
    counts = make_counts({"encoder.0": [row]})
    assert RULES["released"](counts, k={"encoder.0": k})["encoder.0"].tolist() == [expected]
    assert as_released(torch.tensor(row), round(100 * k)) == expected


def test_released_and_coverage_agree_on_small_counts_at_95_percent() -> None:
    for seed in range(20):
        counts, k = draw_counts(seed), dict.fromkeys(WIDTHS, 0.95)
        assert listed(RULES["released"](counts, k=k)) == listed(RULES["coverage"](counts, k=k))


@pytest.mark.parametrize("rule", ["coverage", "top", "random", "released"])
def test_from_counts_gives_each_layer_its_k(rule: str) -> None:
    counts = draw_counts(1)
    masks = NeuronMasks.from_counts(counts, 0.9, encoder_k=0.6, decoder_k=0.3, layer_k={"encoder.1": 0.1}, rule=rule)
    expected = RULES[rule](counts, k={"encoder.0": 0.6, "encoder.1": 0.1, "decoder.0": 0.3})
    assert (masks.tasks, masks.layers, masks.widths) == (counts.tasks, counts.layers, WIDTHS)
    assert all(masks.layer(layer).equal(expected[layer]) for layer in WIDTHS)


@pytest.mark.parametrize("rule", ["coverage", "top", "random", "released"])
def test_from_counts_k_is_that_of_the_stacks_that_have_none(rule: str) -> None:
    counts = draw_counts(2)
    masks = NeuronMasks.from_counts(counts, 0.4, decoder_k=0.8, rule=rule)
    expected = RULES[rule](counts, k={"encoder.0": 0.4, "encoder.1": 0.4, "decoder.0": 0.8})
    assert all(masks.layer(layer).equal(expected[layer]) for layer in WIDTHS)


def test_from_counts_takes_0_as_a_k_of_its_own() -> None:
    masks = NeuronMasks.from_counts(draw_counts(3), 0.9, encoder_k=0, layer_k={"decoder.0": 0})
    assert not any(masks.layer(layer).any() for layer in WIDTHS)


def test_from_counts_passes_the_options_on() -> None:
    counts = draw_counts(4)
    drawn = NeuronMasks.from_counts(counts, 0.5, rule="random", seed=7)
    assert drawn.layer("encoder.0").equal(RULES["random"](counts, k=dict.fromkeys(WIDTHS, 0.5), seed=7)["encoder.0"])
    lape = NeuronMasks.from_counts(counts, rule="lape", share=0.3, bar=0.6)
    assert {layer: lape.layer(layer).tolist() for layer in WIDTHS} == lape_by_hand(counts, 0.3, 0.6)


def test_the_signature_says_how_masks_came_about() -> None:
    counts = make_counts({layer: [range(width)] for layer, width in WIDTHS.items()}, signature={"model": "abc"})
    always = {"model": "abc", "unit": "token", "ties": "lower index first"}
    stacks = {"k.encoder": "0.95", "k.decoder": "0.5"}
    signature = NeuronMasks.from_counts(counts, decoder_k=0.5, layer_k={"encoder.1": 0.1}).signature
    assert signature == {**always, **stacks, "rule": "coverage", "k.encoder.1": "0.1"}
    signature = NeuronMasks.from_counts(counts, decoder_k=0.5, rule="random", seed=3).signature
    assert signature == {**always, **stacks, "rule": "random", "seed": "3"}
    signature = NeuronMasks.from_counts(counts, rule="lape", share=0.2, bar=0.9).signature
    assert signature == {**always, "rule": "lape", "share": "0.2", "bar": "0.9"}
    decoder = make_counts({"decoder.0": [[1, 2]]}, unit="sentence")
    signature = NeuronMasks.from_counts(decoder, k=1, rule="top").signature
    assert signature == {"rule": "top", "unit": "sentence", "ties": "lower index first", "k.decoder": "1"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "coverge"}, r"unknown selection rule 'coverge' \(did you mean 'coverage'\?\); known: coverage, top"),
        ({"rule": ""}, "unknown selection rule ''; known: "),
        ({"seed": 1}, "the rule 'coverage' has no option 'seed'; it has none"),
        ({"rule": "random", "sed": 1}, "the rule 'random' has no option 'sed'; it has seed"),
        ({"rule": "lape", "seed": 1}, "the rule 'lape' has no option 'seed'; it has share, bar"),
        ({"rule": "released", "bar": 1}, "the rule 'released' has no option 'bar'; it has none"),
        ({"layer_k": {"encoder.3": 0.5}}, r"layer_k: no layer 'encoder\.3' \(did you mean 'encoder\."),
        ({"k": 1.5}, "from 0 to 1; it is 1.5"),
        ({"k": float("nan")}, "from 0 to 1; it is nan"),
        ({"encoder_k": -0.1}, "from 0 to 1; it is -0.1"),
        ({"decoder_k": 95}, "from 0 to 1; it is 95"),
        ({"layer_k": {"encoder.1": 2}}, "from 0 to 1; it is 2"),
        ({"rule": "top", "k": 70}, "from 0 to 1; it is 70"),
        ({"rule": "random", "k": -1}, "from 0 to 1; it is -1"),
        ({"rule": "released", "k": 95}, "from 0 to 1; it is 95"),
        ({"rule": "lape", "share": 1.01}, "from 0 to 1; it is 1.01"),
        ({"rule": "lape", "bar": -1}, "from 0 to 1; it is -1"),
    ],
)
def test_from_counts_refuses_what_it_does_not_know(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(NeuronspecError, match=message):
        NeuronMasks.from_counts(draw_counts(0), **arguments)


@pytest.mark.parametrize("arguments", [{"encoder_k": 0.5}, {"decoder_k": 7}, {"layer_k": {"encoder.0": 0.5}}])
def test_a_k_for_a_rule_that_has_none_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(NeuronspecError, match="lape"):
        NeuronMasks.from_counts(draw_counts(0), rule="lape", **arguments)


def test_a_seed_that_cannot_be_is_refused() -> None:
    with pytest.raises(NeuronspecError, match="seed"):
        NeuronMasks.from_counts(draw_counts(0), rule="random", seed=-1)


@pytest.mark.parametrize("rule", list(RULES))
def test_a_rule_leaves_the_counts_alone(rule: str) -> None:
    counts = draw_counts(5)
    before = {layer: values.clone() for layer, values in counts.values.items()}
    NeuronMasks.from_counts(counts, rule=rule)
    assert all(values.equal(before[layer]) for layer, values in counts.values.items())
