"""Cards: what is known of a language's neurons, and of a neuron: whose it is, and what activates it most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from neuronspec.analysis.panels import Panel
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.examples import Example, Examples
from neuronspec.neurons.masks import NeuronMasks

NEURONS = 10
"""Neurons on the card of a language, at most."""


@dataclass(frozen=True)
class Place:
    """How many neurons of one layer are a task's own.

    Attributes:
        layer: its name.
        own: neurons in the task's mask.
        exclusive: of these, those in no other mask of the panel.
        shared: those in every mask of the panel.
    """

    layer: str
    own: int
    exclusive: int
    shared: int


@dataclass(frozen=True)
class LanguageCard:
    """Where the neurons of one task of a panel sit, and which of them are most its own.

    Attributes:
        task: its name.
        label: the language, or the task's name.
        name: the language's English name, or the task's name.
        stack: `encoder` or `decoder`.
        places: layer by layer.
        neurons: (layer, neuron) of those selected neurons that it activates more often than any other task does,
            the largest difference first; without counts, those that the fewest others have selected.
    """

    task: str
    label: str
    name: str
    stack: str
    places: Sequence[Place]
    neurons: Sequence[tuple[str, int]]


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


def describe_languages(
    masks: NeuronMasks, panels: Sequence[Panel], counts: ActivationCounts | None = None, limit: int = NEURONS
) -> list[LanguageCard]:
    """Return a card for every task of every panel.

    Args:
        masks: of the tasks.
        panels: one a stack.
        counts: that the masks were selected from.
        limit: of the neurons that a card names.
    """
    cards = []
    for panel in panels:
        rows = [masks.task_index(task) for task in panel.tasks]
        layers = [layer for layer in masks.layers if layer.startswith(panel.stack)]
        chosen = {layer: masks.layer(layer).numpy()[rows] for layer in layers}  # (tasks, d_ff) each
        margins = np.concatenate([_margins(chosen[layer], _rates(counts, layer, panel)) for layer in layers], axis=1)
        places = [(layer, neuron) for layer in layers for neuron in range(masks.widths[layer])]
        counted = [_count(layer, chosen[layer]) for layer in layers]
        for row, task in enumerate(panel.tasks):
            ranked = np.argsort(-margins[row].round(12), kind="stable")[:limit]  # equal ones: the lower index first
            cards.append(
                LanguageCard(
                    task,
                    panel.labels[row],
                    panel.names[row],
                    panel.stack,
                    [tasks[row] for tasks in counted],
                    [places[index] for index in ranked if margins[row, index] > 0],
                )
            )
    return cards


def describe_neuron(
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


def _rates(counts: ActivationCounts | None, layer: str, panel: Panel) -> NDArray[np.float64] | None:
    if counts is None:
        return None
    rows = [counts.tasks.index(task) for task in panel.tasks]
    return np.asarray(counts.frequencies(layer)[rows].numpy())


def _margins(chosen: NDArray[np.bool_], rates: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return (tasks, d_ff) how far each task stands out at its own neurons; 0 elsewhere."""
    if len(chosen) < 2:
        return np.zeros(chosen.shape)
    if rates is None:
        return np.where(chosen, 1 - chosen.mean(0), 0.0)
    ranked = np.sort(rates, axis=0)
    first, second = ranked[-1], ranked[-2]
    highest_of_others = np.where(rates == first, second, first)
    return np.where(chosen, np.maximum(rates - highest_of_others, 0.0), 0.0)


def _count(layer: str, chosen: NDArray[np.bool_]) -> list[Place]:
    """Return for each task how many of a layer's neurons are its own."""
    owners = chosen.sum(0)  # (d_ff,)
    shared = int((owners == len(chosen)).sum())
    own, exclusive = chosen.sum(1).tolist(), (chosen & (owners == 1)).sum(1).tolist()
    return [Place(layer, *numbers, shared) for numbers in zip(own, exclusive, strict=True)]
