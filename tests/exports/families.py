"""Small talkative models of families with their real tokenizer classes, for exports."""

from __future__ import annotations

from pathlib import Path

import torch
from tests.models.tokenizers import FAMILIES, make_bytes
from tests.translation.talkative_models import make_model
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GPT2Tokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

ARCHITECTURES = {
    "nllb": "m2m_100",
    "m2m_100": "m2m_100",
    "mbart-50": "mbart",
    "marian": "marian",
    "madlad": "t5",
    "mt5": "mt5",
}
MORE_ARCHITECTURES = {"t5": "t5", "umt5": "umt5"}
TASKS = ("de-en", "en-fr")
"""Tasks of the exported masks; every family with tags has those of their languages."""
TEXTS = ["a b", "b a d c", "hello world", "c c a b e", "word a"]


def make_encoder_decoder(family: str, folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return a model of a family with its tokenizer."""
    tokenizer = FAMILIES[family].make(folder)
    start = FAMILIES[family].config().decoder_start_token_id
    changes = {} if start is None else {"decoder_start_token_id": start}
    if family == "marian":
        changes["decoder_start_token_id"] = tokenizer.pad_token_id
    if family == "m2m_100":
        changes["vocab_size"] = 160  # its tags are numbered after words that this vocabulary lacks
    model = make_model((ARCHITECTURES | MORE_ARCHITECTURES)[family], tokenizer, **changes)
    if not FAMILIES[family].has_tags:
        model.config.source_prefix = "translate {src_name} to {tgt_name}: "
    return model, tokenizer


SHAPE = {
    **{"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.5},
}
GPT2_SHAPE = {"n_embd": 32, "n_inner": 48, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.5}
DECODERS = {"llama": SHAPE, "gpt2": GPT2_SHAPE}


def make_decoder(architecture: str, folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return a decoder-only model with a byte-level tokenizer."""
    tokenizer = make_bytes(folder, GPT2Tokenizer)
    torch.manual_seed(3)
    ids = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    config = AutoConfig.for_model(architecture, vocab_size=len(tokenizer), **ids, **DECODERS[architecture])
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model.eval(), tokenizer
