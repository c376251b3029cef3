"""The training objective: label-smoothed cross-entropy of the real target tokens."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from neuronspec.data.batches import IGNORED, REAL_TOKENS, Tensors
from neuronspec.models.transformers_internals import compute_logits, take_tokens, without_reading_padding
from neuronspec.specialization.routing import assign_tasks


class TranslationLoss(nn.Module):
    """A model together with its loss, so that data parallelism sees one forward pass.

    Args:
        model: Encoder-decoder, specialized or not.
        label_smoothing: Probability that is spread evenly over the vocabulary.
        added_modules: Modules that a method trains in addition to the model; hooks in the model call them.
    """

    def __init__(self, model: PreTrainedModel, label_smoothing: float, added_modules: nn.Module | None = None) -> None:
        super().__init__()
        self.model = model
        self.added_modules = added_modules
        self.label_smoothing = label_smoothing

    def forward(self, batch: Tensors) -> torch.Tensor:
        """Return the summed loss of a batch (see `neuronspec.data.batches.collate`), in nats, float32."""
        real = batch["labels"] != IGNORED  # (batch, target)
        assign_tasks(self.model, batch["tasks"], real)
        # The loss needs the logits of real tokens only; those of padding would take memory.
        # Batches of a training say where they are; finding them out would wait for a GPU.
        chosen = batch.get(REAL_TOKENS, real)
        with without_reading_padding(real.device):
            logits = compute_logits(self.model, batch, chosen)  # (real tokens, vocabulary)
        # In float32: bf16 would round a sum over a whole batch.
        labels = take_tokens(batch["labels"], chosen)  # (real tokens,)
        return functional.cross_entropy(logits.float(), labels, reduction="sum", label_smoothing=self.label_smoothing)


@torch.no_grad()
def token_losses(model: PreTrainedModel, batch: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the negative log-likelihood of each sentence, in nats, and its number of target tokens.

    Args:
        model: Model in evaluation mode.
        batch: Batch from `neuronspec.data.batches.collate`.

    Returns:
        (batch,) float64 and (batch,) int64.
    """
    real = batch["labels"] != IGNORED  # (batch, target)
    assign_tasks(model, batch["tasks"], real)
    logits = compute_logits(model, batch, real)  # (real tokens, vocabulary)
    losses = functional.cross_entropy(logits.float(), batch["labels"][real], reduction="none")

    # Summed in float64, since float32 would round sums of many tokens.
    rows = real.nonzero()[:, 0]  # (real tokens,) the row of each token
    sums = torch.zeros(len(real), dtype=torch.float64, device=losses.device).index_add_(0, rows, losses.double())
    return sums, real.sum(1)
