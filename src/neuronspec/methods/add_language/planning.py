"""Planning of what new directions train and read, before any training: masks for them next to those from before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch

from neuronspec.errors import NeuronspecError
from neuronspec.languages import match_direction, same_language, split_direction
from neuronspec.layer_names import stack_of
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.growth import find_free_neurons

Reads = Literal["all", "shared", "none"]


def plan_masks(
    before: NeuronMasks,
    tasks: Sequence[str],
    *,
    reads: Reads = "all",
    max_free: int | None = None,
    min_neurons: int = 1,
    old_widths: Mapping[str, int] | None = None,
) -> NeuronMasks:
    """Return the masks of all tasks: those from before as they were, then those of the new ones.

    A new task has neurons that no task from before uses, which it trains, and neurons of others, which it only reads.
    All new tasks share the neurons that they train.

    Args:
        before: Masks of the tasks from before, as wide as the layers are now.
        tasks: New directions.
        reads: Neurons of others that a new direction reads. `all`: every one that a task from before uses; `shared`:
            those of tasks with its source language (in the encoder) or its target language (in the decoder), or all
            where there is no such task; `none`: none.
        max_free: Largest number of neurons of each layer that become theirs, of those that were there before the
            layers were widened; the rest stays free for later languages. None for all.
        min_neurons: Smallest number of neurons that must be theirs in each layer.
        old_widths: Number of neurons of each layer before they were widened.

    Raises:
        NeuronspecError: If a task is there already, or a layer has too few neurons that are free.
    """
    if reads not in get_args(Reads):
        raise NeuronspecError(f"reads must be all, shared or none, not {reads!r}")
    for task in tasks:
        found = match_direction(task, before.tasks)
        if found is not None:
            raise NeuronspecError(
                f"{task} is a direction of the model already ({found}): leave it out, since training would change it"
            )

    own = _choose_own(before, max_free, old_widths or before.widths)
    _check_enough(own, min_neurons)

    values = {}
    for layer in before.layers:
        read = torch.stack([_choose_read(before, task, layer, reads) for task in tasks])  # (new tasks, d_ff)
        values[layer] = torch.cat([before.layer(layer), read | own[layer]])
    return NeuronMasks((*before.tasks, *tasks), values, before.signature)


def find_own_neurons(masks: NeuronMasks, tasks: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return for each layer the (d_ff,) boolean neurons that some tasks use and no other task does.

    Args:
        masks: Masks of all tasks of a model.
        tasks: Tasks to train.
    """
    rows = [masks.task_index(task) for task in tasks]
    others = [row for row in range(len(masks.tasks)) if row not in rows]
    return {layer: masks.layer(layer)[rows].any(0) & ~masks.layer(layer)[others].any(0) for layer in masks.layers}


def _choose_own(before: NeuronMasks, max_free: int | None, old_widths: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """Return for each layer the (d_ff,) boolean neurons that the new tasks train."""
    own = find_free_neurons(before)
    if max_free is None:
        return own

    # The neurons that widening has added are always theirs.
    for layer, free in own.items():
        width = old_widths[layer]
        surplus = free[:width].nonzero()[max_free:, 0]
        free[surplus] = False
    return own


def _check_enough(own: Mapping[str, torch.Tensor], min_neurons: int) -> None:
    """Refuse layers in which the new tasks would have too few neurons of their own."""
    counts = {layer: int(free.sum()) for layer, free in own.items()}
    short = {layer: count for layer, count in counts.items() if count < min_neurons}
    if not short:
        return

    # As many as are missing where most are, rounded up to what is computed fast
    missing = min_neurons - min(short.values())
    advised = -(-missing // 64) * 64
    listed = ", ".join(f"{layer}: {count}" for layer, count in list(short.items())[:6])
    raise NeuronspecError(
        f"too few neurons are free: {len(short)} of {len(own)} layers have fewer than {min_neurons} that no task uses "
        f"({listed}); widen the layers, model.extend.widen={advised}, or lower model.extend.min_neurons"
    )


def _choose_read(before: NeuronMasks, task: str, layer: str, reads: Reads) -> torch.Tensor:
    """Return the (d_ff,) boolean neurons of tasks from before that a new task reads in a layer."""
    masks = before.layer(layer)
    if reads == "none":
        return torch.zeros(masks.shape[1], dtype=torch.bool)
    if reads == "all":
        return masks.any(0)

    # The side of the task that the layer works on
    side = 0 if stack_of(layer) == "encoder" else 1
    language = split_direction(task)[side]
    rows = [row for row, name in enumerate(before.tasks) if same_language(split_direction(name)[side], language)]
    return masks[rows].any(0) if rows else masks.any(0)
