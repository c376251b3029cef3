"""What a model puts out, for tests that compare two ways to it."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel


def logits(model: PreTrainedModel, batch: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    """The logits of the real target tokens."""
    with torch.no_grad():
        found: torch.Tensor = model(**batch, **options).logits[batch["decoder_attention_mask"].bool()]
    return found


def generate(model: PreTrainedModel, batch: dict[str, torch.Tensor], **options: Any) -> list[list[int]]:
    """The tokens of up to 8 steps."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    ids: list[list[int]] = model.generate(**inputs, max_new_tokens=8, do_sample=False, **options).tolist()
    return ids


def trimmed(ids: list[int], padding: int = 1) -> list[int]:
    """A row's own tokens, without what longer rows of its batch made it padded with."""
    return ids[: len(ids) - next((n for n, number in enumerate(reversed(ids)) if number != padding), len(ids))]
