"""Cards of neurons: whose a neuron is, and what activates it most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.examples import Example, Examples
from neuronspec.neurons.masks import NeuronMasks


@dataclass(frozen=True)
class NeuronCard:
    """One neuron.

    Attributes:
        layer: its name.
        neuron: its index.
        owners: the tasks that have selected it.
        frequencies: for each task, the share of its sentences (or tokens) that activate it; empty without counts.
        examples: the sentences that activate it most.
    """

    layer: str
    neuron: int
    owners: Sequence[str]
    frequencies: Mapping[str, float]
    examples: Sequence[Example]

    @property
    def name(self) -> str:
        """`decoder.0:117`."""
        return f"{self.layer}:{self.neuron}"


def make_neuron_card(
    name: str,
    masks: NeuronMasks,
    counts: ActivationCounts | None = None,
    examples: Examples | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> NeuronCard:
    """Return the card of one neuron.

    Args:
        name: `decoder.0:117`, the layer and the neuron's index from 0.
        masks: of any tasks.
        counts: that the masks were selected from, for frequencies.
        examples: from `find_examples`, for sentences.
        tokenizer: the model's, to read the sentences.

    Raises:
        NeuronspecError: there is no such neuron.
    """
    layer, _, index = name.rpartition(":")
    if layer not in masks.layers:
        raise NeuronspecError(
            f"no layer {layer!r}{did_you_mean(layer, masks.layers)}: a neuron is written LAYER:NUMBER, as decoder.0:117"
        )
    if not index.isdecimal() or int(index) >= masks.widths[layer]:
        raise NeuronspecError(f"no neuron {index!r} in {layer}: its neurons are 0 to {masks.widths[layer] - 1}")
    neuron = int(index)
    owners = [task for task, on in zip(masks.tasks, masks.layer(layer)[:, neuron].tolist(), strict=True) if on]
    rates = counts.frequencies(layer, slice(neuron, neuron + 1))[:, 0].tolist() if counts is not None else []
    shown = examples.show(layer, neuron, tokenizer) if examples is not None and tokenizer is not None else []
    return NeuronCard(layer, neuron, owners, dict(zip(counts.tasks if counts else (), rates, strict=True)), shown)
