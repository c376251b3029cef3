"""Watching a model that is recorded for activations that are no numbers, at next to no cost.

A neuron that is NaN compares as silent, and one that is infinite as active: neither says anything. Through the
residual stream either makes the hidden state of its token NaN or infinite in every later layer. So it is enough to
look at what the last layer of each stack puts out; only where that is not finite the batch is read again, to name the
layer and the task where it began.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from neuronspec.neurons.layers import FFNLayer


class LastStates:
    """Notes which tokens of a batch leave the last layer of their stack with a hidden state that is not finite.

    Args:
        layers: All FFN layers of one model.
    """

    def __init__(self, layers: Sequence[FFNLayer]) -> None:
        self.last = {layer.stack: layer for layer in layers}  # the last one of each stack
        self._bad: dict[str, torch.Tensor] = {}  # stack -> (batch, seq)

    def attach(self) -> Iterator[RemovableHandle]:
        """Hook the model; the caller removes the hooks."""
        for layer in self.last.values():
            # A partial and no closure: it follows the model into a deep copy.
            yield layer.block.register_forward_hook(functools.partial(self._note, layer))

    def bad_row(self, real: Mapping[str, torch.Tensor]) -> tuple[str, int] | None:
        """Return the stack and the number of the first row of the batch just read that is not finite.

        Args:
            real: For each stack, (batch, seq) boolean: the tokens that are no padding.
        """
        # A layer that the next batch skips must not report the batch before.
        found, self._bad = self._bad, {}
        for stack, bad in found.items():
            rows = (bad & real[stack].to(bad.device)).any(1)  # (batch,)
            if bool(rows.any()):
                return stack, int(rows.nonzero()[0])
        return None

    def _note(self, layer: FFNLayer, module: nn.Module, arguments: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple | list) else output  # (batch, seq, d_model)
        # The extremes show it, without a tensor of the size of the states.
        least, most = hidden.aminmax(dim=-1)  # NaN goes through it
        bad = ~(least.isfinite() & most.isfinite())
        self._bad[layer.stack] = bad.T if layer.time_first else bad


def find_bad_row(neurons: torch.Tensor, real: torch.Tensor) -> int | None:
    """Return the number of the first row with a real token at which a neuron is not finite.

    Args:
        neurons: The neurons of a layer, (batch, seq, d_ff).
        real: The tokens that are no padding, (batch, seq) boolean.
    """
    rows = (~neurons.isfinite().all(-1) & real).any(1)  # (batch,)
    return int(rows.nonzero()[0]) if bool(rows.any()) else None
