"""The hooks of a steering: they change the activations of chosen neurons in the layers of a model."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.models.peft_wrapping import unwrap_model
from neuronspec.neurons.layers import FFNLayer
from neuronspec.neurons.positions import Positions
from neuronspec.specialization.masking import find_parents
from neuronspec.specialization.routing import TaskRouter, find_router

_STEERED = "_neuronspec_steered"  # attribute of a model: how many contexts steer it


@dataclass(frozen=True, eq=False, kw_only=True)
class Change:
    """A change of the neurons of one layer.

    Attributes:
        chosen: (d_ff,) boolean, true at the chosen neurons.
        values: (d_ff,) float64: the factor of each neuron, 1 where it is not chosen; or the value that it is set to.
        sets: Whether the activations are set, and not scaled.
    """

    chosen: torch.Tensor
    values: torch.Tensor
    sets: bool
    _on_device: dict[tuple[torch.device, torch.dtype], tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    @classmethod
    def make(cls, layer: FFNLayer, numbers: torch.Tensor, values: torch.Tensor, *, sets: bool) -> Change:
        """Return the change of a layer's neurons.

        Args:
            layer: Layer that has the neurons.
            numbers: (n,) numbers of the neurons.
            values: (n,) factor or value of each.
            sets: Whether the activations are set, and not scaled.

        Raises:
            NeuronspecError: If a value is too large for the numbers of the model.
        """
        dtype = layer.projection.weight.dtype
        if dtype.is_floating_point and not values.to(dtype).isfinite().all():
            largest = float(values[values.abs().argmax()])
            raise NeuronspecError(
                f"{largest:g} is too large for {str(dtype).removeprefix('torch.')}, in which {layer.name} computes"
            )

        chosen = torch.zeros(layer.width, dtype=torch.bool)
        chosen[numbers] = True
        everywhere = torch.zeros(layer.width, dtype=torch.float64) if sets else torch.ones(layer.width).double()
        everywhere[numbers] = values
        return cls(chosen=chosen, values=everywhere, sets=sets)

    def apply(self, states: torch.Tensor, is_on: torch.Tensor | None) -> torch.Tensor:
        """Return the changed activations.

        Args:
            states: (..., d_ff) activations.
            is_on: Boolean that broadcasts with `states` without its last dimension: which rows are steered; None for
                all of them.
        """
        chosen, values = self._move(states.device, states.dtype)
        if self.sets:
            where = chosen if is_on is None else is_on[..., None] & chosen
            return torch.where(where, values.to(states.dtype), states)

        # A factor of 1 changes no bit; half precision is multiplied in float32, as by a plain number.
        factors = values if is_on is None else torch.where(is_on[..., None], values, torch.ones_like(values))
        return (states * factors).to(states.dtype)

    def _move(self, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `chosen` and `values` on a device; they are moved there once."""
        key = (device, dtype)
        if key not in self._on_device:
            with torch.inference_mode(False):  # what is kept may meet gradients later
                values = self.values.to(device, torch.promote_types(dtype, torch.float32))
                self._on_device[key] = self.chosen.to(device), values
        return self._on_device[key]


