"""Small untrained models whose translations depend on every word and on the neurons of their direction."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.models.building import build_model
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks

TASKS = ("de-en", "en-de", "fr-en", "en-fr")
SHAPE = {
    **{"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4},
    **{"decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 80, "max_position_embeddings": 64},
    **{"init_std": 0.35, "dropout": 0.0, "forced_eos_token_id": None, "decoder_start_token_id": 2},
}
CROSS = ("v_proj.weight", "out_proj.weight", "v.weight", "o.weight")  # made large: the source must matter
T5_SHAPE = {
    **{"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0},
    **{"initializer_factor": 3.0, "decoder_start_token_id": 2},
}


SEEDS = {"marian": 4}  # with which the toy model says something else of most sentences


def make_model(architecture: str, tokenizer: PreTrainedTokenizerBase, **changes: Any) -> PreTrainedModel:
    """Untrained, with large weights, so that what it says depends on every word; all biases are random too."""
    torch.set_num_threads(1)
    torch.manual_seed(SEEDS.get(architecture, 3))
    if architecture == "preset":
        model = build_model("tiny", tokenizer, seed=1, embeddings=changes.pop("embeddings", "separate"))
    else:
        tokens = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "pad", "eos")}
        shape = T5_SHAPE if "t5" in architecture else SHAPE
        config = AutoConfig.for_model(architecture, **{"vocab_size": len(tokenizer), **tokens, **shape, **changes})
        model = AutoModelForSeq2SeqLM.from_config(config)
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.ndim == 1 or name == "final_logits_bias":
                tensor.add_(torch.randn_like(tensor) * 0.1)
            elif ("encoder_attn" in name or "EncDecAttention" in name) and name.endswith(CROSS):
                tensor.mul_(8)
            elif "attn" in name and name.endswith(("q_proj.weight", "k_proj.weight")):
                tensor.mul_(2)
        if architecture == "preset":
            model.lm_head.weight[tokenizer.eos_token_id].mul_(0.5)  # or it would mostly say nothing
    result: PreTrainedModel = model.eval()
    return result


def make_masks(model: PreTrainedModel, tasks: tuple[str, ...] = TASKS) -> NeuronMasks:
    """Another random half of the neurons for each task."""
    generator = torch.Generator().manual_seed(8)
    values = {
        layer.name: torch.rand(len(tasks), layer.width, generator=generator) < 0.5 for layer in find_ffn_layers(model)
    }
    return NeuronMasks(tasks, values)
