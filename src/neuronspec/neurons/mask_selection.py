"""Selecting the neurons of every task by a rule, with the signature that says how."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.layer_names import is_expert, stack_of
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.rules import RULES, check_options, list_options, takes_k

logger = logging.getLogger(__name__)


def apply_rule(
    counts: ActivationCounts,
    rule: str,
    *,
    stack_k: Mapping[str, float | None],
    default_k: float,
    layer_k: Mapping[str, float],
    options: Mapping[str, Any],
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Select the specialized neurons of every task from activation counts.

    Args:
        counts: Counts from `record_activations`.
        rule: Name of the rule, in `RULES`.
        stack_k: The k of each stack; None for the default.
        default_k: The k of the stacks without one of their own.
        layer_k: The k of single layers.
        options: Options of the rule.

    Returns:
        For each layer (tasks, d_ff) boolean, and the signature of the masks.

    Raises:
        NeuronspecError: If a rule, an option or a layer is unknown, or a share is outside 0..1.
    """
    select = RULES[rule]
    check_options(rule, options, list_options(select))

    # The k of every layer, for rules that have one
    arguments = dict(options)
    signature = {"rule": rule, "unit": counts.unit, "ties": "lower index first"}
    if takes_k(select):
        by_stack = {stack: default_k if k is None else k for stack, k in stack_k.items()}
        arguments["k"] = _find_k_of_layers(counts, by_stack, layer_k)
        signature |= _sign_k(counts, by_stack, layer_k)
    elif layer_k or any(k is not None for k in stack_k.values()):
        raise NeuronspecError(f"the rule {rule!r} has no k: leave encoder_k, decoder_k and layer_k out")
    signature |= {name: str(value) for name, value in options.items()}

    # Selection from counts that are sound; the signature of the masks continues theirs.
    counts.check()
    selected = select(counts, **arguments)
    _warn_of_silence(counts, selected)
    return selected, dict(counts.signature) | signature


def _find_k_of_layers(
    counts: ActivationCounts, by_stack: Mapping[str, float], layer_k: Mapping[str, float]
) -> dict[str, float]:
    """Return the k of every layer."""
    for layer in layer_k:
        if layer not in counts.layers:
            raise NeuronspecError(f"layer_k: no layer {layer!r}{did_you_mean(layer, counts.layers)}")

    # The k of a single layer goes before that of its stack.
    return {layer: by_stack[stack_of(layer)] for layer in counts.layers} | dict(layer_k)


def _sign_k(counts: ActivationCounts, by_stack: Mapping[str, float], layer_k: Mapping[str, float]) -> dict[str, str]:
    """Return the part of the signature that says which k was used, for the stacks that there are."""
    stacks = {stack_of(layer) for layer in counts.layers}
    used = {stack: k for stack, k in by_stack.items() if stack in stacks}
    return {f"k.{place}": str(k) for place, k in (*used.items(), *layer_k.items())}


def _warn_of_silence(counts: ActivationCounts, selected: Mapping[str, torch.Tensor]) -> None:
    """Warn where a task has no neuron because none was ever active: with its masks the layer adds nothing."""
    silent = []
    for layer, values in counts.values.items():
        if is_expert(layer):  # it may be that no token was sent to it
            continue
        never_active = (values.sum(1) == 0) & ~selected[layer].any(1)  # (tasks,)
        silent += [(layer, counts.tasks[row]) for row in never_active.nonzero()[:, 0].tolist()]

    if silent:
        layer, task = silent[0]
        logger.warning(
            "of %s, no neuron of %s was ever active, and none is selected (%d such layers and tasks in all): "
            "with these masks the layer adds nothing",
            task,
            layer,
            len(silent),
        )
