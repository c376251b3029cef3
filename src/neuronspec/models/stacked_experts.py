"""Experts that share one three-dimensional parameter, as modules that can be hooked one by one.

Mixtral, Qwen-MoE, OLMoE and their relatives keep the first matrices of all experts of a layer in `gate_up_proj`
(experts, 2 * d_ff, d_model) and the second ones in `down_proj` (experts, d_model, d_ff), and multiply all of them at
once. No module sees the neurons of one expert then. Each expert gets modules of its own here, without parameters, that
compute with its slices; as soon as one of them has a hook, the layer computes expert by expert through them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import nn
from torch.nn import functional

_VIEWS = "_neuronspec_experts"  # attribute of a module of experts
_ORIGINAL = "_neuronspec_forward"  # its forward method before, if another library had set one
_FIRST, _SECOND = "gate_up_proj", "down_proj"

# Variants that `use_experts_implementation` of transformers describes, and how the plain layout has them
_PLAIN_LAYOUT = {
    "has_bias": False,
    "has_gate": True,
    "is_transposed": False,
    "is_concatenated": True,
    "has_post_expert_norm": False,
}


class StackedPart(nn.Module):
    """A part of one expert, which computes with what all experts share; its hooks are called.

    Args:
        experts: Module with the parameters of all experts of a layer.
        number: Number of the expert.
    """

    experts: Any  # the module

    def __init__(self, experts: nn.Module, number: int) -> None:
        super().__init__()
        # Not as a module in it: the experts are not a part of their own part.
        self.__dict__["experts"] = experts
        self.number = number

    @property
    def hooked(self) -> bool:
        """Whether somebody looks at this part, or changes what it computes."""
        return bool(self._forward_hooks or self._forward_pre_hooks)

    def register_forward_pre_hook(self, *arguments: Any, **options: Any) -> Any:
        """Hook the part as any module; from now on, its layer computes expert by expert."""
        _compute_by_expert(self.experts)
        return super().register_forward_pre_hook(*arguments, **options)

    def register_forward_hook(self, *arguments: Any, **options: Any) -> Any:
        """Hook the part as any module; from now on, its layer computes expert by expert."""
        _compute_by_expert(self.experts)
        return super().register_forward_hook(*arguments, **options)


class StackedActivation(StackedPart):
    """The activation of an expert's gate."""

    def forward(self, gate: torch.Tensor) -> torch.Tensor:
        """Return the activation of the gate (tokens, d_ff)."""
        activated: torch.Tensor = self.experts.act_fn(gate)
        return activated


