"""The sentence, and the token in it, that each vector of neurons belongs to.

Most architectures hand their second matrix (batch, seq, d_ff); some put time first, flatten batch and time, or send
each expert the tokens that are routed to it.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from neuronspec.errors import NeuronspecError, NeuronspecWarning
from neuronspec.models.stacked_experts import find_routed, is_stacked
from neuronspec.neurons.layers import FFNLayer


class Positions:
    """Watches a model's stacks and experts, to know which token each vector of neurons belongs to.

    Args:
        layers: All FFN layers of one model.
    """

    def __init__(self, layers: Sequence[FFNLayer]) -> None:
        self.layers = layers
        self.shapes: dict[str, tuple[int, int]] = {}  # stack -> (batch, seq) of the present forward pass
        self._routed: dict[nn.Module, tuple[torch.Tensor, torch.Tensor]] = {}  # experts -> (hidden states, choices)
        self._warned = False

    def attach(self) -> Iterator[RemovableHandle]:
        """Hook the model; the caller removes the hooks."""
        for layer in self.layers:
            if layer.expert == 0:  # every layer: LayerDrop may leave any of them out
                # A partial and no closure: it follows the model into a deep copy.
                note = functools.partial(self._note_shape, layer)
                yield layer.block.register_forward_pre_hook(note, with_kwargs=True)
            if layer.experts is not None and layer.expert == 0:
                yield layer.experts.register_forward_pre_hook(self._note_routing, with_kwargs=True)

    def tokens(self, layer: FFNLayer, states: torch.Tensor) -> torch.Tensor | None:
        """Return the place of every vector in the flattened (batch, seq).

        Args:
            layer: Layer of the vectors.
            states: Input of its second matrix: (batch, seq, d_ff), (batch * seq, d_ff) or (routed tokens, d_ff).

        Returns:
            (routed tokens,) indices for an expert; None if every token is there, in order.

        Raises:
            NeuronspecError: If tokens were routed to the expert in an unknown way.
        """
        if layer.experts is None:
            return None

        # Where experts share their parameters, the router gives their numbers.
        hidden, choices = self._routed[layer.experts]
        if is_stacked(layer.experts):
            return find_routed(choices, layer.expert)

        # The reading of the router's choices that explains how many tokens this expert got
        for tokens, known_error in _list_readings(choices, layer.expert):
            if len(tokens) == states.numel() // states.shape[-1]:
                if known_error:
                    self._warn()
                return tokens

        raise NeuronspecError(
            f"{layer.name} got {states.numel() // states.shape[-1]} of {len(hidden)} tokens: this version of "
            "transformers routes tokens to experts in a way that neuronspec does not know"
        )

    def count_rows(self, layer: FFNLayer, states: torch.Tensor) -> int:
        """Return the number of rows of the batch that a layer's vectors belong to; beam search has one for each beam.

        Args:
            layer: Layer of the vectors.
            states: Vectors of the layer, as `tokens` takes them.
        """
        return states.shape[layer.time_first] if states.ndim == 3 else self.shapes[layer.stack][0]

    def spread(self, rows: torch.Tensor, layer: FFNLayer, states: torch.Tensor) -> torch.Tensor:
        """Return what is known of each row in a shape that broadcasts with the vectors of a layer.

        Args:
            rows: (batch,) values, such as the number of each row's task.
            layer: Layer of the vectors.
            states: Vectors of the layer, as `tokens` takes them.

        Returns:
            (1, batch) or (batch, 1) for all positions, or (tokens,) where the vectors are those of single tokens.

        Raises:
            NeuronspecError: If tokens were routed to the expert in an unknown way.
        """
        if states.ndim == 3:
            return rows[None] if layer.time_first else rows[:, None]

        # Experts get single tokens, (tokens, d_model).
        _, seq = self.shapes[layer.stack]
        of_tokens = rows.repeat_interleave(seq)  # (batch * seq,)
        routed = self.tokens(layer, states)
        return of_tokens if routed is None else of_tokens[routed.to(of_tokens.device)]

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                "this version of transformers sends the tokens of NLLB-MoE to experts 0 and 1 alone, whatever the "
                "router chose: what is recorded is what it computes, not what the model was trained to do",
                NeuronspecWarning,
                stacklevel=2,
            )

    def _note_shape(
        self, layer: FFNLayer, module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        hidden = arguments[0] if arguments else options["hidden_states"]
        batch, seq = hidden.shape[:2]
        self.shapes[layer.stack] = (seq, batch) if layer.time_first else (batch, seq)

    def _note_routing(self, module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        # (tokens, d_model), and (tokens, experts) of 0 and 1 or (tokens, k) of experts' numbers
        hidden, choices, *_ = (*arguments, *options.values())
        self._routed[module] = (hidden, choices)


def _list_readings(choices: torch.Tensor, expert: int) -> Iterator[tuple[torch.Tensor, bool]]:
    """Yield the tokens that an expert may get, and whether this would be the known error of transformers.

    transformers 5.23 reads the router's table of zeros and ones as a table of experts' numbers, so that expert 0 gets
    a token for every zero and expert 1 one for every one.
    """
    # The table as it is meant
    yield choices[:, expert].nonzero()[:, 0], False

    # The table as that version reads it
    yield torch.eq(choices.T, expert).nonzero()[:, 1], True
