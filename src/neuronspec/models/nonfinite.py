"""NaN and infinity in tensors and models, found before anything is computed from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn

from neuronspec.errors import NeuronspecError

NamedTensor = tuple[str, torch.Tensor]


def check_finite(model: nn.Module, what: str = "the model") -> None:
    """Refuse a model with a weight that is NaN or infinite: its outputs would be meaningless.

    This takes one reduction over each weight, less time than reading the weights from a disk.

    Args:
        model: Model to check; it is not changed.
        what: Name of the model in the message.

    Raises:
        NeuronspecError: If a weight is not finite; the first one is named.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> _ = nn.init.constant_(layer.bias, torch.inf)
        >>> check_finite(layer)
        Traceback (most recent call last):
        neuronspec.errors.NeuronspecError: the weights of the model are not finite numbers: bias holds 1 of 1 that are \
NaN or infinite (1 of 2 tensors); such a training has diverged, or its numbers overflowed when it was saved in half \
precision: take an earlier checkpoint
    """
    named = list(_list_weights(model))
    bad = find_nonfinite(named)
    if not bad:
        return

    # Only the first one is counted, for the message.
    first = dict(named)[bad[0]]
    count = int((~_as_floats(first).isfinite()).sum())
    raise NeuronspecError(
        f"the weights of {what} are not finite numbers: {bad[0]} holds {count} of {first.numel()} that are NaN or "
        f"infinite ({len(bad)} of {len(named)} tensors); such a training has diverged, or its numbers overflowed when "
        "it was saved in half precision: take an earlier checkpoint"
    )


def find_nonfinite(tensors: Iterable[NamedTensor]) -> list[str]:
    """Return the names of the tensors that hold NaN or infinity.

    Args:
        tensors: Names and tensors of any kind. Empty tensors and tensors of integers are finite.

    Example:
        >>> find_nonfinite([("a", torch.ones(2)), ("b", torch.tensor([1.0, torch.nan])), ("c", torch.ones(2).long())])
        ['b']
    """
    return [name for name, tensor in tensors if not is_finite(tensor)]


@torch.no_grad()
def is_finite(tensor: torch.Tensor) -> bool:
    """Return whether all numbers of a tensor are finite."""
    # Integers are finite, and a tensor on the meta device has no numbers.
    if tensor.is_meta or not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    if not tensor.numel():
        return True

    least, most = _as_floats(tensor).aminmax()  # one reduction, whose result with NaN is NaN
    return bool(least.isfinite() & most.isfinite())


def _as_floats(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor of numbers that torch can compare: the parts of complex numbers, wider floats for 8-bit ones."""
    values = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
    return values.float() if values.element_size() == 1 else values


def _list_weights(model: nn.Module) -> Iterator[NamedTensor]:
    """Yield the model's parameters, and the buffers that are saved with it.

    A buffer may contain -inf on purpose, to mask something; only its NaN are kept.
    """
    yield from model.named_parameters()

    # Buffers that are not saved are made again by the model.
    saved = model.state_dict(keep_vars=True).keys()
    for name, buffer in model.named_buffers():
        if name in saved and buffer.is_floating_point() and not buffer.is_meta:
            yield name, buffer.masked_fill(buffer.isinf(), 0)
