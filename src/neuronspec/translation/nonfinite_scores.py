"""Refusing to translate with a model that puts out no numbers: a beam search makes text of NaN as well."""

from __future__ import annotations

import torch
from transformers import LogitsProcessor

from neuronspec.errors import NeuronspecError

NO_NUMBERS = (
    "cannot translate: the model's scores are not numbers (NaN). Its weights are not finite, or its activations "
    "overflow: take an earlier checkpoint, or load it in float32"
)
_STEPS = 2  # the first one may be forced to be a tag, which hides what the model says


class FiniteScores(LogitsProcessor):  # type: ignore[misc,unused-ignore]
    """Looks at the scores of the first steps of a generation; one for each generation."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores (rows, vocabulary) as they are.

        Raises:
            NeuronspecError: One is NaN. Minus infinity is fine: it forbids a token.
        """
        self.steps += 1
        if self.steps <= _STEPS and bool(scores.max().isnan()):  # NaN goes through the maximum
            raise NeuronspecError(NO_NUMBERS)
        return scores
