"""Masks that tell explanations of a gain apart: as large as selected ones, but shared, exchanged, or of groups."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import torch

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.rules import draw_like


def share_random(like: NeuronMasks, seed: int = 0) -> NeuronMasks:
    """Return one random mask that all tasks share: what fewer neurons do without any separation of tasks.

    Args:
        like: Masks whose mean number of neurons, over tasks, each layer gets.
        seed: Seed of the random draw.

    Example:
        >>> like = NeuronMasks.from_dict({"de-en": {"encoder.0": [1, 1, 1, 0]}, "fr-en": {"encoder.0": [1, 0, 0, 0]}})
        >>> share_random(like).layer("encoder.0").sum(1).tolist()
        [2, 2]
    """
    first = {layer: like.layer(layer).new_zeros(1, width) for layer, width in like.widths.items()}
    for layer, mask in first.items():
        mask[0, : _mean_size(like.layer(layer))] = True

    # Which neurons these are does not matter: the draw takes over only their number.
    drawn = draw_like(first, seed)
    values = {layer: mask.expand(len(like.tasks), -1) for layer, mask in drawn.items()}
    return _describe(like, values, "one random mask", seed)


def permute_tasks(masks: NeuronMasks, groups: Sequence[Hashable], seed: int = 0) -> NeuronMasks:
    """Hand each task the masks of another one of its group: equal sizes and overlaps, but wrong owners.

    Args:
        masks: Masks of n tasks.
        groups: (n,) group of each task.
        seed: Seed of the random order in which the tasks of a group hand on their masks.

    Raises:
        NeuronspecError: If a task is alone in its group, so that nobody could have its masks.

    Example:
        >>> masks = NeuronMasks.from_dict({"de-en": {"encoder.0": [1, 1, 0]}, "fr-en": {"encoder.0": [0, 0, 1]}})
        >>> permute_tasks(masks, ["all", "all"]).layer("encoder.0").int().tolist()
        [[0, 0, 1], [1, 1, 0]]
    """
    generator = np.random.default_rng(seed)
    givers = list(range(len(masks.tasks)))
    for group, members in _find_members(groups).items():
        if len(members) == 1:
            raise NeuronspecError(
                f"{masks.tasks[members[0]]} is the only task of its group ({_show(group)}), so that it cannot have the "
                "masks of another one: add such a task, or choose larger groups"
            )

        # Around a circle in random order: nobody keeps the own masks.
        circle = generator.permutation(members).tolist()
        for task, giver in zip(circle, [*circle[1:], circle[0]], strict=True):
            givers[task] = giver

    values = {layer: masks.layer(layer)[givers] for layer in masks.layers}
    return _describe(masks, values, "of other tasks", seed)


def pool_tasks(masks: NeuronMasks, groups: Sequence[Hashable], seed: int = 0) -> NeuronMasks:
    """Give all tasks of a group one mask: the neurons that most of them have, as many as they have on average.

    Args:
        masks: Masks of n tasks.
        groups: (n,) group of each task.
        seed: Seed that decides between neurons that equally many tasks have.

    Example:
        >>> masks = NeuronMasks.from_dict({"de-en": {"encoder.0": [1, 1, 0]}, "nl-en": {"encoder.0": [0, 1, 1]}})
        >>> pool_tasks(masks, ["Germanic", "Germanic"]).layer("encoder.0").sum(1).tolist()
        [2, 2]
    """
    generator = np.random.default_rng(seed)
    values = {layer: masks.layer(layer).clone() for layer in masks.layers}
    for members in _find_members(groups).values():
        for mask in values.values():
            votes = mask[members].sum(0).numpy()

            # Sorted by votes; a random number decides between equals.
            order = np.lexsort((generator.random(len(votes)), -votes))
            pooled = torch.zeros(len(votes), dtype=torch.bool)
            pooled[order[: _mean_size(mask[members])].copy()] = True
            mask[members] = pooled
    return _describe(masks, values, "of groups of tasks", seed)


def _mean_size(mask: torch.Tensor) -> int:
    """Return the mean number of neurons of a layer's masks, (tasks, d_ff), rounded."""
    return round(float(mask.sum(1).double().mean()))


def _find_members(groups: Sequence[Hashable]) -> dict[Hashable, list[int]]:
    """Return the places of each group's members, in their order."""
    members: dict[Hashable, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    return members


def _show(group: Hashable) -> str:
    return " to ".join(map(str, group)) if isinstance(group, tuple) else str(group)


def _describe(like: NeuronMasks, values: dict[str, torch.Tensor], kind: str, seed: int) -> NeuronMasks:
    """Return masks whose signature says how they differ from those that they were made of."""
    rule = f"{kind}, made of: {like.signature.get('rule', '?')}"
    return NeuronMasks(like.tasks, values, like.signature | {"rule": rule, "seed": str(seed)})
