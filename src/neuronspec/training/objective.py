"""The training objective: label-smoothed cross entropy of the real target tokens."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from neuronspec.data.batches import IGNORED, Tensors
from neuronspec.models.transformers_internals import compute_logits
from neuronspec.specialization.routing import assign_tasks


class TranslationLoss(nn.Module):
    """A model together with its loss, so that data parallelism sees one forward pass.

    Args:
        model: the encoder-decoder, specialised or not.
        label_smoothing: probability spread evenly over the vocabulary.
        parts: what a method trains beside the model; the model's hooks call it.
    """

    def __init__(self, model: PreTrainedModel, label_smoothing: float, parts: nn.Module | None = None) -> None:
        super().__init__()
        self.model = model
        self.parts = parts
        self.label_smoothing = label_smoothing

    def forward(self, batch: Tensors) -> torch.Tensor:
        """Return the summed loss of a batch (see `neuronspec.data.batches.collate`), in nats, float32."""
        assign_tasks(self.model, batch["tasks"])
        real = batch["labels"] != IGNORED  # (batch, target)
        logits = compute_logits(self.model, batch, real)  # (real tokens, vocabulary)
        return functional.cross_entropy(
            logits.float(), batch["labels"][real], reduction="sum", label_smoothing=self.label_smoothing
        )


@torch.no_grad()
def token_losses(model: PreTrainedModel, batch: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the negative log-likelihood of each sentence, in nats, and its number of target tokens.

    Args:
        model: in evaluation mode.
        batch: see `neuronspec.data.batches.collate`.

    Returns:
        (batch,) float64 and (batch,) int64.
    """
    assign_tasks(model, batch["tasks"])
    real = batch["labels"] != IGNORED
    losses = functional.cross_entropy(
        compute_logits(model, batch, real).float(), batch["labels"][real], reduction="none"
    )
    rows = real.nonzero()[:, 0]  # (real tokens,) the row of each token
    sums = torch.zeros(len(real), dtype=torch.float64, device=losses.device).index_add_(0, rows, losses.double())
    return sums, real.sum(1)
