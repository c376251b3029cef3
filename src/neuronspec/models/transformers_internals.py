"""What is used of the inside of transformers' models: the output layer, and the decoder's input."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import nn
from transformers import PreTrainedModel

INPUTS = ("input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask")


def compute_logits(model: PreTrainedModel, batch: Mapping[str, torch.Tensor], real: torch.Tensor) -> torch.Tensor:
    """Return the logits of the real target tokens only; padding never goes through the output layer.

    Args:
        model: an encoder-decoder.
        batch: `input_ids`, `attention_mask` (batch, source), `decoder_input_ids`, `decoder_attention_mask`
            (batch, target).
        real: (batch, target) boolean, true at the tokens to predict.

    Returns:
        (real tokens, vocabulary) logits.
    """
    inputs = {name: batch[name] for name in INPUTS}
    core = model.base_model
    logits: torch.Tensor
    if core is model:  # T5 keeps no model within the model: all logits are computed
        logits = model(**inputs, use_cache=False).logits[real]
        return logits
    hidden = core(**inputs, use_cache=False)[0]  # (batch, target, d_model)
    output_layer = model.get_output_embeddings()
    if not isinstance(output_layer, nn.Linear):  # FSMT projects inside its decoder
        logits = hidden[real]  # (real tokens, vocabulary)
        return logits
    logits = output_layer(hidden[real])  # (real tokens, vocabulary)
    if (bias := getattr(model, "final_logits_bias", None)) is not None:
        logits = logits + bias
    return logits


def shift_labels(model: PreTrainedModel, labels: torch.Tensor) -> torch.Tensor:
    """Return the decoder's input for labels, as the model itself makes it: shifted to the right.

    Args:
        model: an encoder-decoder.
        labels: (batch, target) ids, -100 where padded.

    Returns:
        (batch, target) ids.
    """
    if hasattr(model, "prepare_decoder_input_ids_from_labels"):
        shifted: torch.Tensor = model.prepare_decoder_input_ids_from_labels(labels=labels.clone())  # FSMT writes to it
        return shifted
    start = labels.new_full((len(labels), 1), model.config.decoder_start_token_id)
    shifted = torch.cat([start, labels[:, :-1]], dim=1)
    return shifted.masked_fill_(shifted == -100, model.config.pad_token_id)


@contextlib.contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Put a model into evaluation mode for a while; afterwards every part of it has the mode that it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def without_output_layer(model: PreTrainedModel) -> Iterator[None]:
    """Let the model's forward leave its output layer out: its logits have no positions.

    With 128,000 words the output layer costs more than everything before it, and recording needs none of it.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):  # FSMT names its embedding here, and projects inside the decoder
        decoder = getattr(model.base_model, "decoder", None)
        head = getattr(decoder, "output_projection", None)
    if head is None:
        yield
        return
    handle = head.register_forward_pre_hook(lambda module, arguments: (arguments[0][:, :0], *arguments[1:]))
    try:
        yield
    finally:
        handle.remove()
