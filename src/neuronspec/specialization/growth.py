"""Room for new tasks in a specialized model: neurons that no task uses, and wider layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.layer_names import Stack
from neuronspec.models.additions import Addition, read_additions, write_additions
from neuronspec.models.matrices import WeightMatrix, features_out, is_plain, set_parameters
from neuronspec.models.token_matrices import add_tokens
from neuronspec.neurons.architectures import ARCHITECTURES
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks


def find_free_neurons(masks: NeuronMasks) -> dict[str, torch.Tensor]:
    """Return for each layer the (d_ff,) boolean neurons that no task uses.

    Args:
        masks: Masks of all tasks of a model.

    Example:
        >>> masks = NeuronMasks.from_dict({"de-en": {"encoder.0": [1, 0, 0]}, "sv-en": {"encoder.0": [1, 1, 0]}})
        >>> find_free_neurons(masks)
        {'encoder.0': tensor([False, False,  True])}
    """
    return {layer: ~masks.layer(layer).any(0) for layer in masks.layers}


def widen_masks(masks: NeuronMasks, widths: Mapping[str, int]) -> NeuronMasks:
    """Return masks for wider layers, in which the new neurons, the last ones, are off.

    Args:
        masks: Masks of the model before.
        widths: Number of neurons of each layer.
    """
    values = {}
    for layer, before in masks.widths.items():
        off = torch.zeros(len(masks.tasks), widths[layer] - before, dtype=torch.bool)
        values[layer] = torch.cat([masks.layer(layer), off], dim=1)  # (tasks, d_ff)
    return NeuronMasks(masks.tasks, values, masks.signature)


def grow_model(
    model: PreTrainedModel,
    *,
    languages: Sequence[str],
    tasks: Sequence[str],
    parents: Sequence[Sequence[int]] = (),
    widen: int = 0,
    pieces: int | None = None,
    seed: int = 0,
) -> PreTrainedModel:
    """Return a copy of a model with room for new languages, which computes for all other tasks what it did before.

    Its configuration says what was added (`neuronspec.models.additions`), so that `specialize` keeps the tasks from
    before to their own tokens and neurons.

    Args:
        model: Encoder-decoder, not specialized; it is not changed.
        languages: Codes of the new languages.
        tasks: New directions.
        parents: For each new token, the ids of the tokens whose rows its own begins with (`add_tokens`).
        widen: Number of new neurons in each FFN layer.
        pieces: Number of pieces that the Unigram tokenizer had before, if it has got more.
        seed: Seed of the random draws.

    Raises:
        NeuronspecError: If the output layer or the FFN layers are of a kind that cannot grow.
    """
    output = model.get_output_embeddings()
    if not model.config.is_encoder_decoder or type(output) is not nn.Linear:
        raise NeuronspecError(
            f"cannot add a language to a {model.config.model_type!r} model: it must be an encoder-decoder whose output "
            "layer is a matrix"
        )

    addition = Addition(
        languages=tuple(languages),
        tasks=tuple(tasks),
        vocabulary=len(output.weight),
        pieces=pieces,
        widths={layer.name: layer.width for layer in find_ffn_layers(model)},
    )
    grown = add_tokens(model, parents, seed)
    widen_layers(grown, widen, seed)
    write_additions(grown.config, [*read_additions(model.config), addition])
    return grown


@torch.no_grad()
def widen_layers(model: PreTrainedModel, count: int, seed: int = 0) -> None:
    """Add neurons to every FFN layer of a model, in place, which change no output yet.

    A new neuron reads with weights like those of the others, normally distributed with the same standard deviation in
    the layer, and a bias of 0; it writes nothing, because its column of the second matrix is 0.

    Args:
        model: Encoder-decoder, not specialized.
        count: Number of new neurons in each layer; they come after the others.
        seed: Seed of the random draw.

    Raises:
        NeuronspecError: If the layers cannot be widened: experts, quantized matrices, a gate and its factor in one
            matrix, or no key for the width in the configuration.
    """
    if not count:
        return
    layers = find_ffn_layers(model)
    keys = _find_width_keys(model)
    for layer in layers:
        _check_layer(layer, keys)

    # The configuration has one width for all layers of a stack.
    widths: dict[str, set[int]] = {}
    for layer in layers:
        widths.setdefault(keys[layer.stack], set()).add(layer.width)
    for found in widths.values():
        if len(found) > 1:
            raise NeuronspecError(
                f"cannot widen layers of different widths ({', '.join(map(str, sorted(found)))} neurons): this model "
                "was pruned; take the model that it was pruned from"
            )

    generator = torch.Generator().manual_seed(seed)
    for layer in layers:
        for matrix in layer.expansions:
            _add_outputs(matrix, count, generator)
        _add_inputs(layer.projection, count)
    for key, found in widths.items():
        setattr(model.config, key, found.pop() + count)


def _find_width_keys(model: PreTrainedModel) -> Mapping[Stack, str]:
    model_type = model.config.model_type
    return ARCHITECTURES[model_type].width_keys if model_type in ARCHITECTURES else {}


def _check_layer(layer: FFNLayer, keys: Mapping[Stack, str]) -> None:
    """Refuse a layer that cannot be widened."""
    reason = None
    if layer.experts is not None or layer.time_first:
        reason = "it has experts" if layer.experts is not None else "its vectors come as (seq, batch, features)"
    elif not layer.plain or not all(is_plain(matrix) for matrix in layer.expansions):
        reason = "its matrices are quantized or wrapped"
    elif any(features_out(matrix) != layer.width for matrix in layer.expansions):
        reason = "one matrix holds a gate and its factor"
    elif layer.stack not in keys:
        reason = "the configuration has no key for its width"

    if reason is not None:
        raise NeuronspecError(f"cannot widen {layer.name}: {reason}; leave out widen, so that only free neurons train")


def _add_outputs(matrix: WeightMatrix, count: int, generator: torch.Generator) -> None:
    """Add rows to a first matrix, drawn like its own, with a bias of 0."""
    weight = matrix.weight
    drawn = torch.randn(count, weight.shape[1], generator=generator) * weight.float().std().cpu()
    rows = torch.cat([weight, drawn.to(weight)])
    bias = None if matrix.bias is None else torch.cat([matrix.bias, matrix.bias.new_zeros(count)])
    set_parameters(matrix, rows, bias)


def _add_inputs(matrix: WeightMatrix, count: int) -> None:
    """Add columns of zeros to a second matrix."""
    weight = matrix.weight
    set_parameters(matrix, torch.cat([weight, weight.new_zeros(len(weight), count)], dim=1), matrix.bias)
