"""Training some entries of some parameters only: no gradient, no momentum and no weight decay reaches the others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from neuronspec.models.matrices import output_dimension
from neuronspec.models.token_matrices import list_token_tensors
from neuronspec.neurons.layers import find_ffn_layers


@dataclass(frozen=True, kw_only=True)
class OwnEntries:
    """The entries of a tensor that are trained.

    Attributes:
        dimension: Dimension in which they are chosen.
        numbers: (own,) their indices in this dimension.
    """

    dimension: int
    numbers: torch.Tensor

    def clear(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a copy of a tensor of the same shape in which the own entries are 0."""
        return tensor.index_fill(self.dimension, self.numbers.to(tensor.device), 0)

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a copy of a tensor of the same shape in which all other entries are 0."""
        numbers = self.numbers.to(tensor.device)
        kept = torch.zeros_like(tensor)
        return kept.index_copy_(self.dimension, numbers, tensor.index_select(self.dimension, numbers))


def list_own_entries(
    model: PreTrainedModel, neurons: Mapping[str, torch.Tensor], vocabulary: int
) -> dict[str, OwnEntries]:
    """Return the entries that belong to some neurons and to the last tokens, by each name of their tensor.

    These are the neurons' rows of the first matrices and their biases, their columns of the second ones, and the
    tokens' rows of the embeddings and of the output layer.

    Args:
        model: Encoder-decoder.
        neurons: For each layer, (d_ff,) boolean.
        vocabulary: Id of the first token that is trained.
    """
    names: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)  # tied tensors have several

    entries: dict[str, OwnEntries] = {}

    def add(tensor: Any, dimension: int, numbers: torch.Tensor) -> None:
        if tensor is not None and len(numbers):
            entries.update(dict.fromkeys(names.get(id(tensor), ()), OwnEntries(dimension=dimension, numbers=numbers)))

    for layer in find_ffn_layers(model):
        numbers = neurons[layer.name].nonzero()[:, 0]
        for matrix in layer.expansions:
            add(matrix.weight, output_dimension(matrix), numbers)
            add(matrix.bias, 0, numbers)
        add(layer.projection.weight, 1 - output_dimension(layer.projection), numbers)

    for tensor in list_token_tensors(model):
        is_bias = tensor.ndim == 1 or tensor.shape[0] == 1
        dimension = tensor.ndim - 1 if is_bias else 0
        add(tensor, dimension, torch.arange(vocabulary, tensor.shape[dimension]))
    return entries


class EntryTraining:
    """Trains the own entries of a model, and keeps all others as they are.

    All other parameters get no gradient at all. In a parameter with own entries, the gradient of the others is 0, so
    that neither the norm nor a moment knows them; after each step, they are written back, whatever the optimizer did.

    Args:
        model: Model to train in place.
        entries: Own entries by the name of their tensor.
    """

    def __init__(self, model: PreTrainedModel, entries: Mapping[str, OwnEntries]) -> None:
        self._parts: list[tuple[nn.Parameter, OwnEntries, torch.Tensor]] = []
        named = dict(model.named_parameters())
        for name, parameter in named.items():
            own = entries.get(name)
            parameter.requires_grad_(own is not None)
            if own is not None:
                parameter.register_hook(own.keep)
                self._parts.append((parameter, own, parameter.detach().clone()))

    def watch(self, optimizer: torch.optim.Optimizer) -> RemovableHandle:
        """Write the other entries back after each step of an optimizer."""
        return optimizer.register_step_post_hook(self._restore)

    @torch.no_grad()
    def _restore(self, optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
        for parameter, own, before in self._parts:
            numbers = own.numbers.to(parameter.device)
            trained = parameter.index_select(own.dimension, numbers)
            parameter.copy_(before.to(parameter.device))
            parameter.index_copy_(own.dimension, numbers, trained)


def count_entries(model: PreTrainedModel, entries: Mapping[str, OwnEntries]) -> int:
    """Return the number of own entries that are parameters."""
    total = 0
    for name, parameter in model.named_parameters():
        if name in entries:
            own = entries[name]
            total += parameter.numel() // parameter.shape[own.dimension] * len(own.numbers)
    return total


def hash_others(
    state: Mapping[str, torch.Tensor], shapes: Mapping[str, Sequence[int]], entries: Mapping[str, OwnEntries]
) -> dict[str, str]:
    """Return the SHA-256 of each tensor without its own entries, in the shape that it had before.

    Args:
        state: State dict of the model before or after.
        shapes: Shapes of the tensors before; other tensors are left out.
        entries: Own entries in the model after.
    """
    hashes = {}
    for name, shape in shapes.items():
        # What was there before comes first in every dimension.
        tensor = state[name][tuple(slice(0, size) for size in shape)].detach().cpu()
        own = entries.get(name)
        if own is not None:
            inside = own.numbers[own.numbers < shape[own.dimension]]
            tensor = tensor.index_fill(own.dimension, inside, 0)
        hashes[name] = hashlib.sha256(tensor.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
    return hashes
