"""Selection rules: pure functions from activation counts to the neurons of each task, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TypeVar

import numpy as np
import torch

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.selection import check_share, select_neurons
from neuronspec.registry import Registry

Shares = Mapping[str, float]  # layer -> k
Selection = dict[str, torch.Tensor]  # layer -> (tasks, d_ff) boolean

Rule = Callable[..., Selection]
AnyRule = TypeVar("AnyRule", bound=Rule)

RULES: Registry[Rule] = Registry("selection rule")
"""Every selection rule, by name: a function of counts and, if it has a k, that of every layer; its options follow."""

_BY_ROW = "selects_by_row"  # the attribute that marks such rules


def by_row(rule: AnyRule) -> AnyRule:
    """Mark a rule that selects for each task and layer on its own, without a look at other rows and without chance.

    Only such a rule can be repeated on the counts of a few sentences, as resampling does.

    Args:
        rule: Rule to mark; this works as a decorator.
    """
    setattr(rule, _BY_ROW, True)
    return rule


def is_by_row(rule: Rule) -> bool:
    """Return whether a rule selects for each task and layer on its own."""
    return getattr(rule, _BY_ROW, False)


def takes_k(rule: Rule) -> bool:
    """Return whether a rule has a k, the share to cover or to select."""
    return "k" in inspect.signature(rule).parameters


def list_options(rule: Rule) -> tuple[str, ...]:
    """Return the names of the options of a rule."""
    # The first parameter is the counts.
    return tuple(name for name in [*inspect.signature(rule).parameters][1:] if name != "k")


@RULES.register("coverage")
@by_row
def coverage(counts: ActivationCounts, k: Shares) -> Selection:
    """Select the smallest set of most frequent neurons that covers k of a layer's activation (paper, Eq. 1)."""
    return {layer: select_neurons(values, k[layer]) for layer, values in counts.values.items()}


@RULES.register("top")
@by_row
def top(counts: ActivationCounts, k: Shares) -> Selection:
    """Select the share k of a layer's neurons, the most frequent ones; their number is rounded to the nearest."""
    selected = {}
    for layer, values in counts.values.items():
        # Half a neuron is rounded up; shares are fractions, so there is no other rounding.
        size = int(check_share(k[layer]) * values.shape[1] + Fraction(1, 2))
        selected[layer] = _first(torch.sort(values, dim=1, descending=True, stable=True).indices, size)
    return selected


@RULES.register("random")
def random(counts: ActivationCounts, k: Shares, seed: int = 0) -> Selection:
    """Select random neurons, as many as `coverage` selects for each task and layer: the random baseline."""
    return draw_like(coverage(counts, k), seed)


@RULES.register("lape")
def lape(counts: ActivationCounts, share: float = 0.01, bar: float = 0.95) -> Selection:
    """Select the neurons whose activation is most concentrated on few tasks (LAPE: Tang et al., ACL 2024).

    For each neuron, its activation probabilities are normalized to sum to 1 over the tasks, and their entropy is taken.
    Among the neurons that some task activates with a probability above the `bar` quantile of all probabilities, those
    with the lowest entropy are selected: a `share` of all neurons. A selected neuron belongs to every task above that
    quantile. Of equal entropies, the earlier layer comes first, then the lower index.

    Args:
        counts: Counts of tasks that each stand for a language; LAPE counts tokens.
        share: Share of all neurons of all layers to select.
        bar: Quantile of the activation probabilities.

    Raises:
        NeuronspecError: If no probability is above the bar.
    """
    # Which neurons are likely at all
    probabilities = torch.cat([counts.frequencies(layer) for layer in counts.layers], dim=1)  # (tasks, neurons)
    ranked = probabilities.flatten().sort().values
    limit = ranked[max(round(check_share(bar) * len(ranked)), 1) - 1]
    likely = probabilities > limit
    if not likely.any():
        hint = "; LAPE counts tokens: record with unit='token'" if counts.unit == "sentence" else ""
        raise NeuronspecError(f"no activation probability is above their {bar:g} quantile, {float(limit):g}{hint}")

    # Entropy over tasks, in nats. Rounded: the order in which a sum is taken must not decide between equals.
    shares = torch.nan_to_num(probabilities / probabilities.sum(0))
    entropy = torch.special.entr(shares).sum(0).round(decimals=12)  # (neurons,)
    entropy = entropy.masked_fill(~likely.any(0), torch.inf)

    # The lowest ones
    size = min(round(check_share(share) * len(entropy)), int(likely.any(0).sum()))
    chosen = _first(torch.sort(entropy, stable=True).indices[None], size)[0]

    widths = [counts.values[layer].shape[1] for layer in counts.layers]
    return dict(zip(counts.layers, torch.split(likely & chosen, widths, dim=1), strict=True))


@RULES.register("released")
@by_row
def released(counts: ActivationCounts, k: Shares) -> Selection:
    """Select as the paper's released code does: Eq. 1 in 32-bit floating point, and never an empty set.

    k = 0 selects one neuron, k = 1 none that was never active, and above 2^24 activations the boundary may be a few
    neurons off. Equally frequent neurons: the lower index first (there: in no particular order).
    """
    selected = {}
    for layer, values in counts.values.items():
        ranked, order = torch.sort(values, dim=1, descending=True, stable=True)
        goal = values.sum(1, keepdim=True).float() * float(check_share(k[layer]))
        reached = ranked.cumsum(1).float() >= goal
        # The first position that reaches the goal; rounding may let none reach it: then all.
        size = torch.where(reached.any(1), reached.int().argmax(1) + 1, values.shape[1])
        selected[layer] = _first(order, size[:, None])
    return selected


def draw_like(selection: Mapping[str, torch.Tensor], seed: int = 0) -> Selection:
    """Return random masks with as many neurons for each task and layer as a selection has.

    Args:
        selection: For each layer, (tasks, d_ff) boolean.
        seed: Seed of the random draw.

    Raises:
        NeuronspecError: If the seed is no whole number from 0 on.
    """
    if seed != int(seed) or seed < 0:
        raise NeuronspecError(f"the seed must be a whole number from 0 on, not {seed}")

    generator = np.random.default_rng(int(seed))
    drawn = {}
    for layer, mask in selection.items():
        # A random order of the neurons, from which the first ones are taken
        order = torch.from_numpy(generator.random(tuple(mask.shape)).argsort(axis=1))
        drawn[layer] = _first(order, mask.sum(1, keepdim=True))
    return drawn


def check_options(rule: str, options: Mapping[str, object], known: tuple[str, ...]) -> None:
    """Refuse options that a rule does not have.

    Args:
        rule: Name of the rule.
        options: Options that were given.
        known: Names of the options that the rule has.

    Raises:
        NeuronspecError: If an option is unknown; the message names the known ones.
    """
    for name in options:
        if name not in known:
            raise NeuronspecError(f"the rule {rule!r} has no option {name!r}; it has {', '.join(known) or 'none'}")


def _first(order: torch.Tensor, size: torch.Tensor | int) -> torch.Tensor:
    """Return a mask of the first `size` of each row's `order` (rows, d_ff)."""
    selected = torch.zeros(order.shape, dtype=torch.bool)
    return selected.scatter_(1, order, (torch.arange(order.shape[1]) < size).expand(order.shape))
