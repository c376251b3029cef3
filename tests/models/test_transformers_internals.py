from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from neuronspec.models.transformers_internals import compute_logits

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]


@pytest.mark.parametrize("name", ["m2m_100", "mbart", "bart", "marian", "pegasus", "t5"])
def test_equals_the_full_forward_at_the_real_tokens(
    name: str, small_model: SmallModel, small_batch: SmallBatch
) -> None:
    model, batch = small_model(name), small_batch()
    real = batch["decoder_attention_mask"].bool()
    with torch.no_grad():
        expected = model(**batch).logits[real]
        logits = compute_logits(model, batch | {"labels": batch["decoder_input_ids"]}, real)
    assert logits.shape == (4 + 6 + 2 + 1, model.config.vocab_size)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)


def test_padding_never_enters_the_output_layer(
    architecture: str, small_model: SmallModel, small_batch: SmallBatch
) -> None:
    model, batch = small_model(architecture), small_batch()
    real = batch["decoder_attention_mask"].bool()
    entered: list[int] = []

    def note(module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        entered.append(arguments[0].shape[:-1].numel())

    model.get_output_embeddings().register_forward_pre_hook(note)
    compute_logits(model, batch, real)
    assert entered == [int(real.sum())]


def test_gradients_are_those_of_the_full_forward(small_model: SmallModel, small_batch: SmallBatch) -> None:
    batch = small_batch()
    real = batch["decoder_attention_mask"].bool()
    short, full = small_model(), small_model()
    torch.autograd.backward(compute_logits(short, batch, real).logsumexp(1).sum())
    full(**batch).logits[real].logsumexp(1).sum().backward()
    for (name, ours), theirs in zip(short.named_parameters(), full.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-9, msg=name)
