"""Cards of neurons: whose a neuron is, and what activates it most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.examples import Example, Examples
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.token_text import TokenRole
from neuronspec.report.marked_words import choose_role


@dataclass(frozen=True)
class NeuronCard:
    """One neuron: the tasks that selected it, how often they activate it, and the sentences that activate it most.

    Attributes:
        layer: Name of the layer.
        neuron: Index of the neuron in the layer.
        owners: Tasks that have selected the neuron.
        frequencies: For each task, the share of its sentences (or tokens) that activate it; empty without counts.
        examples: Sentences that activate it most.
    """

    layer: str
    neuron: int
    owners: Sequence[str]
    frequencies: Mapping[str, float]
    examples: Sequence[Example]

    @property
    def name(self) -> str:
        """Name of the neuron, such as `decoder.0:117`."""
        return f"{self.layer}:{self.neuron}"

    @property
    def reads(self) -> TokenRole:
        """Kind of token that activates the neuron in more than half of its examples; words if there is none."""
        return choose_role(self.examples)


def make_neuron_card(
    name: str,
    masks: NeuronMasks,
    counts: ActivationCounts | None = None,
    examples: Examples | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> NeuronCard:
    """Return the card of one neuron.

    Args:
        name: Name of the neuron: the layer and the index from 0, such as `decoder.0:117`.
        masks: Masks of any tasks.
        counts: Activation counts that the masks were selected from, for frequencies.
        examples: Example sentences from `find_examples`.
        tokenizer: Tokenizer of the model, to read the sentences.

    Raises:
        NeuronspecError: If there is no such neuron.
    """
    layer, neuron = _read_name(name, masks)

    # Whose neuron it is
    selected = masks.layer(layer)[:, neuron].tolist()
    owners = [task for task, is_on in zip(masks.tasks, selected, strict=True) if is_on]

    # How often each task activates it; only this column is computed
    frequencies = {}
    if counts is not None:
        rates = counts.frequencies(layer, slice(neuron, neuron + 1))[:, 0].tolist()
        frequencies = dict(zip(counts.tasks, rates, strict=True))

    # The sentences that activate it most, which only a tokenizer can read
    shown: Sequence[Example] = []
    if examples is not None and tokenizer is not None:
        shown = examples.show(layer, neuron, tokenizer)
    return NeuronCard(layer, neuron, owners=owners, frequencies=frequencies, examples=shown)


def _read_name(name: str, masks: NeuronMasks) -> tuple[str, int]:
    """Return the layer and the index of a neuron that masks have."""
    # The last colon separates; the index is from 0
    layer, _, index = name.rpartition(":")
    if layer not in masks.layers:
        raise NeuronspecError(
            f"no layer {layer!r}{did_you_mean(layer, masks.layers)}: a neuron is written LAYER:NUMBER, as decoder.0:117"
        )
    if not index.isdecimal() or int(index) >= masks.widths[layer]:
        raise NeuronspecError(f"no neuron {index!r} in {layer}: its neurons are 0 to {masks.widths[layer] - 1}")
    return layer, int(index)
