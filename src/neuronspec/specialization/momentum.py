"""Holding absent neurons: keeping Adam's momentum from moving neurons that no sentence of an update uses.

No gradient reaches a masked neuron from a foreign task (promise R9), yet Adam moves it on with the momentum of earlier
updates, and weight decay shrinks it. This is the switch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.layers import FFNLayer
from neuronspec.specialization.masking import find_specialization


def hold_absent_neurons(model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> list[RemovableHandle]:
    """Let an update leave a neuron as it is, weights and moments, where no sentence of it was of a task that uses it.

    The neuron's weights are its row of the first matrix (and of the gate), its bias, and its column of the second.

    Args:
        model: specialised.
        optimizer: of its parameters, with a state per parameter of the parameter's shape (Adam, SGD with momentum ...).

    Returns:
        Handles; removing them undoes it.

    Raises:
        NeuronspecError: the model is not specialised.
    """
    specialization = find_specialization(model)
    if specialization is None:
        raise NeuronspecError("this model is not specialised: call neuronspec.specialize(model, masks) first")
    masks, layers = specialization.masks, specialization.layers
    specialization.seen = torch.zeros(len(masks.tasks), dtype=torch.bool, device=model.device)
    kept: list[tuple[torch.Tensor, torch.Tensor, int, torch.Tensor]] = []  # (tensor, absent, dimension, values)

    def before(optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
        seen = specialization.seen
        assert seen is not None
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            shared = seen.int()  # the gradient is that of all processes
            torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
            seen.copy_(shared > 0)
        present = seen.cpu()
        for layer in layers:
            absent = (~masks.layer(layer.name)[present].any(0)).nonzero()[:, 0]
            for parameter, dimension, numbers in _weights(layer, absent.to(model.device)):
                for tensor in (parameter, *_moments(optimizer, parameter)):
                    kept.append((tensor, numbers, dimension, tensor.detach().index_select(dimension, numbers)))
        seen.fill_(False)

    @torch.no_grad()
    def after(optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
        for tensor, numbers, dimension, values in kept:
            tensor.index_copy_(dimension, numbers, values)
        kept.clear()

    return [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]


def _weights(layer: FFNLayer, absent: torch.Tensor) -> Iterator[tuple[torch.Tensor, int, torch.Tensor]]:
    """Yield the parameters of a layer's neurons, the dimension that the neurons are in, and their numbers in it."""
    if not len(absent):
        return
    for matrix in layer.expansions:
        turned = isinstance(matrix, Conv1D)
        parts = matrix.weight.shape[turned] // layer.width  # two where gate and other matrix are one
        numbers = torch.cat([absent + layer.width * part for part in range(parts)])
        yield matrix.weight, int(turned), numbers
        if matrix.bias is not None:
            yield matrix.bias, 0, numbers
    yield layer.projection.weight, int(not isinstance(layer.projection, Conv1D)), absent


def _moments(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> list[torch.Tensor]:
    """Return the optimiser's tensors of a parameter that have its shape."""
    state = optimizer.state.get(parameter, {})
    return [value for value in state.values() if isinstance(value, torch.Tensor) and value.shape == parameter.shape]
