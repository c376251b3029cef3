"""Holding absent neurons: preventing Adam's momentum from changing neurons that no sentence of an update uses.

No gradient reaches a masked neuron from a foreign task (promise R9). But Adam still changes its weights with the
momentum of earlier updates, and weight decay shrinks them. `hold_absent_neurons` prevents both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.models.matrices import features_out, locate_weight, output_dimension
from neuronspec.models.peft_wrapping import refuse_wrapped
from neuronspec.neurons.layers import FFNLayer
from neuronspec.specialization.masking import Specialization, find_specialization


def hold_absent_neurons(model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> list[RemovableHandle]:
    """Keep the weights and moments of a neuron in every update in which no sentence's task uses the neuron.

    A neuron's weights are its row of the first matrix (and of the gate), its bias, and its column of the second matrix.

    Args:
        model: Specialized model.
        optimizer: Optimizer of its parameters whose states have the shapes of the parameters (Adam, SGD with momentum).

    Returns:
        Handles of the optimizer's hooks; removing them undoes the change.

    Raises:
        NeuronspecError: If the model is not specialized.
    """
    holder = _AbsentNeuronHolder(model)
    holder.follow()
    return [optimizer.register_step_pre_hook(holder.before), optimizer.register_step_post_hook(holder.after)]


# The difficulty is to know which tasks an update's gradients come from: forward passes without a backward pass do not
# count (validation), several forward passes can share one update (accumulation), and a loss scaler clears gradients
# without a step. The holder therefore listens to three events:
#
#     forward pass:    noted |= the tasks of its rows
#     backward pass:   if this is the first one after a step, or the gradients were cleared:  seen = noted
#                      otherwise:                                                             seen |= noted
#                      noted = nothing
#     step:            before:  absent = neurons in the masks of no seen task; copy their weights and moments
#                      after:   write the copies back; set moments that the step has created to 0


class _AbsentNeuronHolder:
    """Tracks the tasks that an update's gradients come from, and restores the neurons that none of them uses."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.followed: Specialization | None = None  # whose forward passes are noted
        self.noted = self.seen = torch.empty(0)  # (tasks + 1,) boolean; the last entry: a pass that uses all neurons
        self.dirty = False  # whether something was noted since the last backward pass
        self.stepped = True
        self.gradient: tuple[torch.Tensor, torch.Tensor | None] | None = None  # a parameter and its gradient
        self.hooks: list[RemovableHandle] = []
        self.kept: list[tuple[torch.Tensor, torch.Tensor, int, torch.Tensor]] = []  # tensor, absent, dimension, values
        self.fresh: list[_Weights] = []  # parameters without moments yet

    def follow(self) -> None:
        """Start to note the tasks of the model's specialization."""
        specialization = find_specialization(self.model)
        if specialization is None:
            raise NeuronspecError("this model is not specialized: call neuronspec.specialize(model, masks) first")
        refuse_wrapped(self.model, "cannot hold the momentum of absent neurons in")

        self.followed = specialization
        # A new specialization may have other tasks: nothing is noted of them yet.
        self.noted = torch.zeros(len(specialization.masks.tasks) + 1, dtype=torch.bool, device=self.model.device)
        self.seen = self.noted.clone()
        specialization.listeners.append(self.note)

        # The second matrix of a layer gets a gradient in every backward pass that goes through the layer.
        for hook in self.hooks:
            hook.remove()
        self.hooks = []

        # Experts of a layer may share it.
        weights = {locate_weight(layer.projection)[0]: None for layer in specialization.layers}
        for weight in weights:
            if weight.requires_grad:
                hook = weight.register_post_accumulate_grad_hook(self.arrive)  # type: ignore[no-untyped-call]
                self.hooks.append(hook)

    def note(self, tasks: torch.Tensor | int | None) -> None:
        """Note the tasks of a forward pass; None if it uses all neurons."""
        if tasks is None:
            self.noted[-1] = True
        else:
            self.noted[tasks if isinstance(tasks, int) else tasks.to(self.noted.device)] = True
        self.dirty = True

    def arrive(self, parameter: torch.Tensor) -> None:
        """After a gradient was computed: it comes from the noted tasks."""
        if not self.dirty:
            return

        # Gradients add up in the same tensor; another one means that they were cleared in between.
        cleared = self.gradient is not None and self.gradient[0].grad is not self.gradient[1]
        self.seen = self.noted.clone() if self.stepped or cleared else self.seen | self.noted

        self.noted.fill_(False)
        self.dirty = self.stepped = False
        self.gradient = (parameter, parameter.grad)

    def before(self, optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> Any:
        """Before a step: copy what it must not change.

        If the step gets a closure that computes the gradients, this happens after the closure was called.
        """
        closure = arguments[1] if len(arguments) > 1 else options.get("closure")
        if closure is None:
            self.keep(optimizer)
            return None

        # The gradients come with the closure, which the step itself calls.
        def evaluate() -> Any:
            loss = closure()
            self.keep(optimizer)
            return loss

        return arguments[:1], {**options, "closure": evaluate}

    @torch.no_grad()
    def keep(self, optimizer: torch.optim.Optimizer) -> None:
        """Copy the weights and moments of the neurons that no task of the update uses."""
        self.kept.clear()
        self.fresh.clear()
        specialization = find_specialization(self.model)
        if specialization is None:  # its masks were removed: every neuron is used
            return
        if specialization is not self.followed:  # it has new masks, under which this update may have begun
            self.follow()
            return

        *present, everything = self._seen_anywhere().tolist()
        if everything:  # some forward pass used all neurons
            return

        for layer in specialization.layers:
            used = specialization.masks.layer(layer.name)[present].any(0)  # (d_ff,)
            absent = (~used).nonzero()[:, 0]
            for weights in _find_weights(layer, absent.to(layer.projection.weight.device)):
                self._copy(optimizer, weights)

    def _seen_anywhere(self) -> torch.Tensor:
        """Return the tasks of the update in all processes, whose gradients are summed up."""
        seen = self.seen.to(self.model.device)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # The union over all processes
            shared = seen.int()
            torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
            seen = shared > 0
        return seen

    def _copy(self, optimizer: torch.optim.Optimizer, weights: _Weights) -> None:
        moments = _find_moments(optimizer, weights.parameter)
        for tensor in map(weights.select, (weights.parameter, *moments)):
            values = tensor.index_select(weights.dimension, weights.numbers)
            self.kept.append((tensor, weights.numbers, weights.dimension, values))
        if not moments:
            self.fresh.append(weights)

    @torch.no_grad()
    def after(self, optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
        """After a step: write the copies back, and set moments that the step has created to 0."""
        for tensor, numbers, dimension, values in self.kept:
            tensor.index_copy_(dimension, numbers, values)
        for weights in self.fresh:
            for moment in _find_moments(optimizer, weights.parameter):
                weights.select(moment).index_fill_(weights.dimension, weights.numbers, 0)

        self.kept.clear()
        self.fresh.clear()
        self.stepped = True


class _Weights(NamedTuple):
    """The weights of some neurons in a parameter.

    Args:
        parameter: Parameter.
        number: Number of an expert's slice of the parameter, if experts share it.
        dimension: Dimension of the neurons in the parameter or slice.
        numbers: Indices in this dimension.
    """

    parameter: torch.Tensor
    number: int | None
    dimension: int
    numbers: torch.Tensor

    def select(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the slice of the parameter, or of a tensor of the same shape: a view, or the tensor itself."""
        return tensor if self.number is None else tensor[self.number]


def _find_weights(layer: FFNLayer, absent: torch.Tensor) -> Iterator[_Weights]:
    """Yield the weights of a layer's neurons `absent`, from each of its parameters."""
    if not len(absent):
        return

    for matrix in layer.expansions:
        parts = features_out(matrix) // layer.width  # two if gate and other matrix are one
        numbers = torch.cat([absent + layer.width * part for part in range(parts)])
        yield _Weights(*locate_weight(matrix), output_dimension(matrix), numbers)
        if matrix.bias is not None:
            yield _Weights(matrix.bias, None, 0, numbers)

    # In the second matrix, the neurons are what it reads.
    yield _Weights(*locate_weight(layer.projection), 1 - output_dimension(layer.projection), absent)


def _find_moments(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> list[torch.Tensor]:
    """Return the tensors in the optimizer's state of a parameter that have its shape."""
    state = optimizer.state.get(parameter, {})
    return [value for value in state.values() if isinstance(value, torch.Tensor) and value.shape == parameter.shape]
