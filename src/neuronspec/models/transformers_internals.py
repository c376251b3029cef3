"""Internals of transformers' models that we depend on: the output layer, and the decoder's input."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import nn
from transformers import PreTrainedModel, masking_utils

INPUTS = ("input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask")  # what an encoder-decoder reads


def compute_logits(model: PreTrainedModel, batch: Mapping[str, torch.Tensor], real: torch.Tensor) -> torch.Tensor:
    """Return the logits of the real target tokens only; padding never goes through the output layer.

    Args:
        model: Encoder-decoder.
        batch: `input_ids`, `attention_mask` (batch, source), `decoder_input_ids`, `decoder_attention_mask`
            (batch, target).
        real: (batch, target) boolean, True at the tokens to predict; or their (real tokens,) positions, for which
            a GPU need not be waited for.

    Returns:
        (real tokens, vocabulary) logits.
    """
    inputs = {name: batch[name] for name in INPUTS}
    core = model.base_model
    logits: torch.Tensor

    # T5 has no model within the model, so all logits are computed.
    if core is model:
        logits = take_tokens(model(**inputs, use_cache=False).logits, real)
        return logits

    hidden = core(**inputs, use_cache=False)[0]  # (batch, target, d_model)
    output_layer = model.get_output_embeddings()

    # FSMT projects inside its decoder.
    if not isinstance(output_layer, nn.Linear):
        logits = take_tokens(hidden, real)  # (real tokens, vocabulary)
        return logits

    logits = output_layer(take_tokens(hidden, real))  # (real tokens, vocabulary)

    # BART and its relatives keep the bias of their output layer outside of it.
    bias = getattr(model, "final_logits_bias", None)
    return logits if bias is None else logits + bias


def take_tokens(states: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Return the states of some tokens, (tokens, ...).

    Args:
        states: (batch, target, ...) states of all tokens.
        real: (batch, target) boolean; or (tokens,) positions in the flattened (batch * target) tokens.
    """
    if real.dtype == torch.bool:
        return states[real]
    return states.flatten(0, 1).index_select(0, real)


@contextlib.contextmanager
def without_reading_padding(device: torch.device) -> Iterator[None]:
    """Let transformers build attention masks on a GPU without asking whether anything is padded.

    It leaves a mask out where nothing is padded, and reads the padding for that, several times in each pass. A GPU
    has to finish all work before; batches of a training nearly always have padding. On a CPU, nothing changes.

    Args:
        device: Device of the batch.
    """
    is_tracing = getattr(masking_utils, "is_tracing", None)
    if device.type == "cpu" or is_tracing is None:
        yield
        return

    # Masks are not read while a model is traced.
    masking_utils.is_tracing = lambda tensor=None: True
    try:
        yield
    finally:
        masking_utils.is_tracing = is_tracing


def shift_labels(model: PreTrainedModel, labels: torch.Tensor) -> torch.Tensor:
    """Return the decoder's input for labels, as the model itself makes it: shifted to the right.

    Args:
        model: Encoder-decoder.
        labels: (batch, target) ids, -100 at padding.

    Returns:
        (batch, target) ids.
    """
    if hasattr(model, "prepare_decoder_input_ids_from_labels"):
        copied = labels.clone()  # FSMT writes to it
        shifted: torch.Tensor = model.prepare_decoder_input_ids_from_labels(labels=copied)
        return shifted

    # Shifted by one position: the start of the decoder, then all labels but the last.
    start = labels.new_full((len(labels), 1), model.config.decoder_start_token_id)
    shifted = torch.cat([start, labels[:, :-1]], dim=1)
    return shifted.masked_fill_(shifted == -100, model.config.pad_token_id)


@contextlib.contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Put a model into evaluation mode within a block; afterwards each of its modules has its previous mode."""
    # Modules may differ in their mode, for example frozen ones.
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def without_output_layer(model: PreTrainedModel) -> Iterator[None]:
    """Make the model's forward skip its output layer within a block: its logits have no positions.

    With a vocabulary of 128,000 tokens, the output layer costs more than everything before it, and recording does not
    need it.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):  # FSMT names its embedding here, and projects inside the decoder
        decoder = getattr(model.base_model, "decoder", None)
        head = getattr(decoder, "output_projection", None)
    if head is None:
        yield
        return

    # The layer gets no position of the hidden states, and keeps its other arguments.
    handle = head.register_forward_pre_hook(lambda module, arguments: (arguments[0][:, :0], *arguments[1:]))
    try:
        yield
    finally:
        handle.remove()
