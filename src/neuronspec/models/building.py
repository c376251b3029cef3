"""Building a randomly initialized model from a preset."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from neuronspec.models.embeddings import Embeddings, tie_embeddings
from neuronspec.models.loading import find_loader
from neuronspec.models.presets import PRESETS


def build_model(
    preset: str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    activation: Literal["relu", "gelu"] = "relu",
    embeddings: Embeddings = "separate",
    dropout: float | None = None,
    seed: int = 0,
) -> PreTrainedModel:
    """Build a randomly initialized model with the paper's architecture, that of M2M-100.

    Args:
        preset: Name of an entry of `PRESETS`.
        tokenizer: Tokenizer that decides the vocabulary's size and the special tokens.
        activation: Activation function of the FFN.
        embeddings: Sharing of the embeddings. `separate`: the decoder's input and output share one matrix, and the
            encoder has its own (the paper, section A.2.1). `shared`: one matrix for all.
        dropout: Dropout in place of the preset's.
        seed: Seed of the initialization.

    Returns:
        The model, with the sharing of its embeddings in `model.config.embeddings`.

    Raises:
        NeuronspecError: If the preset is unknown.
    """
    config = configure_model(preset, tokenizer)

    # The choices that the preset leaves open
    config.activation_function = activation
    config.embeddings = embeddings
    config.tie_word_embeddings = embeddings == "shared"
    if dropout is not None:
        config.dropout = config.attention_dropout = dropout

    # The caller's random state stays as it is.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = M2M100ForConditionalGeneration(config)
        tie_embeddings(model)
        initialize(model)
    return model


def configure_model(preset: str, tokenizer: PreTrainedTokenizerBase) -> M2M100Config:
    """Return the configuration of a preset's model.

    Args:
        preset: Name of an entry of `PRESETS`.
        tokenizer: Tokenizer that decides the vocabulary's size and the special tokens.

    Raises:
        NeuronspecError: If the preset is unknown.
    """
    return M2M100Config(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        # As in fairseq, the decoder starts with the end of sentence.
        decoder_start_token_id=tokenizer.eos_token_id,
        **PRESETS[preset].configuration(),
    )


def build_skeleton(config: PretrainedConfig) -> PreTrainedModel:
    """Return the model of a configuration with its shapes, but without memory for weights."""
    with torch.device("meta"):
        model: PreTrainedModel = find_loader(config).from_config(config)
    tie_embeddings(model)
    return model


@torch.no_grad()
def initialize(model: PreTrainedModel) -> None:
    """Draw the weights like fairseq: Xavier uniform matrices, embeddings with standard deviation d_model^-0.5.

    The initialization of transformers, a standard deviation of 0.02 everywhere, is made for large models. A small model
    hardly learns from it, since its embeddings are small compared with the positions.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and module is not model.lm_head:
            # Fairseq's smaller gain for the projections of attention.
            gain = 2**-0.5 if name.endswith(("q_proj", "k_proj", "v_proj")) else 1.0
            nn.init.xavier_uniform_(module.weight, gain)
            nn.init.zeros_(module.bias)

    # The encoder's embeddings and the decoder's; the vector of padding is zero.
    for table in (model.base_model.shared, model.lm_head):
        nn.init.normal_(table.weight, std=model.config.d_model**-0.5)
        table.weight[model.config.pad_token_id] = 0


def count_parameters(model: PreTrainedModel) -> int:
    """Return the number of parameters of a model; tied matrices count once."""
    return sum(parameter.numel() for parameter in model.parameters())
