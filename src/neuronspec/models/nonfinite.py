"""Numbers that are none: tensors with NaN or infinity, found before anything is computed from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn

from neuronspec.errors import NeuronspecError

Named = tuple[str, torch.Tensor]


def check_finite(model: nn.Module, what: str = "the model") -> None:
    """Refuse a model with a weight that is NaN or infinite: whatever it computes would mean nothing.

    One reduction over each weight tells, which takes less time than reading the weights from a disk.

    Args:
        model: The model; nothing of it changes.
        what: Its name in the message.

    Raises:
        NeuronspecError: A weight is not finite; the first one is named.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> _ = nn.init.constant_(layer.bias, torch.inf)
        >>> check_finite(layer)
        Traceback (most recent call last):
        neuronspec.errors.NeuronspecError: the weights of the model are not finite numbers: bias holds 1 of 1 that are \
NaN or infinite (1 of 2 tensors); such a training has diverged, or its numbers overflowed when it was saved in half \
precision: take an earlier checkpoint
    """
    named = list(_weights(model))
    if not (bad := find_nonfinite(named)):
        return
    first = dict(named)[bad[0]]
    count = int((~_as_floats(first).isfinite()).sum())
    raise NeuronspecError(
        f"the weights of {what} are not finite numbers: {bad[0]} holds {count} of {first.numel()} that are NaN or "
        f"infinite ({len(bad)} of {len(named)} tensors); such a training has diverged, or its numbers overflowed when "
        "it was saved in half precision: take an earlier checkpoint"
    )


def find_nonfinite(tensors: Iterable[Named]) -> list[str]:
    """Return the names of the tensors that hold NaN or infinity.

    Args:
        tensors: Names and tensors of any kind; those that hold no floating-point numbers, or nothing, are fine.

    Example:
        >>> find_nonfinite([("a", torch.ones(2)), ("b", torch.tensor([1.0, torch.nan])), ("c", torch.ones(2).long())])
        ['b']
    """
    return [name for name, tensor in tensors if not is_finite(tensor)]


@torch.no_grad()
def is_finite(tensor: torch.Tensor) -> bool:
    """Return whether all numbers of a tensor are finite."""
    if tensor.is_meta or not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    if not tensor.numel():
        return True
    least, most = _as_floats(tensor).aminmax()  # one reduction; NaN goes through it
    return bool(least.isfinite() & most.isfinite())


def _as_floats(tensor: torch.Tensor) -> torch.Tensor:
    """Return numbers that torch can compare: of a complex tensor both parts, of 8-bit floats wider ones."""
    values = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
    return values.float() if values.element_size() == 1 else values


def _weights(model: nn.Module) -> Iterator[Named]:
    """Yield the model's parameters, and the buffers that are saved with it where they must be numbers too.

    A buffer may hold -inf on purpose, to mask something: only NaN means nothing there.
    """
    yield from model.named_parameters()
    saved = model.state_dict(keep_vars=True).keys()
    for name, buffer in model.named_buffers():
        if name in saved and buffer.is_floating_point() and not buffer.is_meta:
            yield name, buffer.masked_fill(buffer.isinf(), 0)