class SteeredModel:
    """Applies changes to a model while `attached` is open.

    Args:
        model: Model without wrapping.
        layers: All FFN layers of the model.
        changes: Change of the neurons of each steered layer.
        router: Router, which knows the task of every row; None if nothing in the model depends on tasks.
        tasks: Tasks whose rows are steered; None for all rows.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        layers: Sequence[FFNLayer],
        changes: Mapping[str, Change],
        router: TaskRouter | None,
        tasks: Sequence[str] | None,
    ) -> None:
        self.model = model
        self.layers = layers
        self.changes = changes
        self.router = router
        self.tasks = tasks
        self.positions = Positions(layers)
        self._steered = [layer for layer in layers if layer.name in changes]
        self._places = [place for layer in self._steered for place in find_parents(layer)]

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Hook the model for a while."""
        with contextlib.ExitStack() as hooks:
            # The model, and its base model, which can be called directly
            for module in dict.fromkeys([self.model, self.model.base_model]):
                hooks.callback(module.register_forward_pre_hook(self._check).remove)

            # Only rows of some tasks have to be found among the vectors.
            if self.tasks is not None:
                for handle in self.positions.attach():
                    hooks.callback(handle.remove)
            for layer in self._steered:
                hook = functools.partial(self._change, layer, self.changes[layer.name])
                hooks.callback(layer.entrance.register_forward_pre_hook(hook).remove)
            yield

    def _change(
        self, layer: FFNLayer, change: Change, module: nn.Module, arguments: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, ...]:
        """Before the second matrix: change its input."""
        states = arguments[0]
        return (change.apply(states, self._find_rows(layer, states)), *arguments[1:])

    def _find_rows(self, layer: FFNLayer, states: torch.Tensor) -> torch.Tensor | None:
        """Return which vectors belong to rows that are steered, in a shape that broadcasts; None for all."""
        if self.tasks is None:
            return None
        assert self.router is not None

        rows = self.router.row_tasks(self.positions.count_rows(layer, states), layer.stack, states.device)
        steered = torch.tensor([self.router.task_index(name) for name in self.tasks], device=states.device)
        is_steered = torch.isin(rows, steered)  # (batch,); inside `dense`, rows have no task
        return self.positions.spread(is_steered, layer, states)

    def _check(self, module: nn.Module, arguments: Any) -> None:
        """Before the model computes: refuse what would make the steering silently wrong."""
        if find_router(self.model) is not self.router:
            raise NeuronspecError(
                "the model was specialized, or its masks were removed, inside ns.steer(...): do that before"
            )
        if any(getattr(parent, name) is not module for parent, name, module in self._places):
            raise NeuronspecError("the model was wrapped, as PEFT does, inside ns.steer(...): do that before")

        # Recomputed for the gradients, a layer could be in another batch, or outside of the context.
        if self.model.training and torch.is_grad_enabled() and _is_checkpointing(self.model):
            raise NeuronspecError(
                "a steered model cannot be trained with gradient checkpointing, which computes its layers again later: "
                "model.gradient_checkpointing_disable()"
            )


def _is_checkpointing(model: nn.Module) -> bool:
    """Return whether gradient checkpointing is enabled in a layer of a model."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def look_through(model: nn.Module) -> Any:
    """Return the model that a compiled or a PEFT model computes with; any other model unchanged."""
    compiled = model._modules.get("_orig_mod")  # of torch.compile
    return unwrap_model(compiled if compiled is not None else model)


@contextlib.contextmanager
def forget_compiled() -> Iterator[None]:
    """Let compiled models be compiled again, before and after: what is compiled does not notice new hooks."""
    _reset_compiler()
    try:
        yield
    finally:
        _reset_compiler()


def _reset_compiler() -> None:
    # Nothing was compiled if the compiler was not imported.
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


@contextlib.contextmanager
def mark_steered(model: nn.Module) -> Iterator[None]:
    """Note in a model that it is steered, for what makes another model of it."""
    model.__dict__[_STEERED] = model.__dict__.get(_STEERED, 0) + 1
    try:
        yield
    finally:
        model.__dict__[_STEERED] -= 1
        if not model.__dict__[_STEERED]:
            del model.__dict__[_STEERED]


def refuse_steered(model: nn.Module, what: str) -> None:
    """Refuse a model that is steered at the moment.

    Args:
        model: Any model.
        what: Action that is refused, as the beginning of a sentence: `"cannot prune"`.

    Raises:
        NeuronspecError: If a context of `neuronspec.steer` is open.
    """
    if look_through(model).__dict__.get(_STEERED):
        raise NeuronspecError(
            f"{what} a model inside ns.steer(...), which changes no weights: do that outside, or export a steering as "
            "IA3 (docs/steering.md)"
        )
