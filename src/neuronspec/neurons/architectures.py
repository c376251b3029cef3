"""The registry of architectures: where each keeps its FFN blocks, a line or two an entry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from neuronspec.layer_names import Stack
from neuronspec.registry import Registry

HOW_TO_REGISTER = (
    "say where its neurons live: "
    "neuronspec.neurons.architectures.ARCHITECTURES.register(model_type)(Architecture(stacks, forms))"
)


@dataclass(frozen=True)
class Form:
    """The names of an FFN's parts.

    Args:
        second: the second matrix.
        first: the first matrix, or of gated units both.
        gate: of gated units, the module that computes the gate's activation.
    """

    second: str
    first: tuple[str, ...]
    gate: str | None = None


@dataclass(frozen=True)
class Architecture:
    """Where an architecture keeps its FFN blocks.

    Args:
        stacks: for each stack, the path from the base model (`model.base_model`) to the list of layers, and the path
            from a layer to the module that holds the FFN's parts (`""`: the layer itself).
        forms: the forms that its FFN may have; the first one whose parts are all there is taken.
        width_keys: for each stack, the key of its configuration that holds d_ff; none where it has no such key.
        experts: where a layer has several FFNs, the name in the FFN of the module that holds them, one a child.
        time_first: whether its layers work on (seq, batch, features).
    """

    stacks: dict[Stack, tuple[str, str]]
    forms: tuple[Form, ...]
    width_keys: dict[Stack, str] = field(default_factory=dict)
    experts: str | None = None
    time_first: bool = False


ARCHITECTURES: Registry[Architecture] = Registry("architecture")

_FC = Form("fc2", ("fc1",))
_GATED = Form("down_proj", ("gate_proj", "up_proj"), "act_fn")
_FUSED = Form("down_proj", ("gate_up_proj",), "activation_fn")
_H_4H = Form("dense_4h_to_h", ("dense_h_to_4h",))
_C_FC = Form("c_proj", ("c_fc",))


def _register(model_types: str, architecture: Architecture) -> None:
    for model_type in model_types.split():
        ARCHITECTURES.register(model_type)(architecture)


def _encoder_decoder(ffn: str, **more: Any) -> Architecture:
    return Architecture(
        {"encoder": ("encoder.layers", ffn), "decoder": ("decoder.layers", ffn)},
        (_FC,),
        {"encoder": "encoder_ffn_dim", "decoder": "decoder_ffn_dim"},
        **more,
    )


def _decoder(layers: str, ffn: str, form: Form, width: str | None = "intermediate_size") -> Architecture:
    return Architecture({"decoder": (layers, ffn)}, (form,), {"decoder": width} if width else {})


_register("m2m_100 mbart bart marian pegasus blenderbot blenderbot-small", _encoder_decoder(""))
_register("fsmt", _encoder_decoder("", time_first=True))
_register("nllb-moe", _encoder_decoder("ffn", experts="experts"))
_register(
    "t5 mt5 umt5",
    Architecture(
        {
            "encoder": ("encoder.block", "layer.1.DenseReluDense"),
            "decoder": ("decoder.block", "layer.2.DenseReluDense"),
        },
        (Form("wo", ("wi",)), Form("wo", ("wi_0", "wi_1"), "act")),
        {"encoder": "d_ff", "decoder": "d_ff"},
    ),
)
_register(
    "llama mistral qwen2 qwen3 gemma gemma2 gemma3_text cohere granite olmo2 smollm3 stablelm",
    _decoder("layers", "mlp", _GATED),
)
_register("phi3 glm", _decoder("layers", "mlp", _FUSED))
_register("phi", _decoder("layers", "mlp", _FC))
_register("opt", _decoder("decoder.layers", "", _FC, "ffn_dim"))
_register("xglm", _decoder("layers", "", _FC, "ffn_dim"))
_register("bloom", _decoder("h", "mlp", _H_4H, None))  # always four times the hidden size
_register("falcon", _decoder("h", "mlp", _H_4H, "ffn_hidden_size"))
_register("gpt_neox", _decoder("layers", "mlp", _H_4H))
_register("gpt2", _decoder("h", "mlp", _C_FC, "n_inner"))
_register("gpt_neo", _decoder("h", "mlp", _C_FC))
