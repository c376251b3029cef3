"""The class of transformers that computes exactly what a fairseq model computes, and its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    BartConfig,
    BlenderbotConfig,
    FSMTConfig,
    M2M100Config,
    MBartConfig,
    PreTrainedConfig,
)
from transformers.models.m2m_100.modeling_m2m_100 import M2M100SinusoidalPositionalEmbedding

from neuronspec.errors import NeuronspecError
from neuronspec.models.fairseq.architecture import Architecture

OFFSET = 2  # number of the first position in fairseq's tables


@dataclass(frozen=True, kw_only=True)
class Target:
    """A class of transformers, and what its models compute.

    Attributes:
        config: Class of the configuration.
        pre_norm: Whether layers normalize their input.
        normalizes_embeddings: Whether the embeddings are normalized.
        learns_positions: Whether positions are weights, so that they can be learned; otherwise they are sinusoidal.
        stores_positions: Whether its files hold a table of positions.
        first: Row of the table that belongs to the first token.
    """

    config: type[PreTrainedConfig]
    pre_norm: bool
    normalizes_embeddings: bool
    learns_positions: bool = True
    stores_positions: bool = True
    first: int = OFFSET


# A table can hold sinusoidal positions as well, so classes that compute them come first.
_TARGETS = (
    Target(
        config=M2M100Config,
        pre_norm=True,
        normalizes_embeddings=False,
        learns_positions=False,
        stores_positions=False,
    ),
    Target(config=FSMTConfig, pre_norm=False, normalizes_embeddings=False, learns_positions=False),
    Target(config=MBartConfig, pre_norm=True, normalizes_embeddings=True),
    Target(config=BartConfig, pre_norm=False, normalizes_embeddings=True),
    Target(config=BlenderbotConfig, pre_norm=True, normalizes_embeddings=False, first=0),
)


def choose_target(architecture: Architecture) -> Target:
    """Return the class of transformers that computes what an architecture computes.

    Raises:
        NeuronspecError: If there is none; the settings that no class combines are named.
    """
    encoder, decoder = architecture.encoder, architecture.decoder
    for what, one, other in (
        ("normalize_before", encoder.pre_norm, decoder.pre_norm),
        ("layernorm_embedding", encoder.normalizes_embeddings, decoder.normalizes_embeddings),
        ("learned_pos", encoder.learned_positions, decoder.learned_positions),
    ):
        if one != other:
            raise NeuronspecError(
                f"the encoder and the decoder differ in {what} ({one} and {other}): no class of transformers has that, "
                "so that the model cannot be imported"
            )

    learned = encoder.learned_positions is not None
    for target in _TARGETS:
        is_equal = (target.pre_norm, target.normalizes_embeddings) == (encoder.pre_norm, encoder.normalizes_embeddings)
        if is_equal and (target.learns_positions or not learned):
            return target

    raise NeuronspecError(
        f"normalize_before={encoder.pre_norm}, layernorm_embedding={encoder.normalizes_embeddings} and "
        f"learned_pos={learned}: no class of transformers combines them, so that the model cannot be imported"
    )


def make_configuration(architecture: Architecture, target: Target) -> PreTrainedConfig:
    """Return the configuration of the model in transformers.

    Args:
        architecture: Architecture of the fairseq model.
        target: Class of transformers.
    """
    encoder, decoder = architecture.encoder, architecture.decoder
    dropout = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, **architecture.dropout}
    values: dict[str, Any] = {
        "d_model": architecture.d_model,
        "encoder_layers": encoder.layers,
        "decoder_layers": decoder.layers,
        "encoder_attention_heads": encoder.heads,
        "decoder_attention_heads": decoder.heads,
        "encoder_ffn_dim": encoder.d_ff,
        "decoder_ffn_dim": decoder.d_ff,
        "activation_function": architecture.activation,
        "scale_embedding": architecture.scaled,
        "max_position_embeddings": encoder.learned_positions or architecture.positions,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        **dropout,
        # The ids of fairseq's dictionaries; its decoder starts with the end of sentence.
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 2,
        "forced_eos_token_id": None,
        "tie_word_embeddings": architecture.embeddings == "shared",
        **_count_embeddings(architecture, target),
    }
    config = target.config(**values)
    # FSMT lets a decoder look ahead unless it is called without a cache; `generate` always says what it needs.
    if target.config is FSMTConfig:
        config.use_cache = False

    # As `build_model` names it: training keeps the decoder's two matrices one.
    if architecture.embeddings == "separate" and target.config is not FSMTConfig:
        config.embeddings = "separate"
    return config


def _count_embeddings(architecture: Architecture, target: Target) -> dict[str, Any]:
    if target.config is FSMTConfig:
        return {"src_vocab_size": architecture.vocabulary, "tgt_vocab_size": architecture.vocabulary}
    return {"vocab_size": architecture.vocabulary}


def make_positions(
    architecture: Architecture, target: Target, weights: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the tables of positions by fairseq's names; none for a class that stores none.

    Args:
        architecture: Architecture of the fairseq model.
        target: Class of transformers.
        weights: Weights by current fairseq names.
    """
    if not target.stores_positions:
        return {}

    tables = {}
    for stack in ("encoder", "decoder"):
        name = f"{stack}.embed_positions.weight"
        table = weights.get(name)
        if table is None:
            table = M2M100SinusoidalPositionalEmbedding.get_embedding(
                architecture.positions + OFFSET, architecture.d_model, padding_idx=1
            )
        tables[name] = table[OFFSET - target.first :]
    return tables
