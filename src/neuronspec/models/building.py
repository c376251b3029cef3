"""Building a randomly initialized model from a preset."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from neuronspec.models.embeddings import Embeddings, tie_embeddings
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
    """Build a randomly initialised model: M2M-100's architecture, which is the paper's.

    Args:
        preset: a name of `PRESETS`.
        tokenizer: gives the vocabulary's size and the special tokens.
        activation: of the FFN.
        embeddings: `separate`: the decoder's input and output share one matrix and the encoder has its own (the
            paper, A.2.1); `shared`: one matrix for all.
        dropout: instead of the preset's.
        seed: of the initialisation.

    Returns:
        The model, with the kind of its embeddings in `model.config.embeddings`.

    Raises:
        NeuronspecError: unknown preset.
    """
    config = configure_model(preset, tokenizer)
    config.activation_function = activation
    config.embeddings = embeddings
    config.tie_word_embeddings = embeddings == "shared"
    if dropout is not None:
        config.dropout = config.attention_dropout = dropout
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = M2M100ForConditionalGeneration(config)
        tie_embeddings(model)
        initialize(model)
    return model


def configure_model(preset: str, tokenizer: PreTrainedTokenizerBase) -> M2M100Config:
    """Return the configuration of a preset's model.

    Args:
        preset: a name of `PRESETS`.
        tokenizer: gives the vocabulary's size and the special tokens.

    Raises:
        NeuronspecError: unknown preset.
    """
    return M2M100Config(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        **PRESETS[preset].configuration(),
    )


@torch.no_grad()
def initialize(model: PreTrainedModel) -> None:
    """Draw the weights as the paper's toolkit does: Xavier uniform matrices, embeddings of deviation d_model^-0.5.

    Transformers' own start, a deviation of 0.02 everywhere, is made for large models: a small one hardly learns
    from it, since its embeddings drown in the positions.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and module is not model.lm_head:
            gain = 2**-0.5 if name.endswith(("q_proj", "k_proj", "v_proj")) else 1.0
            nn.init.xavier_uniform_(module.weight, gain)
            nn.init.zeros_(module.bias)
    for table in (model.base_model.shared, model.lm_head):
        nn.init.normal_(table.weight, std=model.config.d_model**-0.5)
        table.weight[model.config.pad_token_id] = 0


def count_parameters(model: PreTrainedModel) -> int:
    """Return the number of parameters, each tied matrix once."""
    return sum(parameter.numel() for parameter in model.parameters())