class StackedMatrix(StackedPart):
    """A matrix of one expert.

    Args:
        experts: Module with the parameters of all experts of a layer.
        number: Number of the expert.
        name: Name of the parameter (experts, out, in).
    """

    bias: None = None

    def __init__(self, experts: nn.Module, number: int, name: str) -> None:
        super().__init__(experts, number)
        self.name = name

    @property
    def parameter(self) -> nn.Parameter:
        """The parameter of all experts (experts, out, in)."""
        parameter: nn.Parameter = getattr(self.experts, self.name)
        return parameter

    @property
    def weight(self) -> torch.Tensor:
        """The weight of this expert (out, in): a view, through which gradients flow back and values can be set."""
        return self.parameter[self.number]

    @property
    def in_features(self) -> int:
        """Number of features that the matrix reads."""
        return self.parameter.shape[2]

    @property
    def out_features(self) -> int:
        """Number of features that the matrix writes."""
        return self.parameter.shape[1]

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return (tokens, out) of (tokens, in)."""
        return functional.linear(states, self.weight)


class StackedExpert(NamedTuple):
    """The parts of one expert.

    Args:
        first: First matrix, which writes the gate and its factor.
        activation: Activation of the gate.
        second: Second matrix, whose input is the vector of neurons.
    """

    first: StackedMatrix
    activation: StackedActivation
    second: StackedMatrix

    @property
    def hooked(self) -> bool:
        """Whether a part of it is hooked."""
        return self.first.hooked or self.activation.hooked or self.second.hooked

    def compute(self, states: torch.Tensor) -> torch.Tensor:
        """Return the output (tokens, d_model) for the tokens that were sent to the expert."""
        gate, factor = self.first(states).chunk(2, dim=-1)  # (tokens, d_ff) each
        output: torch.Tensor = self.second(self.activation(gate) * factor)
        return output


def is_stacked(experts: nn.Module | None) -> TypeGuard[nn.Module]:
    """Return whether a module holds the matrices of several experts in parameters of three dimensions."""
    return experts is not None and any(parameter.ndim == 3 for parameter in experts.parameters(recurse=False))


def view_experts(experts: nn.Module) -> list[StackedExpert]:
    """Return the parts of each expert; the same ones at every call.

    Args:
        experts: Module for which `is_stacked` is true.

    Raises:
        AttributeError: If the experts compute in another way than `(act(gate) * factor) @ down`.
    """
    known: list[StackedExpert] | None = experts.__dict__.get(_VIEWS)
    if known is not None:
        return known

    _check_layout(experts)
    number = len(getattr(experts, _FIRST))
    views = [
        StackedExpert(
            StackedMatrix(experts, index, _FIRST),
            StackedActivation(experts, index),
            StackedMatrix(experts, index, _SECOND),
        )
        for index in range(number)
    ]
    _check_result(experts, views)
    experts.__dict__[_VIEWS] = views
    return views


def as_stacked(matrix: object) -> StackedMatrix | None:
    """Return a matrix if its weight is a slice of a parameter that experts share; None for any other matrix."""
    return matrix if isinstance(matrix, StackedMatrix) else None


def find_routed(choices: torch.Tensor, expert: int) -> torch.Tensor:
    """Return the tokens that an expert gets, in the order in which it gets them.

    Args:
        choices: (tokens, k) numbers of the experts that the router chose for each token.
        expert: Number of the expert.
    """
    return (choices == expert).any(1).nonzero()[:, 0]


def _check_layout(experts: nn.Module) -> None:
    """Refuse experts that compute in another way than their parts here."""
    kind = type(experts).__name__
    names = {name: parameter.ndim for name, parameter in experts.named_parameters(recurse=False)}
    if names != {_FIRST: 3, _SECOND: 3}:
        raise AttributeError(f"{kind} must hold {_FIRST} and {_SECOND} of all experts alone; found {', '.join(names)}")

    # What transformers says of the variants of a layout; older versions know fewer of them.
    for name, plain in _PLAIN_LAYOUT.items():
        if getattr(experts, name, plain) != plain:
            raise AttributeError(f"{kind} has {name}={not plain}, which neuronspec cannot compute expert by expert")

    # A gate of its own, such as one that clamps, would be missed by a hook at the activation.
    gate = getattr(type(experts), "_apply_gate", None)
    if gate is not None and gate.__name__ != "_default_apply_gate":
        raise AttributeError(f"{kind} combines the gate and its factor in a way of its own")
    if "act_fn" not in dict(experts.named_children()):
        raise AttributeError(f"{kind} must have its activation as the module act_fn")

    first, second = getattr(experts, _FIRST).shape, getattr(experts, _SECOND).shape
    if first != (second[0], 2 * second[2], second[1]):
        raise AttributeError(f"{kind}: {_FIRST} {tuple(first)} and {_SECOND} {tuple(second)} do not fit together")


@torch.no_grad()
def _check_result(experts: nn.Module, views: list[StackedExpert]) -> None:
    """Refuse experts whose parts compute something else than the layer itself, for two made-up tokens."""
    weight = views[0].second.parameter
    if weight.is_meta:  # a model without numbers, or one that is kept elsewhere
        return

    # Both tokens choose two experts each.
    tokens = torch.linspace(-1, 1, 2 * weight.shape[1], device=weight.device).view(2, -1).to(weight.dtype)
    choices = torch.tensor([[0, len(views) - 1], [len(views) - 1, 0]], device=weight.device)
    weights = torch.full((2, 2), 0.5, device=weight.device, dtype=weight.dtype)

    # The loop over experts below what the implementations of transformers, some of which know some types only.
    own = type(experts).forward
    expected = getattr(own, "__wrapped__", own)(experts, tokens, choices, weights)
    found = _sum_experts(views, tokens, choices, weights)
    if not torch.allclose(found, expected, rtol=0.05, atol=0.05 * float(expected.abs().max()), equal_nan=True):
        raise AttributeError(f"{type(experts).__name__} computes something else than (act(gate) * factor) @ down")


def _compute_by_expert(experts: nn.Module) -> None:
    """Let a layer compute through the parts of its experts, for as long as any of them is hooked."""
    name = _forward_name(experts)
    before = experts.__dict__.get(name)
    if not isinstance(before, functools.partial) or before.func is not _forward:
        if before is not None:
            experts.__dict__[_ORIGINAL] = before
        # A partial and no closure: it follows the model into a deep copy.
        experts.__dict__[name] = functools.partial(_forward, experts)


def _stop_computing_by_expert(experts: nn.Module) -> Callable[..., torch.Tensor]:
    """Undo `_compute_by_expert`; return the layer's own forward method."""
    name = _forward_name(experts)
    del experts.__dict__[name]
    before = experts.__dict__.pop(_ORIGINAL, None)
    if before is not None:
        experts.__dict__[name] = before
    own: Callable[..., torch.Tensor] = getattr(experts, name)
    return own


def _forward_name(experts: nn.Module) -> str:
    """Return the attribute with the forward method: accelerate moves it, when it spreads a model over devices."""
    return "_old_forward" if "_old_forward" in experts.__dict__ else "forward"


def _forward(experts: nn.Module, *arguments: Any, **options: Any) -> torch.Tensor:
    """Compute a layer of experts: expert by expert while any part is hooked, afterwards again as transformers does."""
    views = view_experts(experts)
    if not any(view.hooked for view in views):
        return _stop_computing_by_expert(experts)(*arguments, **options)
    return _sum_experts(views, *arguments, **options)


def _sum_experts(
    views: list[StackedExpert], hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    """Return the weighted sum of the chosen experts' outputs, (tokens, d_model).

    Args:
        views: Parts of each expert.
        hidden_states: (tokens, d_model).
        top_k_index: (tokens, k) numbers of the experts that the router chose.
        top_k_weights: (tokens, k) weights of their outputs.
    """
    output = torch.zeros_like(hidden_states)
    chosen: list[int] = torch.unique(top_k_index).tolist()
    for number in chosen:
        # A token chooses an expert once at most, so that the tokens come in their order.
        tokens, choice = torch.where(top_k_index == number)
        states = views[number].compute(hidden_states[tokens])
        weighted = states * top_k_weights[tokens, choice, None]
        output.index_add_(0, tokens, weighted.to(output.dtype))
    return output
