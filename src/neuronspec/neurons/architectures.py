"""The registry of architectures: where each keeps its FFN blocks, in a line or two."""

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
        second: Name of the second matrix.
        first: Name of the first matrix; for gated units, the names of both first matrices.
        gate: For gated units, the name of the module that computes the activation of the gate.
    """

    second: str
    first: tuple[str, ...]
    gate: str | None = None


@dataclass(frozen=True)
class Architecture:
    """The places at which an architecture keeps its FFN blocks.

    Args:
        stacks: For each stack, the path from the base model (`model.base_model`) to the list of layers, and the path
            from a layer to the module that holds the FFN's parts (`""` for the layer itself).
        forms: Forms that the FFN may have; the first one whose parts are all there is taken.
        width_keys: For each stack, the key of the model's configuration that holds d_ff, if there is one.
        experts: Name, in the FFN, of the module whose children are the experts, if a layer has several FFNs, or which
            holds the matrices of all of them in parameters (`neuronspec.models.stacked_experts`). A layer without
            such a module has one FFN.
        shared: Name, in the FFN, of an expert that every token is sent to, in addition to those that a router chooses.
        time_first: Whether the layers work on (seq, batch, features).
    """

    stacks: dict[Stack, tuple[str, str]]
    forms: tuple[Form, ...]
    width_keys: dict[Stack, str] = field(default_factory=dict)
    experts: str | None = None
    shared: str | None = None
    time_first: bool = False


ARCHITECTURES: Registry[Architecture] = Registry("architecture")
"""Where the neurons of each architecture are, by `model_type` of its configuration."""

# Forms that several architectures share
_FC = Form("fc2", ("fc1",))
_GATED = Form("down_proj", ("gate_proj", "up_proj"), "act_fn")  # the gate and its factor are two matrices
_FUSED = Form("down_proj", ("gate_up_proj",), "activation_fn")  # one matrix writes both
_H_4H = Form("dense_4h_to_h", ("dense_h_to_4h",))
_C_FC = Form("c_proj", ("c_fc",))


def _register(model_types: str, architecture: Architecture) -> None:
    for model_type in model_types.split():
        ARCHITECTURES.register(model_type)(architecture)


def _encoder_decoder(ffn: str, **more: Any) -> Architecture:
    return Architecture(
        stacks={"encoder": ("encoder.layers", ffn), "decoder": ("decoder.layers", ffn)},
        forms=(_FC,),
        width_keys={"encoder": "encoder_ffn_dim", "decoder": "decoder_ffn_dim"},
        **more,
    )


def _decoder(
    layers: str, ffn: str, form: Form, *, width: str | None = "intermediate_size", **more: Any
) -> Architecture:
    return Architecture(
        stacks={"decoder": (layers, ffn)}, forms=(form,), width_keys={"decoder": width} if width else {}, **more
    )


# Encoder-decoders
_register("m2m_100 mbart bart marian pegasus blenderbot blenderbot-small", _encoder_decoder(""))
_register("fsmt", _encoder_decoder("", time_first=True))
_register("nllb-moe", _encoder_decoder("ffn", experts="experts"))
_register(
    "t5 mt5 umt5",
    Architecture(
        {
            # After self-attention; in the decoder, after cross-attention, too
            "encoder": ("encoder.block", "layer.1.DenseReluDense"),
            "decoder": ("decoder.block", "layer.2.DenseReluDense"),
        },
        # T5 has no gate; T5 1.1, mT5 and umT5 have one.
        (Form("wo", ("wi",)), Form("wo", ("wi_0", "wi_1"), "act")),
        {"encoder": "d_ff", "decoder": "d_ff"},
    ),
)

# Decoder-only models
_register(
    "llama mistral qwen2 qwen3 gemma gemma2 gemma3_text cohere granite olmo2 smollm3 stablelm",
    _decoder("layers", "mlp", _GATED),
)
_register("phi3 glm", _decoder("layers", "mlp", _FUSED))
_register("phi", _decoder("layers", "mlp", _FC))
_register("opt", _decoder("decoder.layers", "", _FC, width="ffn_dim"))
_register("xglm", _decoder("layers", "", _FC, width="ffn_dim"))
_register("bloom", _decoder("h", "mlp", _H_4H, width=None))  # always four times the hidden size
_register("falcon", _decoder("h", "mlp", _H_4H, width="ffn_hidden_size"))
_register("gpt_neox", _decoder("layers", "mlp", _H_4H))
_register("gpt2", _decoder("h", "mlp", _C_FC, width="n_inner"))
_register("gpt_neo", _decoder("h", "mlp", _C_FC))

# Decoder-only models with experts; where one key holds the width of experts alone, dense layers have another one.
_register("mixtral olmoe flex_olmo minimax_m2", _decoder("layers", "mlp", _GATED, experts="experts"))
_register("qwen3_moe", _decoder("layers", "mlp", _GATED, width=None, experts="experts"))
_register("qwen2_moe", _decoder("layers", "mlp", _GATED, width=None, experts="experts", shared="shared_expert"))
_register(
    "glm4_moe dots1 deepseek_v3 ernie4_5_moe",
    _decoder("layers", "mlp", _GATED, width=None, experts="experts", shared="shared_experts"),
)
_register("granitemoe", _decoder("layers", "block_sparse_moe", _GATED, experts="experts"))
