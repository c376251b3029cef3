"""Masks of an ablation: switch off each language's own neurons, or as many random ones that fire as often.

Own neurons must be chosen from counts of other sentences than those on which they are measured. They fire more often
on their own text than on other texts, and more active neurons matter more: a text would get worst without its own
neurons for that reason alone. Therefore the control of a text is drawn from its other selected neurons: for each own
neuron, one of those whose frequency on this text is closest. A larger effect of own neurons is due to what they do.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.layer_names import stack_of
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks

MATCH_CANDIDATES = 8  # each control neuron is drawn from this many neurons, those of the closest frequency
TIE_JITTER = 1e-9  # less than the distance of two frequencies that differ


def choose_own_neurons(
    counts: ActivationCounts, masks: NeuronMasks, tasks: Sequence[str], stack: str, share: float = 0.05
) -> NeuronMasks:
    """Choose for each task its own neurons: of those selected, the ones that fire most above the other tasks' mean.

    Args:
        counts: Activation counts of sentences on which nothing is measured.
        masks: Masks of the selected neurons.
        tasks: Two or more tasks to compare.
        stack: `encoder` or `decoder`.
        share: Share of a layer's neurons to choose, at least one; but no more than half of the smallest mask, so that
            every task gets equally many and as many others are left to draw the control from.

    Returns:
        Masks of the layers of the stack, true at a task's own neurons. Ties: the lower index first.

    Raises:
        NeuronspecError: If counts and masks do not fit together or lack a task, or there is nothing to choose.

    Example:
        >>> values = {"encoder.0": torch.tensor([[9, 9, 8, 0], [9, 1, 8, 7]])}
        >>> counts = ActivationCounts(("de-en", "ru-en"), values, {"encoder": torch.tensor([10, 10])}, "sentence")
        >>> own = choose_own_neurons(counts, NeuronMasks.from_counts(counts, k=0.8), counts.tasks, "encoder")
        >>> own.layer("encoder.0").int().tolist()
        [[0, 1, 0, 0], [0, 0, 0, 1]]
    """
    if len(tasks) < 2 or not 0 < share < 1:
        raise NeuronspecError(
            f"found {len(tasks)} tasks and a share of {share:g}, expected two tasks or more and a share between 0 and 1"
        )
    rows, selection = _find_rows(counts, masks, tasks), masks.reorder(tasks)

    own = {}
    for layer in list_layers(masks, stack):
        selected = selection.layer(layer).numpy()  # (tasks, d_ff)
        frequencies = counts.frequencies(layer)[rows].numpy()  # (tasks, d_ff)
        others = (frequencies.sum(0) - frequencies) / (len(tasks) - 1)  # (tasks, d_ff): mean of the other tasks

        # Rounded: the order in which a sum is taken must not decide between equals.
        excess = np.where(selected, np.round(frequencies - others, 12), -np.inf)
        order = np.argsort(-excess, axis=1, kind="stable")  # (tasks, d_ff), the best first

        # Half of the smallest mask is left to draw the control from
        size = min(max(1, round(share * selected.shape[1])), int(selected.sum(1).min()) // 2)
        own[layer] = _mark(order, np.full(len(rows), size))

    if not any(mask.any() for mask in own.values()):
        raise NeuronspecError(
            f"in every {stack} layer some task has fewer than two selected neurons: too few to compare own ones with "
            "others; select more, with a larger k"
        )

    # A rule of its own, so that nobody takes a choice from the selection for the selection
    facts = {"rule": f"own neurons of: {masks.signature.get('rule', '?')}", "share": f"{share:g}"}
    return NeuronMasks(tasks, own, leave_out_bias(masks.signature) | facts)


def make_ablation_masks(
    own: NeuronMasks, masks: NeuronMasks, counts: ActivationCounts, random: int = 3, seed: int = 0
) -> NeuronMasks:
    """Make the masks of a model without each task's own neurons, and of the control without random ones.

    The control of a text is drawn from its own selected neurons, but for those chosen. For each of its own neurons,
    in random order, one is drawn from the `MATCH_CANDIDATES` remaining neurons of the closest frequency on this text:
    neurons that seldom fire on a text hardly matter, and would make any choice look good. So each text has random
    sets of its own; they depend on the seed, the task's name, and what is known of this task alone.

    Args:
        own: Own neurons from `choose_own_neurons`.
        masks: Masks of the selected neurons, in all layers of the model.
        counts: Activation counts of the same sentences.
        random: Number of random sets to draw for each text.
        seed: Seed of the draws.

    Returns:
        Masks of the tasks `without X`, and `without random N for X`, in which all other neurons are on.

    Raises:
        NeuronspecError: If masks and counts do not fit together, or there are too few neurons to draw from.

    Example:
        >>> values = {"decoder.0": torch.tensor([[9, 8, 1, 0], [0, 1, 8, 9]])}
        >>> counts = ActivationCounts(("de", "ru"), values, {"decoder": torch.tensor([10, 10])}, "sentence")
        >>> masks = NeuronMasks.from_dict({"de": {"decoder.0": [1, 1, 0, 0]}, "ru": {"decoder.0": [0, 0, 1, 1]}})
        >>> own = NeuronMasks.from_dict({"de": {"decoder.0": [1, 0, 0, 0]}, "ru": {"decoder.0": [0, 0, 0, 1]}})
        >>> off = make_ablation_masks(own, masks, counts, random=1)
        >>> off.tasks
        ('without de', 'without ru', 'without random 1 for de', 'without random 1 for ru')
        >>> off.layer("decoder.0").int().tolist()
        [[0, 1, 1, 1], [1, 1, 1, 0], [1, 0, 1, 1], [1, 1, 0, 1]]
    """
    if random < 1 or seed < 0:
        raise NeuronspecError(f"found {random} random sets and the seed {seed}, expected 1 or more, and 0 or more")
    if any(masks.widths.get(layer) != width for layer, width in own.widths.items()):
        raise NeuronspecError("the chosen neurons and the masks have different layers or widths: use one selection")

    # Everything below has one row for each task, in the order of the own neurons
    rows, selection = _find_rows(counts, masks, own.tasks), masks.reorder(own.tasks)

    # One generator for each random set draws its neurons in all layers
    names = [name_without_own(name) for name in own.tasks]
    generators = []
    for draw, name in itertools.product(range(random), own.tasks):
        names.append(name_without_random(name, draw))
        generators.append(np.random.default_rng([seed, draw, *name.encode()]))

    values = {}
    for layer, width in masks.widths.items():
        # Layers of the other stack stay whole
        off = torch.zeros(len(names), width, dtype=torch.bool)
        if layer in own.layers:
            chosen = own.layer(layer)  # (tasks, d_ff)
            pool = selection.layer(layer) & ~chosen
            _check_pool_size(layer, own.tasks, there=pool.sum(1).tolist(), wanted=chosen.sum(1).tolist())
            frequencies = counts.frequencies(layer)[rows].numpy()

            # First the rows without own neurons, then those without random ones, as in `names`
            off[: len(rows)] = chosen
            off[len(rows) :] = _draw_controls(frequencies, chosen.numpy(), pool.numpy(), generators=generators)
        values[layer] = ~off  # True where a neuron is on

    # The draws are part of what the masks are, so they belong in their signature
    facts = {"random": str(random), "seed": str(seed)}
    return NeuronMasks(names, values, leave_out_bias(own.signature) | facts)


def name_without_own(task: str) -> str:
    """Return the name of the masks without a task's own neurons."""
    return f"without {task}"


