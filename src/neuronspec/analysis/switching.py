"""Which neurons to switch off: each language's own, or random ones, equally many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks


def choose_own(
    counts: ActivationCounts, masks: NeuronMasks, tasks: Sequence[str], stack: str, share: float = 0.05
) -> NeuronMasks:
    """Choose for each task its own neurons: of those selected, the ones that fire most above the other tasks' mean.

    Args:
        counts: how often each neuron was active.
        masks: the neurons that are selected.
        tasks: those to compare, two or more: of a panel.
        stack: `encoder` or `decoder`.
        share: of the neurons of a layer to choose, at least one; but no more than half of the smallest mask, so that
            every task gets equally many and as many others are left to draw the control from.

    Returns:
        Masks with the layers of the stack, true at a task's own neurons. Equals: the lower index first.

    Raises:
        NeuronspecError: counts and masks do not fit together or lack a task, or there is nothing to choose.

    Example:
        >>> values = {"encoder.0": torch.tensor([[9, 9, 8, 0], [9, 1, 8, 7]])}
        >>> counts = ActivationCounts(("de-en", "ru-en"), values, {"encoder": torch.tensor([10, 10])}, "sentence")
        >>> own = choose_own(counts, NeuronMasks.from_counts(counts, k=0.8), counts.tasks, "encoder")
        >>> own.layer("encoder.0").int().tolist()
        [[0, 1, 0, 0], [0, 0, 0, 1]]
    """
    if len(tasks) < 2 or not 0 < share < 1:
        raise NeuronspecError(
            f"found {len(tasks)} tasks and a share of {share:g}, expected two tasks or more and a share between 0 and 1"
        )
    if counts.widths != masks.widths:
        raise NeuronspecError("counts and masks have different layers or widths: select the masks from these counts")
    for name in tasks:
        if name not in counts.tasks:
            raise NeuronspecError(f"no counts for the task {name!r}{did_you_mean(name, counts.tasks)}")
    rows, selection = [counts.tasks.index(name) for name in tasks], masks.reorder(tasks)
    own = {}
    for layer in list_layers(masks, stack):
        selected = selection.layer(layer).numpy()  # (tasks, d_ff)
        frequencies = counts.frequencies(layer)[rows].numpy()
        others = (frequencies.sum(0) - frequencies) / (len(tasks) - 1)
        # Rounded: the order in which a sum is taken must not decide between equals.
        excess = np.where(selected, np.round(frequencies - others, 12), -np.inf)
        size = min(max(1, round(share * selected.shape[1])), int(selected.sum(1).min()) // 2)
        own[layer] = _mark(np.argsort(-excess, axis=1, kind="stable"), np.full(len(rows), size))
    if not any(mask.any() for mask in own.values()):
        raise NeuronspecError(
            f"in every {stack} layer some task has fewer than two selected neurons: too few to compare own ones with "
            "others; select more, with a larger k"
        )
    facts = {"rule": f"own neurons of: {masks.signature.get('rule', '?')}", "share": f"{share:g}"}
    return NeuronMasks(tasks, own, _truly_off(masks.signature) | facts)


def switch_off(own: NeuronMasks, masks: NeuronMasks, random: int = 3, seed: int = 0) -> NeuronMasks:
    """Make the masks of a model without each task's own neurons, and of the control without random ones.

    The control of a text is drawn from its own selected neurons, but for those chosen: neurons that seldom fire on a
    text are missed by nobody, and would let any choice look good. So each text has random sets of its own; they
    depend on the seed and the task's name alone.

    Args:
        own: from `choose_own`.
        masks: the neurons that are selected, in all layers of the model.
        random: how many sets to draw for each text.
        seed: of the draws.

    Returns:
        Masks of the tasks `without X`, and `without random N for X`, in which all other neurons are on.

    Raises:
        NeuronspecError: the masks do not fit together, or there are too few neurons to draw from.

    Example:
        >>> masks = NeuronMasks.from_dict({"de": {"decoder.0": [1, 1, 1, 0]}, "ru": {"decoder.0": [0, 0, 1, 1]}})
        >>> own = NeuronMasks.from_dict({"de": {"decoder.0": [1, 0, 0, 0]}, "ru": {"decoder.0": [0, 0, 0, 1]}})
        >>> off = switch_off(own, masks, random=1)
        >>> off.tasks
        ('without de', 'without ru', 'without random 1 for de', 'without random 1 for ru')
        >>> off.layer("decoder.0")[[0, 1, 3]].int().tolist()
        [[0, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 1]]
    """
    if random < 1 or seed < 0:
        raise NeuronspecError(f"found {random} random sets and the seed {seed}, expected 1 or more, and 0 or more")
    if any(masks.widths.get(layer) != width for layer, width in own.widths.items()):
        raise NeuronspecError("the chosen neurons and the masks have different layers or widths: use one selection")
    selection = masks.reorder(own.tasks)
    generators = [np.random.default_rng([seed, *name.encode()]) for name in own.tasks]
    values = {}
    for layer, width in masks.widths.items():
        off = torch.zeros((1 + random) * len(own.tasks), width, dtype=torch.bool)
        if layer in own.layers:
            chosen = own.layer(layer)  # (tasks, d_ff)
            pool, sizes = (selection.layer(layer) & ~chosen).numpy(), chosen.sum(1).numpy()
            for name, there, wanted in zip(own.tasks, pool.sum(1), sizes, strict=True):
                if there < wanted:
                    raise NeuronspecError(
                        f"{name} has {there} selected neurons in {layer} besides its own {wanted}: "
                        "too few to draw the control from; choose a smaller share"
                    )
            draws = np.stack([generator.random((random, width)) for generator in generators], axis=1)
            order = np.where(pool, draws, np.inf).argsort(axis=2)  # (random, tasks, d_ff)
            off = torch.cat([chosen, *(_mark(one, sizes) for one in order)])
        values[layer] = ~off
    names = [name_own(name) for name in own.tasks]
    names += [name_random(name, draw) for draw in range(random) for name in own.tasks]
    facts = {"random": str(random), "seed": str(seed)}
    return NeuronMasks(names, values, _truly_off(own.signature) | facts)


def name_own(task: str) -> str:
    """Return the name of the masks without a task's own neurons."""
    return f"without {task}"


def name_random(task: str, draw: int) -> str:
    """Return the name of the masks without random neurons of a task, by the number of the draw from 0."""
    return f"without random {draw + 1} for {task}"


def list_layers(masks: NeuronMasks, stack: str) -> list[str]:
    """Return the layers of a stack.

    Raises:
        NeuronspecError: there are none.
    """
    layers = [layer for layer in masks.layers if layer.partition(".")[0] == stack]
    if not layers:
        raise NeuronspecError(f"the masks have no layers of the stack {stack!r}; they have {', '.join(masks.layers)}")
    return layers


def _mark(order: NDArray[np.int64], sizes: NDArray[np.int64]) -> torch.Tensor:
    """Return a (rows, d_ff) mask of the first neurons of each row's order, as many as its size."""
    marked = np.zeros(order.shape, dtype=np.bool_)
    np.put_along_axis(marked, order, np.arange(order.shape[1]) < sizes[:, None], axis=1)
    return torch.from_numpy(marked)


def _truly_off(signature: Mapping[str, str]) -> dict[str, str]:
    """Return the signature without a wish to keep a masked neuron's bias: a neuron that is off puts out nothing."""
    return {name: value for name, value in signature.items() if name != "bias"}
