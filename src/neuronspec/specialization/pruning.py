"""Pruning: a physically smaller model for one task, with the outputs of the masked one."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Mapping
from typing import Literal, get_args

import torch
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.layer_names import Stack
from neuronspec.models.loading import SHAPES
from neuronspec.models.matrices import features_out, set_parameters, take_inputs, take_outputs
from neuronspec.models.peft_wrapping import refuse_wrapped
from neuronspec.neurons.architectures import ARCHITECTURES
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import check_fit, specialize
from neuronspec.specialization.routing import task, unspecialize

logger = logging.getLogger(__name__)

Widths = Literal["own", "stack"]


def prune(model: PreTrainedModel, masks: NeuronMasks, task: str, *, widths: Widths = "own") -> PreTrainedModel:
    """Return a smaller dense model that computes what the masked one computes for a task.

    The rows of the first FFN matrices and the columns of the second are taken out. Where the masks keep the bias of a
    masked neuron (`bias: kept`, as in the released code), its constant output goes into the second matrix' bias.

    Args:
        model: stays as it is; specialised or not.
        masks: with masks for `task`.
        task: whose neurons stay.
        widths: `own`: every layer as narrow as its mask. A transformers configuration has one width for all layers of
            a stack, so that such a model, once saved, is loaded with `neuronspec.load_model` (its configuration holds
            the shapes as `ffn_shapes`), not with plain transformers, unless its layers happen to be equally wide.
            `stack`: every layer as wide as the widest of those that share a configuration key, filled up with neurons
            of zeros: a plain transformers model in every respect.

    Returns:
        A model of the same class, not specialised.

    Raises:
        NeuronspecError: the masks do not fit, or `widths="stack"` for an architecture without such a key.
    """
    refuse_wrapped(model, "cannot prune")
    layers = find_ffn_layers(model)
    check_fit(layers, masks)
    if cut := [layer.name for layer in layers if not layer.plain]:
        raise NeuronspecError(f"cannot prune {cut[0]}: its matrices are quantized; load the model without quantization")
    row = masks.task_index(task)
    constants = _constants(model, masks, task) if masks.keeps_bias else {}
    pruned = unspecialize(copy.deepcopy(model))
    kept = {layer.name: masks.layer(layer.name)[row].nonzero()[:, 0] for layer in layers}
    wide = _shared_widths(model, layers, {name: len(keep) for name, keep in kept.items()}, widths)
    for layer in find_ffn_layers(pruned):
        _narrow(layer, kept[layer.name].to(pruned.device), wide[layer.name], constants.get(layer.name))
    _write_widths(pruned, wide)
    return pruned


def _narrow(layer: FFNLayer, keep: torch.Tensor, width: int, constant: torch.Tensor | None) -> None:
    """Leave the neurons `keep` in a layer, filled up with zeros to `width`."""
    missing = width - len(keep)
    for matrix in layer.expansions:
        pieces, biases = [], []
        for part in range(features_out(matrix) // layer.width):  # two where gate and other matrix are one
            weight, bias = take_outputs(matrix, keep + layer.width * part)
            pieces += [weight, weight.new_zeros(missing, weight.shape[1])]
            biases += [] if bias is None else [bias, bias.new_zeros(missing)]
        set_parameters(matrix, torch.cat(pieces), torch.cat(biases) if biases else None)
    weight = take_inputs(layer.projection, keep)
    bias = layer.projection.bias
    if constant is not None and constant.any():
        if bias is None:
            raise NeuronspecError(
                f"the second matrix of {layer.name} has no bias to take up the masked neurons' output"
            )
        bias = bias + constant
    set_parameters(layer.projection, torch.cat([weight, weight.new_zeros(len(weight), missing)], dim=1), bias)


@torch.no_grad()
def _constants(model: PreTrainedModel, masks: NeuronMasks, name: str) -> dict[str, torch.Tensor]:
    """Return for each layer the (d_model,) output of its masked neurons, which their biases alone give.

    It is read off a forward of one token: no need to know the activation function.
    """
    probe = specialize(unspecialize(copy.deepcopy(model)), masks, released=True).eval()
    found: dict[str, torch.Tensor] = {}

    def read(layer: FFNLayer, module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        off = (~masks.mask(name, layer.name)).nonzero()[:, 0].to(model.device)
        vector = arguments[0].reshape(-1, layer.width)[0]
        found[layer.name] = take_inputs(layer.projection, off) @ vector[off]

    for layer in find_ffn_layers(probe):
        layer.projection.register_forward_pre_hook(functools.partial(read, layer))
    ids = torch.full((1, 1), 0, device=model.device)
    with task(probe, name):
        probe(input_ids=ids, **({"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}), use_cache=False)
    missing = [layer.name for layer in find_ffn_layers(model) if layer.name not in found]
    if missing:
        raise NeuronspecError(f"cannot fold the biases of experts into {missing[0]}: prune masks that mask the bias")
    return found


def _shared_widths(
    model: PreTrainedModel, layers: list[FFNLayer], own: dict[str, int], widths: Widths
) -> dict[str, int]:
    """Return the width that every layer gets."""
    if widths not in get_args(Widths):
        raise NeuronspecError(f"widths must be own or stack, not {widths!r}")
    if widths == "own":
        return {name: max(width, 1) for name, width in own.items()}  # not every module can be without features
    keys = _width_keys(model)
    if not keys:
        raise NeuronspecError(
            f"no key for d_ff is known in a {model.config.model_type!r} configuration: prune with widths='own', and "
            "load what you save with neuronspec.load_model"
        )
    widest: dict[str, int] = {}
    for layer in layers:
        widest[keys[layer.stack]] = max(widest.get(keys[layer.stack], 1), own[layer.name])
    return {layer.name: widest[keys[layer.stack]] for layer in layers}


def _write_widths(model: PreTrainedModel, wide: dict[str, int]) -> None:
    """Say the new widths in the configuration: under its own keys where they can, else as the matrices' shapes."""
    keys, layers, config = _width_keys(model), find_ffn_layers(model), model.config
    by_key: dict[str, set[int]] = {}
    for layer in layers:
        by_key.setdefault(keys.get(layer.stack, ""), set()).add(wide[layer.name])
    config.__dict__.pop(SHAPES, None)
    if "" not in by_key and all(len(values) == 1 for values in by_key.values()):
        for key, values in by_key.items():
            setattr(config, key, values.pop())
        return
    matrices = {matrix for layer in layers for matrix in (*layer.expansions, layer.projection)}
    shapes = {name: list(module.weight.shape) for name, module in model.named_modules() if module in matrices}
    setattr(config, SHAPES, shapes)
    logger.info(
        "each layer has its own width, which plain transformers cannot load: once saved, load the model with "
        "neuronspec.load_model, or prune with widths='stack'"
    )


def _width_keys(model: PreTrainedModel) -> Mapping[Stack, str]:
    model_type = model.config.model_type
    return ARCHITECTURES[model_type].width_keys if model_type in ARCHITECTURES else {}
