"""Refusing to translate with a model whose scores are NaN: a beam search would make text of them as well."""

from __future__ import annotations

import torch
from transformers import LogitsProcessor

from neuronspec.errors import NeuronspecError

NAN_SCORES = (
    "cannot translate: the model's scores are not numbers (NaN). Its weights are not finite, or its activations "
    "overflow: take an earlier checkpoint, or load it in float32"
)
_STEPS = 2  # the first step may be forced to write a tag, which hides the scores of the model


class RefuseNaN(LogitsProcessor):  # type: ignore[misc,unused-ignore]
    """Looks for NaN in the scores of the first steps of one generation."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores (rows, vocabulary) unchanged.

        Raises:
            NeuronspecError: If one is NaN. Minus infinity is allowed: it forbids a token.
        """
        self.steps += 1
        if self.steps <= _STEPS and bool(scores.max().isnan()):  # the maximum with NaN is NaN
            raise NeuronspecError(NAN_SCORES)
        return scores
