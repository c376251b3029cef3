"""The architecture of a fairseq model: read from its settings, and checked against the shapes of its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from neuronspec.errors import NeuronspecError

# Activation functions: fairseq's names and those of transformers
_ACTIVATIONS = {
    "relu": "relu",
    "relu_squared": "relu2",
    "gelu": "gelu",
    "gelu_fast": "gelu_new",
    "gelu_accurate": "gelu_new",
    "tanh": "tanh",
    "linear": "linear",
}
# Architectures whose names hold one of these translate in another way, although they hold `transformer` as well.
_OTHER_DECODING = ("nonautoregressive", "levenshtein", "insertion", "cmlm", "iterative", "_lm", "pointer", "xlm")
# Settings of computations that no class of transformers has; those that are off change nothing.
_UNSUPPORTED = (
    *("adaptive_softmax_cutoff", "adaptive_input", "no_cross_attention", "cross_self_attention", "base_layers"),
    *("no_token_positional_embeddings", "no_decoder_final_norm", "tie_adaptive_weights", "quant_noise_scalar"),
    *("char_inputs", "enable_lang_ids"),
)
_MAX_POSITIONS = 1 << 20  # some classes of transformers store a row for each
_LAYER = re.compile(r"(encoder|decoder)\.layers\.(\d{1,4})\.")


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The shape of an encoder or a decoder.

    Attributes:
        layers: Number of layers.
        heads: Number of attention heads.
        d_ff: Number of neurons of each layer.
        pre_norm: Whether layers normalize their input instead of their output.
        learned_positions: Number of learned positions; None for sinusoidal ones.
        normalizes_embeddings: Whether the embeddings are normalized.
    """

    layers: int
    heads: int
    d_ff: int
    pre_norm: bool
    learned_positions: int | None
    normalizes_embeddings: bool


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """All that decides what a fairseq model computes with its weights.

    Attributes:
        name: Name of the architecture in fairseq.
        encoder: Shape of the encoder.
        decoder: Shape of the decoder.
        vocabulary: Number of embeddings.
        d_model: Width of the hidden states.
        activation: Activation function of the FFN, by transformers' name.
        scaled: Whether embeddings are multiplied by the root of `d_model`.
        embeddings: Sharing of the embeddings. `shared`: one matrix for all. `separate`: one for the encoder, and one
            for the decoder's input and output. `single`: three matrices.
        positions: Largest number of tokens of a sentence.
        dropout: Dropout rates by transformers' names.
    """

    name: str
    encoder: Stack
    decoder: Stack
    vocabulary: int
    d_model: int
    activation: str
    scaled: bool
    embeddings: Literal["shared", "separate", "single"]
    positions: int
    dropout: Mapping[str, float]


