"""Architectures with new names work, or are refused with advice that can be followed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSeq2SeqLM,
    BartConfig,
    BartForCausalLM,
    LEDConfig,
    PreTrainedModel,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

from neuronspec.errors import NeuronspecError
from neuronspec.models.loading import load_model
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.recording import record_activations

SmallModel = Callable[..., PreTrainedModel]
TOKENS = {"vocab_size": 48, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
TEXT = {
    **TOKENS,
    **{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2},
    **{"num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64},
}
EXPERTS = {"moe_intermediate_size": 24, "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
}
HYBRID = {
    "linear_num_value_heads": 2,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "num_hidden_layers": 4,
    "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
}
BY_LAYER = {"hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 48, "num_kv_shared_layers": 0}
FOUND: dict[str, dict[str, Any]] = {
    "gemma3": {"text_config": TEXT, "vision_config": VISION},
    "mistral3": {
        "text_config": {"model_type": "mistral", **TEXT},
        "vision_config": {"model_type": "pixtral", **VISION},
    },
    "qwen3_5_text": {**TEXT, **HYBRID},
    "gemma4_text": {
        **TEXT,
        **BY_LAYER,
        **{"global_head_dim": 8, "layer_types": ["sliding_attention", "full_attention"]},
    },
    "doge": TEXT,
    "openai-gpt": {**TOKENS, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
}


def _build(name: str, **shape: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    kind = AutoModelForImageTextToText if name == "mistral3" else AutoModelForCausalLM
    model: PreTrainedModel = kind.from_config(AutoConfig.for_model(name, **shape))
    return model.eval()


def _batch(**more: torch.Tensor) -> dict[str, Any]:
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "tasks": ["de", "en"], **more}


@pytest.mark.parametrize("name", FOUND)
def test_the_text_part_of_a_new_architecture_is_found_and_recorded(name: str) -> None:
    model = _build(name, **FOUND[name])
    layers = find_ffn_layers(model)
    config = model.config.get_text_config()
    assert [layer.name for layer in layers] == [f"decoder.{n}" for n in range(config.num_hidden_layers)]
    assert {layer.width for layer in layers} == {getattr(config, "intermediate_size", 4 * config.hidden_size)}
    text = model.get_decoder()
    assert {id(layer.projection) for layer in layers} <= {id(module) for module in text.modules()}
    counts = record_activations(model, [_batch()], "token", gated_at="product")
    assert counts.totals["decoder"].tolist() == [4, 4]
    assert all(0 < int(values.sum()) < 8 * values.shape[1] for values in counts.values.values())


def test_a_model_of_text_and_pictures_is_loaded(tmp_path: Path) -> None:
    _build("mistral3", **FOUND["mistral3"]).save_pretrained(tmp_path)
    assert len(find_ffn_layers(load_model(tmp_path))) == 2


def test_the_decoder_of_an_encoder_decoder_alone_is_found() -> None:
    config = BartConfig(**TOKENS, d_model=16, decoder_layers=2, decoder_ffn_dim=24, decoder_attention_heads=2)
    config.is_decoder, config.is_encoder_decoder = True, False
    assert [layer.name for layer in find_ffn_layers(BartForCausalLM(config))] == ["decoder.0", "decoder.1"]


def test_experts_in_one_parameter_of_an_unknown_kind_are_named_as_such() -> None:
    said = r"a 'gpt_oss' model keeps the matrices of all experts .*gate_up_proj in layers\.N.* such as .*mixtral"
    with pytest.raises(NeuronspecError, match=said):
        find_ffn_layers(_build("gpt_oss", **TEXT, **EXPERTS))


def test_a_model_of_sounds_is_refused() -> None:
    shape = {
        f"{stack}_{key}": size
        for stack in ("encoder", "decoder")
        for key, size in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 24))
    }
    model = WhisperForConditionalGeneration(WhisperConfig(**TOKENS, **shape, d_model=16, decoder_start_token_id=2))
    with pytest.raises(NeuronspecError, match="a 'whisper' model reads input_features, not the tokens of a text"):
        find_ffn_layers(model)
    with pytest.raises(NeuronspecError, match="input_features"):
        record_activations(model, [_batch()])


def test_matrices_of_low_rank_are_no_ffn() -> None:
    """Gemma 3n's LAuReL: two matrices with nothing between them, while its FFN compares its features."""
    model = _build("gemma3n_text", **TEXT, **BY_LAYER, layer_types=["sliding_attention", "full_attention"])
    with pytest.raises(NeuronspecError, match="cannot tell where the neurons of a 'gemma3n_text' model live"):
        find_ffn_layers(model)


def test_a_model_that_pads_its_text_itself_is_refused() -> None:
    shape = {
        f"{stack}_{key}": size
        for stack in ("encoder", "decoder")
        for key, size in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 24))
    }
    config = LEDConfig(**TOKENS, **shape, d_model=16, decoder_start_token_id=2, attention_window=8)
    model = AutoModelForSeq2SeqLM.from_config(config).eval()
    batch = _batch(labels=torch.tensor([[5, 6], [7, 8]]))
    with pytest.raises(NeuronspecError, match=r"encoder\.0 computes 16 vectors of neurons for 8 tokens"):
        record_activations(model, [batch])


def test_a_decoder_without_a_start_is_refused(small_model: SmallModel) -> None:
    model = small_model("t5")
    del model.config.decoder_start_token_id
    with pytest.raises(NeuronspecError, match=r"decoder_start_token_id.*or give decoder_input_ids"):
        record_activations(model, [_batch(labels=torch.tensor([[5, 6], [7, 8]]))])
