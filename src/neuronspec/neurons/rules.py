"""Selection rules: pure functions from activation counts to the neurons of each task, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np
import torch

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.selection import check_share, select_neurons
from neuronspec.registry import Registry

Shares = Mapping[str, float]  # layer -> k
Selection = dict[str, torch.Tensor]  # layer -> (tasks, d_ff) boolean

# A rule takes the counts and, where it has a k, the k of every layer; what else it takes are its options.
RULES: Registry[Callable[..., Selection]] = Registry("selection rule")


@RULES.register("coverage")
def coverage(counts: ActivationCounts, k: Shares) -> Selection:
    """Select the smallest set of most frequent neurons that covers k of a layer's activation (paper, Eq. 1)."""
    return {layer: select_neurons(values, k[layer]) for layer, values in counts.values.items()}


@RULES.register("top")
def top(counts: ActivationCounts, k: Shares) -> Selection:
    """Select the share k of a layer's neurons, the most frequent ones: rounded to the nearest number."""
    selected = {}
    for layer, values in counts.values.items():
        size = int(check_share(k[layer]) * values.shape[1] + Fraction(1, 2))
        selected[layer] = _first(torch.sort(values, dim=1, descending=True, stable=True).indices, size)
    return selected


@RULES.register("random")
def random(counts: ActivationCounts, k: Shares, seed: int = 0) -> Selection:
    """Select random neurons, as many as `coverage` selects for each task and layer: the control."""
    return draw_like(coverage(counts, k), seed)


@RULES.register("lape")
def lape(counts: ActivationCounts, share: float = 0.01, bar: float = 0.95) -> Selection:
    """Select the neurons whose activation is most concentrated on few tasks (LAPE: Tang et al., ACL 2024).

    The entropy over tasks of each neuron's activation probabilities, normalised to 1, is taken; the `share` of all
    neurons with the lowest entropy is selected, among those that some task activates with a probability above the
    `bar` quantile of all probabilities. A selected neuron belongs to every task above that quantile. Equal entropies:
    the earlier layer, then the lower index.

    Args:
        counts: of tasks that each stand for a language; LAPE counts tokens.
        share: of all neurons of all layers.
        bar: quantile of the activation probabilities.

    Raises:
        NeuronspecError: no probability is above the bar.
    """
    probabilities = torch.cat([counts.frequencies(layer) for layer in counts.layers], dim=1)  # (tasks, neurons)
    ranked = probabilities.flatten().sort().values
    limit = ranked[max(round(check_share(bar) * len(ranked)), 1) - 1]
    likely = probabilities > limit
    if not likely.any():
        hint = "; LAPE counts tokens: record with unit='token'" if counts.unit == "sentence" else ""
        raise NeuronspecError(f"no activation probability is above their {bar:g} quantile, {float(limit):g}{hint}")
    shares = torch.nan_to_num(probabilities / probabilities.sum(0))
    # Rounded: the order in which a sum is taken must not decide between equals.
    entropy = (
        torch.special.entr(shares).sum(0).round(decimals=12).masked_fill(~likely.any(0), torch.inf)
    )  # (neurons,), in nats
    size = min(round(check_share(share) * len(entropy)), int(likely.any(0).sum()))
    chosen = _first(torch.sort(entropy, stable=True).indices[None], size)[0]
    widths = [counts.values[layer].shape[1] for layer in counts.layers]
    return dict(zip(counts.layers, torch.split(likely & chosen, widths, dim=1), strict=True))


@RULES.register("released")
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
    """Return random masks with as many neurons for each task and layer as these have."""
    if seed != int(seed) or seed < 0:
        raise NeuronspecError(f"the seed must be a whole number from 0 on, not {seed}")
    generator = np.random.default_rng(int(seed))
    drawn = {}
    for layer, mask in selection.items():
        order = torch.from_numpy(generator.random(tuple(mask.shape)).argsort(axis=1))
        drawn[layer] = _first(order, mask.sum(1, keepdim=True))
    return drawn


def check_options(rule: str, options: Mapping[str, object], known: tuple[str, ...]) -> None:
    """Refuse options that a rule does not have.

    Raises:
        NeuronspecError: one is unknown; the rule's own are named.
    """
    for name in options:
        if name not in known:
            raise NeuronspecError(f"the rule {rule!r} has no option {name!r}; it has {', '.join(known) or 'none'}")


def _first(order: torch.Tensor, size: torch.Tensor | int) -> torch.Tensor:
    """Return a mask of the first `size` of each row's `order` (rows, d_ff)."""
    selected = torch.zeros(order.shape, dtype=torch.bool)
    return selected.scatter_(1, order, (torch.arange(order.shape[1]) < size).expand(order.shape))
