"""Pruning: a physically smaller model for one task, with the same outputs as the masked one."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import nn
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.layer_names import Stack
from neuronspec.models.additions import find_task_level, read_additions, write_additions
from neuronspec.models.loading import SHAPES
from neuronspec.models.matrices import (
    WeightMatrix,
    features_out,
    set_parameters,
    set_stacked,
    take_inputs,
    take_outputs,
)
from neuronspec.models.peft_wrapping import refuse_wrapped
from neuronspec.models.stacked_experts import StackedMatrix, as_stacked, is_stacked
from neuronspec.models.token_matrices import take_tokens
from neuronspec.neurons.architectures import ARCHITECTURES
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import check_fit, specialize
from neuronspec.specialization.routing import task, unspecialize
from neuronspec.specialization.steered_model import refuse_steered

Widths = Literal["own", "stack"]
_EXPERTS_MULTIPLE = 8  # neurons: 16 bytes in half precision


def prune(model: PreTrainedModel, masks: NeuronMasks, task: str, *, widths: Widths = "own") -> PreTrainedModel:
    """Return a smaller dense model that computes what the masked one computes for a task.

    The rows of the first FFN matrices and the columns of the second are removed. If the masks keep the bias of a masked
    neuron (`bias: kept`, as in the released code), its constant output is added to the bias of the second matrix.

    Args:
        model: Model to prune, specialized or not; it is not changed.
        masks: Masks that include `task`.
        task: Task whose neurons remain.
        widths: `own`: every layer is as narrow as its mask; experts that share one parameter (Mixtral) are as wide as
            the widest one of their layer, rounded up to a multiple of 8 and filled up with neurons of zeros. A
            transformers configuration has one width for all layers of a stack. Unless the layers happen to be equally
            wide, such a model, once saved, must therefore be loaded with `neuronspec.load_model` (its configuration
            holds the shapes as `ffn_shapes`), not with plain transformers. `stack`: every layer is as wide as the
            widest one of those that share a configuration key, filled up with neurons of zeros: a plain transformers
            model in every respect.

    Returns:
        Model of the same class, not specialized.

    Raises:
        NeuronspecError: If the masks do not fit, the matrices are quantized, or with `widths="stack"` if the
            architecture has no such key.
    """
    refuse_wrapped(model, "cannot prune")
    refuse_steered(model, "cannot prune")
    layers = find_ffn_layers(model)
    check_fit(layers, masks)
    for layer in layers:
        if not layer.plain:
            raise NeuronspecError(
                f"cannot prune {layer.name}: its matrices are quantized; load the model without quantization"
            )

    # What remains of each layer, and what its masked neurons still add.
    row = masks.task_index(task)
    kept = {layer.name: masks.layer(layer.name)[row].nonzero()[:, 0] for layer in layers}
    constants = _measure_constants(model, masks, task) if masks.keeps_bias else {}
    # The model itself stays as it is.
    pruned = unspecialize(copy.deepcopy(model))
    new_widths = _choose_widths(model, layers, {name: len(neurons) for name, neurons in kept.items()}, widths)

    # The copy becomes the smaller model.
    smaller: list[_Smaller] = []
    for layer in find_ffn_layers(pruned):
        neurons = kept[layer.name].to(layer.projection.weight.device)
        smaller += _narrow(layer, neurons, width=new_widths[layer.name], constant=constants.get(layer.name))
    _replace(smaller)
    _write_widths(pruned, new_widths)
    return _leave_out_later_tokens(pruned, task)


def _leave_out_later_tokens(pruned: PreTrainedModel, task: str) -> PreTrainedModel:
    """Return a pruned model without the tokens that were added for later tasks, which the task cannot write."""
    additions = read_additions(pruned.config)
    level = find_task_level(additions, task)

    # A single task is left: nothing depends on the order of additions any more.
    write_additions(pruned.config, ())
    return pruned if level == len(additions) else take_tokens(pruned, range(additions[level].vocabulary))


class _Smaller(NamedTuple):
    """A matrix with what it is replaced by: its weight (out, in) and its bias (out,)."""

    matrix: WeightMatrix
    weight: torch.Tensor
    bias: torch.Tensor | None


def _replace(smaller: Sequence[_Smaller]) -> None:
    """Give matrices their new weights; those of experts that share a parameter, together."""
    stacks: dict[int, list[tuple[StackedMatrix, torch.Tensor]]] = {}
    for matrix, weight, bias in smaller:
        stacked = as_stacked(matrix)
        if stacked is not None:
            stacks.setdefault(id(stacked.parameter), []).append((stacked, weight))
        else:
            set_parameters(matrix, weight, bias)

    for slices in stacks.values():
        set_stacked(slices)


def _narrow(layer: FFNLayer, keep: torch.Tensor, *, width: int, constant: torch.Tensor | None) -> Iterator[_Smaller]:
    """Keep the neurons `keep` of a layer, filled up with zeros to `width`; add `constant` to its output."""
    # The rows of the first matrices; a gate and another matrix in one are narrowed separately.
    missing = width - len(keep)
    for matrix in layer.expansions:
        weights, biases = [], []
        for part in range(features_out(matrix) // layer.width):  # two if gate and other matrix are one
            weight, bias = take_outputs(matrix, keep + layer.width * part)  # (kept, d_model), (kept,)
            weights += [weight, weight.new_zeros(missing, weight.shape[1])]
            if bias is not None:
                biases += [bias, bias.new_zeros(missing)]
        yield _Smaller(matrix, torch.cat(weights), torch.cat(biases) if biases else None)

    # Neurons of zeros in both matrices add nothing, whatever the activation function.
    weight = take_inputs(layer.projection, keep)
    padded = torch.cat([weight, weight.new_zeros(len(weight), missing)], dim=1)  # (d_model, width)

    # What the masked neurons added becomes a part of the bias.
    bias = layer.projection.bias
    if constant is not None and constant.any():
        if bias is None:
            raise NeuronspecError(
                f"the second matrix of {layer.name} has no bias to take up the masked neurons' output"
            )
        bias = bias + constant
    yield _Smaller(layer.projection, padded, bias)


@torch.no_grad()
def _measure_constants(model: PreTrainedModel, masks: NeuronMasks, name: str) -> dict[str, torch.Tensor]:
    """Return for each layer the (d_model,) output of its masked neurons, which depends on their biases only.

    It is measured in a forward pass of one token, so that the activation function need not be known.
    """
    probe = specialize(unspecialize(copy.deepcopy(model)), masks, released=True).eval()
    constants: dict[str, torch.Tensor] = {}

    def measure(layer: FFNLayer, module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        off = (~masks.mask(name, layer.name)).nonzero()[:, 0].to(model.device)
        neurons = arguments[0].reshape(-1, layer.width)[0]  # (d_ff,)
        constants[layer.name] = take_inputs(layer.projection, off) @ neurons[off]  # (d_model,)

    # One token through a masked copy: what a masked neuron holds there comes from its bias alone.
    for layer in find_ffn_layers(probe):
        layer.projection.register_forward_pre_hook(functools.partial(measure, layer))
    ids = torch.full((1, 1), 0, device=model.device)
    inputs = {"input_ids": ids, "decoder_input_ids": ids} if model.config.is_encoder_decoder else {"input_ids": ids}
    with task(probe, name):
        probe(**inputs, use_cache=False)

    # An expert that the token was not sent to was not measured.
    for layer in find_ffn_layers(model):
        if layer.name not in constants:
            raise NeuronspecError(
                f"cannot fold the biases of experts into {layer.name}: prune masks that mask the bias"
            )
    return constants


def _choose_widths(
    model: PreTrainedModel, layers: list[FFNLayer], own: dict[str, int], widths: Widths
) -> dict[str, int]:
    """Return the new width of every layer."""
    if widths not in get_args(Widths):
        raise NeuronspecError(f"widths must be own or stack, not {widths!r}")
    if widths == "own":
        return _choose_own_widths(layers, own)

    keys = _find_width_keys(model)
    if not keys:
        raise NeuronspecError(
            f"no key for d_ff is known in a {model.config.model_type!r} configuration: prune with widths='own', and "
            "load what you save with neuronspec.load_model"
        )

    # Layers that share a key of the configuration get the width of the widest one.
    widest: dict[str, int] = {}
    for layer in layers:
        key = keys[layer.stack]
        width = _round_up(own[layer.name]) if is_stacked(layer.experts) else own[layer.name]
        widest[key] = max(widest.get(key, 1), width)
    return {layer.name: widest[keys[layer.stack]] for layer in layers}


def _choose_own_widths(layers: list[FFNLayer], own: dict[str, int]) -> dict[str, int]:
    """Return the width of every mask; of experts in one parameter, the widest one for all of a layer."""
    widths = {name: max(width, 1) for name, width in own.items()}  # not every module works without features

    together: dict[nn.Module, list[str]] = {}
    for layer in layers:
        if is_stacked(layer.experts):
            together.setdefault(layer.experts, []).append(layer.name)

    for names in together.values():
        widths |= dict.fromkeys(names, _round_up(max(widths[name] for name in names)))
    return widths


def _round_up(width: int) -> int:
    """Return a width that the kernels of experts in one parameter can read: rows of a multiple of 16 bytes."""
    return -(-width // _EXPERTS_MULTIPLE) * _EXPERTS_MULTIPLE


def _write_widths(model: PreTrainedModel, widths: dict[str, int]) -> None:
    """Write new widths to the configuration: under its own keys if possible, otherwise as shapes of the matrices."""
    keys, layers, config = _find_width_keys(model), find_ffn_layers(model), model.config
    # All widths under each key; layers of a stack without a key have theirs under "".
    widths_by_key: dict[str, set[int]] = {}
    for layer in layers:
        widths_by_key.setdefault(keys.get(layer.stack, ""), set()).add(widths[layer.name])

    # One width for each key: plain transformers can load the model.
    config.__dict__.pop(SHAPES, None)
    if "" not in widths_by_key and all(len(values) == 1 for values in widths_by_key.values()):
        for key, values in widths_by_key.items():
            setattr(config, key, values.pop())
        return

    # Otherwise the shapes of all matrices are written down, for `neuronspec.load_model`.
    shapes = _list_shapes(model, [matrix for layer in layers for matrix in (*layer.expansions, layer.projection)])
    setattr(config, SHAPES, shapes)


def _list_shapes(model: PreTrainedModel, matrices: Sequence[WeightMatrix]) -> dict[str, list[int]]:
    """Return the shapes of matrices by their names; of experts in one parameter, by the name of that."""
    shapes = {name: list(module.weight.shape) for name, module in model.named_modules() if module in matrices}
    stacked = {id(part.parameter) for part in map(as_stacked, matrices) if part is not None}
    return shapes | {
        name: list(parameter.shape) for name, parameter in model.named_parameters() if id(parameter) in stacked
    }


def _find_width_keys(model: PreTrainedModel) -> Mapping[Stack, str]:
    """Return the configuration key of d_ff in each stack; empty if the architecture has none."""
    model_type = model.config.model_type
    return ARCHITECTURES[model_type].width_keys if model_type in ARCHITECTURES else {}