def name_without_random(task: str, draw: int) -> str:
    """Return the name of the masks without random neurons of a task, by the number of the draw from 0."""
    return f"without random {draw + 1} for {task}"


def list_layers(masks: NeuronMasks, stack: str) -> list[str]:
    """Return the layers of a stack.

    Raises:
        NeuronspecError: If there are none.
    """
    layers = [layer for layer in masks.layers if stack_of(layer) == stack]
    if not layers:
        raise NeuronspecError(f"the masks have no layers of the stack {stack!r}; they have {', '.join(masks.layers)}")
    return layers


def _draw_controls(
    frequencies: NDArray[np.float64],
    chosen: NDArray[np.bool_],
    pool: NDArray[np.bool_],
    *,
    generators: Sequence[np.random.Generator],
) -> torch.Tensor:
    """Return the (draws * tasks, d_ff) random neurons of each task, draw by draw; see `_draw_matched`."""
    drawn = torch.zeros(len(generators), chosen.shape[1], dtype=torch.bool)
    for number, generator in enumerate(generators):
        row = number % len(chosen)  # the task
        neurons = _draw_matched(frequencies[row], chosen[row], pool[row], generator=generator)
        drawn[number, neurons] = True
    return drawn


def _draw_matched(
    frequencies: NDArray[np.float64],
    chosen: NDArray[np.bool_],
    pool: NDArray[np.bool_],
    *,
    generator: np.random.Generator,
) -> list[int]:
    """Draw for each chosen neuron another one of the pool that fires about as often, none twice.

    Args:
        frequencies: (d_ff,) how often each neuron fires.
        chosen: (d_ff,) true at the neurons to draw for.
        pool: (d_ff,) true at the neurons to draw from, at least as many.
        generator: Random generator of the draws.
    """
    frequencies = frequencies + TIE_JITTER * generator.random(len(frequencies))  # puts equals in a random order
    [wanted], [left] = chosen.nonzero(), pool.nonzero()

    # The remaining neurons of the pool, sorted by their rates
    left = left[frequencies[left].argsort()]
    neurons, rates = left.tolist(), frequencies[left].tolist()

    # Own neurons choose in random order, so that none always finds the best match
    drawn = []
    wanted_rates = generator.permutation(frequencies[wanted]).tolist()
    lucks = generator.random(len(wanted)).tolist()
    for rate, luck in zip(wanted_rates, lucks, strict=True):
        # In sorted order, the nearest ones are among as many on either side.
        place = bisect_left(rates, rate)
        around = range(max(place - MATCH_CANDIDATES, 0), min(place + MATCH_CANDIDATES, len(rates)))
        nearest = sorted((abs(rates[position] - rate), position) for position in around)[:MATCH_CANDIDATES]

        # What is drawn leaves the pool, so that no neuron is drawn twice
        _, position = nearest[int(luck * len(nearest))]
        del rates[position]
        drawn.append(neurons.pop(position))
    return drawn


