"""Own neurons of an ablation from masks that are given: those of LAPE, of the released code, or any others."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from neuronspec.analysis.ablation_masks import leave_out_bias, list_layers
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.masks import NeuronMasks


def take_own_neurons(given: NeuronMasks, masks: NeuronMasks, tasks: Sequence[str], stack: str) -> NeuronMasks:
    """Return the neurons of given masks as the own neurons of each task, in place of `choose_own_neurons`.

    Tasks may have different numbers of neurons, and none in some layers.

    Args:
        given: Masks that include the tasks.
        masks: Masks of the model, for its layers and widths.
        tasks: Two or more tasks to compare.
        stack: `encoder` or `decoder`.

    Returns:
        Masks of the layers of the stack, true at a task's own neurons.

    Raises:
        NeuronspecError: If the masks belong to another model, lack a task, or select no neuron of it, or more than
            half of a layer: as many others must be left to compare with.

    Example:
        >>> given = NeuronMasks.from_dict({"de": {"decoder.0": [1, 0, 0, 0]}, "ru": {"decoder.0": [0, 0, 0, 1]}})
        >>> take_own_neurons(given, given, ["ru", "de"], "decoder").layer("decoder.0").int().tolist()
        [[0, 0, 0, 1], [1, 0, 0, 0]]
    """
    if given.widths != masks.widths:
        raise NeuronspecError("the given masks have other layers or widths than those of the model: give its own")

    chosen = given.reorder(tasks)
    own = {layer: chosen.layer(layer) for layer in list_layers(masks, stack)}
    for row, task in enumerate(tasks):
        if not any(mask[row].any() for mask in own.values()):
            raise NeuronspecError(f"the given masks select no neuron of {task} in the {stack}: nothing can be off")
        for layer, mask in own.items():
            found, width = int(mask[row].sum()), mask.shape[1]
            if 2 * found > width:
                raise NeuronspecError(
                    f"the given masks select {found} of {width} neurons of {task} in {layer}, so fewer are left to "
                    "compare with: give masks of half of each layer or less, such as LAPE's, or those of a smaller k"
                )

    facts = {"rule": f"given: {given.signature.get('rule', '?')}"}
    return NeuronMasks(tasks, own, leave_out_bias(given.signature) | facts)


def allow_all(masks: NeuronMasks) -> NeuronMasks:
    """Return masks of every neuron: what random sets are drawn from, apart from the task's own neurons."""
    return NeuronMasks(masks.tasks, {layer: torch.ones_like(masks.layer(layer)) for layer in masks.layers})
