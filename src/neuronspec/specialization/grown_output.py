"""The output layer of a model with added tokens: tasks from before cannot write them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from neuronspec.models.additions import Addition, find_vocabulary_limit, list_bounds

FindTasks = Callable[[torch.Tensor], torch.Tensor | None]


class GrownOutput:
    """Gives the logits of tokens that came later than a row's task the value -inf, in evaluation mode.

    So they cannot win, and have no share of the softmax. The logits of the tokens from before are a product of their
    own, with the bits that they had then. In training every token has its logit: label smoothing needs them all.

    While a model generates for tasks from before alone, the later tokens are left out instead (`cut`): of hypotheses
    with the same score, a beam search chooses by the number of tokens.

    Args:
        layer: Output layer, (vocabulary, d_model); changed in place.
        additions: Languages that were added to the model.
        tasks: Names of the tasks.
        find_tasks: Function that returns the task of each row of the layer's input, (batch,) for (batch, seq, d_model)
            or (tokens,) for (tokens, d_model); None if no task is used.
    """

    def __init__(
        self, layer: nn.Linear, additions: Sequence[Addition], tasks: Sequence[str], find_tasks: FindTasks
    ) -> None:
        self.layer = layer
        self._find_tasks = find_tasks
        size = len(layer.weight)
        bounds = list_bounds([addition.vocabulary for addition in additions], size)
        self._base, self._segments = bounds[0], list(itertools.pairwise(bounds))

        # (tasks,) the number of tokens that each task can write
        limits = [find_vocabulary_limit(additions, task) for task in tasks]
        self._limits = torch.tensor([size if limit is None else limit for limit in limits])
        self.reached = size  # number of tokens that some row of the last input could write
        self._before = layer.__dict__.get("forward")
        layer.forward = functools.partial(self._compute, layer.forward)  # type: ignore[method-assign]

    def detach(self) -> None:
        """Undo the change, unless another library has wrapped the layer since."""
        now = self.layer.__dict__.get("forward")
        if isinstance(now, functools.partial) and getattr(now.func, "__self__", None) is self:
            del self.layer.forward
            if self._before is not None:
                self.layer.forward = self._before

    def _compute(self, dense: Callable[[torch.Tensor], torch.Tensor], states: torch.Tensor) -> torch.Tensor:
        tasks = None if self.layer.training else self._find_tasks(states)
        if tasks is None:
            self.reached = len(self.layer.weight)
            return dense(states)

        # Each row's limit, aligned with (batch, seq, tokens) or (tokens, tokens)
        limits = self._limits.to(states.device)[tasks].reshape(-1, *[1] * (states.ndim - 1))
        self.reached = int(limits.max())
        parts = [self._multiply(states, 0, self._base)]
        for start, stop in self._segments:
            is_reached = limits >= stop
            if stop <= self.reached:
                parts.append(self._multiply(states, start, stop).masked_fill(~is_reached, -torch.inf))
            else:
                parts.append(parts[0].new_full((*states.shape[:-1], stop - start), -torch.inf))
        return torch.cat(parts, dim=-1)  # (..., vocabulary)

    def cut(self, logits: torch.Tensor) -> torch.Tensor:
        """Return logits (..., vocabulary) without the tokens that no row of the last input could write."""
        return logits[..., : self.reached].contiguous() if self.reached < logits.shape[-1] else logits

    def _multiply(self, states: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Return the logits (..., stop - start) of some tokens."""
        bias: Any = self.layer.bias
        return functional.linear(states, self.layer.weight[start:stop], None if bias is None else bias[start:stop])
