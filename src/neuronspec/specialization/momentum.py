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

from neuronspec.errors import NeuronspecError
from neuronspec.models.matrices import features_out, output_dimension
from neuronspec.models.peft_wrapping import refuse_wrapped
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
    holder = _Holder(model)
    holder.follow()
    return [optimizer.register_step_pre_hook(holder.before), optimizer.register_step_post_hook(holder.after)]


class _Holder:
    """Knows the tasks that an update's gradient comes from, and puts back what no task of it uses.

    A forward notes its tasks, and the backward after it makes them tasks of the update: of a new one after a step, or
    after the gradients were cleared without one, as a loss scaler does.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.followed: object = None  # the specialisation whose forwards are noted
        self.noted = self.seen = torch.empty(0)  # (tasks + 1,) boolean: of forwards, of the update; last: all neurons
        self.dirty = False  # whether something was noted that no backward has come back from
        self.stepped = True
        self.gradient: tuple[torch.Tensor, torch.Tensor | None] | None = None  # a parameter and its gradient
        self.hooks: list[RemovableHandle] = []
        self.kept: list[tuple[torch.Tensor, torch.Tensor, int, torch.Tensor]] = []  # tensor, absent, dimension, values
        self.fresh: list[tuple[torch.Tensor, torch.Tensor, int]] = []  # parameters without moments yet

    def follow(self) -> None:
        """Begin to note the tasks of the model's specialisation."""
        specialization = find_specialization(self.model)
        if specialization is None:
            raise NeuronspecError("this model is not specialised: call neuronspec.specialize(model, masks) first")
        refuse_wrapped(self.model, "cannot hold the momentum of absent neurons in")
        self.followed = specialization
        self.noted = torch.zeros(len(specialization.masks.tasks) + 1, dtype=torch.bool, device=self.model.device)
        self.seen = self.noted.clone()
        specialization.listeners.append(self.note)
        for hook in self.hooks:
            hook.remove()
        weights = [layer.projection.weight for layer in specialization.layers]
        self.hooks = [
            weight.register_post_accumulate_grad_hook(self.arrive)  # type: ignore[no-untyped-call]
            for weight in weights
            if weight.requires_grad
        ]

    def note(self, tasks: torch.Tensor | int | None) -> None:
        """Note the tasks of a forward; None: it uses every neuron."""
        self.noted[-1 if tasks is None else tasks if isinstance(tasks, int) else tasks.to(self.noted.device)] = True
        self.dirty = True

    def arrive(self, parameter: torch.Tensor) -> None:
        """After a gradient has arrived: it comes from the tasks that were noted."""
        if not self.dirty:
            return
        cleared = self.gradient is not None and self.gradient[0].grad is not self.gradient[1]
        self.seen = self.noted.clone() if self.stepped or cleared else self.seen | self.noted
        self.noted.fill_(False)
        self.dirty = self.stepped = False
        self.gradient = (parameter, parameter.grad)

    def before(self, optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> Any:
        """Before a step: keep what it must not move; a step that makes the gradients itself, as soon as they are."""
        closure = arguments[1] if len(arguments) > 1 else options.get("closure")
        if closure is None:
            self.keep(optimizer)
            return None

        def evaluate() -> Any:
            loss = closure()
            self.keep(optimizer)
            return loss

        return arguments[:1], {**options, "closure": evaluate}

    @torch.no_grad()
    def keep(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep the weights and moments of the neurons that no task of the update uses."""
        self.kept.clear()
        self.fresh.clear()
        specialization = find_specialization(self.model)
        if specialization is None:  # its masks were taken off: every neuron is used
            return
        if specialization is not self.followed:  # it has got other masks, under which this update may have begun
            self.follow()
            return
        seen = self.seen.to(self.model.device)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            shared = seen.int()  # the gradient is that of all processes
            torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
            seen = shared > 0
        *present, everything = seen.tolist()
        for layer in () if everything else specialization.layers:
            absent = (~specialization.masks.layer(layer.name)[present].any(0)).nonzero()[:, 0]
            for parameter, dimension, numbers in _weights(layer, absent.to(self.model.device)):
                moments = _moments(optimizer, parameter)
                for tensor in (parameter, *moments):
                    self.kept.append((tensor, numbers, dimension, tensor.index_select(dimension, numbers)))
                if not moments:
                    self.fresh.append((parameter, numbers, dimension))

    @torch.no_grad()
    def after(self, optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
        """After a step: put back what was kept; moments that the step has made begin at 0."""
        for tensor, numbers, dimension, values in self.kept:
            tensor.index_copy_(dimension, numbers, values)
        for parameter, numbers, dimension in self.fresh:
            for moment in _moments(optimizer, parameter):
                moment.index_fill_(dimension, numbers, 0)
        self.kept.clear()
        self.fresh.clear()
        self.stepped = True


def _weights(layer: FFNLayer, absent: torch.Tensor) -> Iterator[tuple[torch.Tensor, int, torch.Tensor]]:
    """Yield the parameters of a layer's neurons, the dimension that the neurons are in, and their numbers in it."""
    if not len(absent):
        return
    for matrix in layer.expansions:
        parts = features_out(matrix) // layer.width  # two where gate and other matrix are one
        numbers = torch.cat([absent + layer.width * part for part in range(parts)])
        yield matrix.weight, output_dimension(matrix), numbers
        if matrix.bias is not None:
            yield matrix.bias, 0, numbers
    yield layer.projection.weight, 1 - output_dimension(layer.projection), absent


def _moments(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> list[torch.Tensor]:
    """Return the optimiser's tensors of a parameter that have its shape."""
    state = optimizer.state.get(parameter, {})
    return [value for value in state.values() if isinstance(value, torch.Tensor) and value.shape == parameter.shape]
