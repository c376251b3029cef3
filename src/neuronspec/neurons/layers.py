"""Where the FFN neurons of a model live: one registry of architectures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.registry import Registry

Stack = Literal["encoder", "decoder"]


@dataclass(frozen=True)
class FFNLayer:
    """One FFN block of a model.

    Args:
        name: `encoder.0` .. `decoder.5`.
        stack: `encoder` or `decoder`.
        index: the layer's number in its stack.
        width: d_ff, the number of neurons.
        projection: the second matrix; its input (batch, seq, d_ff) is the vector of neurons.
        expansions: the modules whose output features are the neurons before they enter `projection`: the first
            matrix (and the gate of gated units). `prune` makes them narrower.
    """

    name: str
    stack: Stack
    index: int
    width: int
    projection: nn.Module
    expansions: tuple[nn.Module, ...]


@dataclass(frozen=True)
class Architecture:
    """Where an architecture keeps its FFN blocks.

    Args:
        stacks: for each stack, the path from the model to its list of layers.
        projection: the path from a layer to the second FFN matrix.
        expansions: the paths from a layer to the first one(s).
    """

    stacks: dict[Stack, str]
    projection: str
    expansions: tuple[str, ...]


ARCHITECTURES: Registry[Architecture] = Registry("architecture")
_FC1_FC2 = Architecture(
    stacks={"encoder": "model.encoder.layers", "decoder": "model.decoder.layers"},
    projection="fc2",
    expansions=("fc1",),
)
for _model_type in ("m2m_100", "mbart", "bart", "marian", "pegasus"):
    ARCHITECTURES.register(_model_type)(_FC1_FC2)


def find_ffn_layers(model: PreTrainedModel) -> list[FFNLayer]:
    """Find the FFN layers of a model, encoder first.

    Args:
        model: a Hugging Face model of a registered architecture (`neuronspec.neurons.layers.ARCHITECTURES`).

    Returns:
        One `FFNLayer` a block.

    Raises:
        NeuronspecError: the architecture is not registered.

    Example:
        >>> from transformers import M2M100Config, M2M100ForConditionalGeneration
        >>> config = M2M100Config(vocab_size=9, d_model=4, encoder_layers=1, decoder_layers=1,
        ...                       encoder_attention_heads=1, decoder_attention_heads=1,
        ...                       encoder_ffn_dim=8, decoder_ffn_dim=8)
        >>> [(layer.name, layer.width) for layer in find_ffn_layers(M2M100ForConditionalGeneration(config))]
        [('encoder.0', 8), ('decoder.0', 8)]
    """
    model_type = model.config.model_type
    if model_type not in ARCHITECTURES:
        raise NeuronspecError(
            f"cannot tell where the neurons of a {model_type!r} model live; known: {', '.join(ARCHITECTURES)}. "
            "Register it: neuronspec.neurons.layers.ARCHITECTURES.register(model_type)(Architecture(...))"
        )
    architecture = ARCHITECTURES[model_type]
    layers = []
    for stack, path in architecture.stacks.items():
        for index, block in enumerate(model.get_submodule(path).children()):
            projection = block.get_submodule(architecture.projection)
            expansions = tuple(block.get_submodule(expansion) for expansion in architecture.expansions)
            assert isinstance(projection, nn.Linear)
            layers.append(FFNLayer(f"{stack}.{index}", stack, index, projection.in_features, projection, expansions))
    return layers
