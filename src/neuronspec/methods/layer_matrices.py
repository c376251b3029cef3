"""The weight matrices in a model's layers: what methods mask or add to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from neuronspec.errors import NeuronspecError
from neuronspec.models.matrices import WeightMatrix, is_matrix
from neuronspec.models.peft_wrapping import refuse_wrapped
from neuronspec.neurons.layers import find_ffn_layers

Sublayer = Literal["attention", "ffn"]
SUBLAYERS: tuple[Sublayer, ...] = get_args(Sublayer)


class LayerMatrix(NamedTuple):
    """A weight matrix in a layer of a model.

    Args:
        matrix: Module that holds the weight.
        stack: `encoder` or `decoder`.
        time_first: Whether its vectors come as (seq, batch, features) instead of (batch, seq, features).
    """

    matrix: WeightMatrix
    stack: str
    time_first: bool


def find_layer_matrices(model: PreTrainedModel, parts: Sequence[Sublayer] = SUBLAYERS) -> dict[str, LayerMatrix]:
    """Return the weight matrices in a model's layers by name, without embeddings and the output layer.

    Args:
        model: Model to search.
        parts: Sublayers whose matrices are wanted.

    Raises:
        NeuronspecError: If the model has experts, or a matrix that is not a plain `nn.Linear` or `Conv1D`.
    """
    refuse_wrapped(model, "cannot mask or add to the weights of")
    # Matrices of a layer that are not in its FFN count as those of an attention.
    layers = find_ffn_layers(model)
    ffn_matrices = {matrix for layer in layers for matrix in (*layer.expansions, layer.projection)}
    names = {module: name for name, module in model.base_model.named_modules()}

    found = {}
    for layer in layers:
        if layer.experts is not None:
            raise NeuronspecError(f"{layer.name} has experts, whose rows have no task: masks need a model without them")

        for module in filter(is_matrix, layer.block.modules()):
            # Others are quantized, or read by their parent module, which would not see a mask.
            if type(module) not in (nn.Linear, Conv1D):
                raise NeuronspecError(f"{names[module]} is a {type(module).__name__}: only plain matrices are masked")

            sublayer = "ffn" if module in ffn_matrices else "attention"
            if sublayer in parts:
                found[names[module]] = LayerMatrix(module, layer.stack, layer.time_first)
    return found