def _check_pool_size(layer: str, tasks: Sequence[str], *, there: Sequence[int], wanted: Sequence[int]) -> None:
    for name, found, expected in zip(tasks, there, wanted, strict=True):
        if found < expected:
            raise NeuronspecError(
                f"{name} has {found} selected neurons in {layer} besides its own {expected}: "
                "too few to draw the control from; choose a smaller share"
            )


def _find_rows(counts: ActivationCounts, masks: NeuronMasks, tasks: Sequence[str]) -> list[int]:
    """Return which rows of the counts are those of the tasks, after checking that counts and masks fit together."""
    # Rows are found by name: counts may hold more tasks, in another order
    if counts.widths != masks.widths:
        raise NeuronspecError("counts and masks have different layers or widths: give counts of the masks' model")
    for name in tasks:
        if name not in counts.tasks:
            raise NeuronspecError(f"no counts for the task {name!r}{did_you_mean(name, counts.tasks)}")
    return [counts.tasks.index(name) for name in tasks]


def _mark(order: NDArray[np.int64], sizes: NDArray[np.int64]) -> torch.Tensor:
    """Return a (rows, d_ff) mask of the first neurons of each row's order, as many as its size."""
    marked = np.zeros(order.shape, dtype=np.bool_)

    # At the place of the n-th neuron of the order: whether n is below the size
    np.put_along_axis(marked, order, np.arange(order.shape[1]) < sizes[:, None], axis=1)
    return torch.from_numpy(marked)


def leave_out_bias(signature: Mapping[str, str]) -> dict[str, str]:
    """Return the signature without the setting that keeps a masked neuron's bias: a neuron that is off is silent."""
    return {name: value for name, value in signature.items() if name != "bias"}