def read_architecture(settings: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> Architecture:
    """Return the architecture of a model.

    Args:
        settings: Settings of the model by name.
        weights: Weights by current names (`weights.name_weights`).

    Raises:
        NeuronspecError: If it is another kind of model, or settings and weights contradict each other.
    """
    name = _check_kind(settings, weights)
    source, target = (weights[f"{stack}.embed_tokens.weight"] for stack in ("encoder", "decoder"))
    if source.ndim != 2 or source.shape != target.shape:
        raise NeuronspecError(
            f"the encoder has embeddings of shape {tuple(source.shape)}, the decoder of {tuple(target.shape)}: models "
            "with two vocabularies or two widths cannot be imported"
        )

    vocabulary, d_model = source.shape
    for stack in ("encoder", "decoder"):
        _check_same(settings, f"{stack}_embed_dim", d_model)
    return Architecture(
        name=name,
        encoder=_read_stack("encoder", settings, weights),
        decoder=_read_stack("decoder", settings, weights),
        vocabulary=vocabulary,
        d_model=d_model,
        activation=_read_activation(settings),
        scaled=not settings.get("no_scale_embedding"),
        embeddings=_read_sharing(weights),
        positions=_read_positions(settings),
        dropout=_read_dropout(settings),
    )


def _check_kind(settings: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> str:
    """Return the name of the architecture; refuse those that compute something else."""
    name = str(settings.get("arch") or settings.get("_name") or "transformer")
    is_transformer = "transformer" in name or "bart" in name
    if not is_transformer or any(part in name for part in _OTHER_DECODING):
        raise NeuronspecError(
            f"arch is {name[:60]!r}: only encoder-decoders of fairseq's transformer family can be imported"
        )

    for stack in ("encoder", "decoder"):
        if f"{stack}.embed_tokens.weight" not in weights:
            raise NeuronspecError(
                f"the checkpoint has no {stack}.embed_tokens.weight: only models with one encoder and one decoder can "
                "be imported"
            )

    for setting in _UNSUPPORTED:
        if settings.get(setting):
            raise NeuronspecError(
                f"{setting} is {settings[setting]!r}: no class of transformers computes this, so that the model cannot "
                "be imported"
            )
    return name


def _read_stack(stack: str, settings: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> Stack:
    """Return the shape of the encoder or the decoder."""
    layers = {int(found[2]) for found in map(_LAYER.match, weights) if found and found[1] == stack}
    if not layers or layers != set(range(len(layers))):
        raise NeuronspecError(f"the {stack}'s layers are numbered {sorted(layers)}: expected 0, 1 and so on")

    # What the shapes say, settings must not contradict.
    first = f"{stack}.layers.0.fc1.weight"
    if first not in weights:
        raise NeuronspecError(f"the checkpoint has no {first}")
    d_ff = _count_rows(weights, first)
    table = f"{stack}.embed_positions.weight"
    positions = _count_rows(weights, table) if table in weights else None
    pre_norm = f"{stack}.layer_norm.weight" in weights
    normalizes = f"{stack}.layernorm_embedding.weight" in weights
    _check_same(settings, f"{stack}_layers", len(layers))
    _check_same(settings, f"{stack}_ffn_embed_dim", d_ff)
    _check_same(settings, f"{stack}_normalize_before", pre_norm)
    _check_same(settings, f"{stack}_learned_pos", positions is not None)
    _check_same(settings, "layernorm_embedding", normalizes)

    return Stack(
        layers=len(layers),
        heads=_read_heads(stack, settings, weights),
        d_ff=d_ff,
        pre_norm=pre_norm,
        learned_positions=None if positions is None else positions - 2,  # fairseq's positions begin with 2
        normalizes_embeddings=normalizes,
    )


def _count_rows(weights: Mapping[str, torch.Tensor], name: str) -> int:
    """Return the number of rows of a matrix."""
    matrix = weights[name]
    if matrix.ndim != 2:
        raise NeuronspecError(f"{name} has shape {tuple(matrix.shape)}: expected a matrix")
    return matrix.shape[0]


def _read_heads(stack: str, settings: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> int:
    """Return the number of attention heads, which no shape shows."""
    heads, width = settings.get(f"{stack}_attention_heads"), weights[f"{stack}.embed_tokens.weight"].shape[1]
    if not isinstance(heads, int) or heads < 1 or width % heads:
        raise NeuronspecError(f"{stack}_attention_heads is {heads!r}: expected a number that divides {width}")
    return heads


def _read_activation(settings: Mapping[str, Any]) -> str:
    name = settings.get("activation_fn") or "relu"  # fairseq's default
    if name not in _ACTIVATIONS:
        raise NeuronspecError(f"activation_fn is {name!r}: expected one of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def _read_sharing(weights: Mapping[str, torch.Tensor]) -> Literal["shared", "separate", "single"]:
    """Return which embeddings are the same numbers."""
    source, target = weights["encoder.embed_tokens.weight"], weights["decoder.embed_tokens.weight"]
    output = weights.get("decoder.output_projection.weight", target)
    if output.shape != target.shape or not torch.equal(output, target):
        return "single"
    return "shared" if torch.equal(source, target) else "separate"


def _read_positions(settings: Mapping[str, Any]) -> int:
    """Return the largest number of tokens of a sentence, with fairseq's default."""
    numbers = [settings.get(f"max_{side}_positions") for side in ("source", "target")]
    longest = max(number if isinstance(number, int) and number > 0 else 1024 for number in numbers)
    if longest > _MAX_POSITIONS:
        raise NeuronspecError(f"the model's settings allow {longest} positions: at most {_MAX_POSITIONS} are imported")
    return longest


def _read_dropout(settings: Mapping[str, Any]) -> dict[str, float]:
    """Return the dropout rates, which matter when training goes on."""
    # Older models have no activation dropout, or name it after the ReLU.
    names = {"dropout": "dropout", "attention_dropout": "attention_dropout", "activation_dropout": "activation_dropout"}
    rates = {key: settings.get(name) for key, name in names.items()}
    return {key: float(rate) for key, rate in rates.items() if isinstance(rate, int | float) and 0 <= rate < 1}


def _check_same(settings: Mapping[str, Any], name: str, found: object) -> None:
    """Refuse a setting that the weights contradict."""
    value = settings.get(name)
    if value is not None and value != found:
        raise NeuronspecError(f"the checkpoint's settings say {name}={value!r}, but its weights have {found!r}")
