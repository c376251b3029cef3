"""Cards of languages: where the neurons of a language sit, and which are most its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuronspec.analysis.compared_tasks import ComparedTasks
from neuronspec.layer_names import stack_of
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks

MAX_CARD_NEURONS = 10
"""Neurons on the card of a language, at most."""


@dataclass(frozen=True)
class LayerShare:
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
    places: Sequence[LayerShare]
    neurons: Sequence[tuple[str, int]]


def make_language_cards(
    masks: NeuronMasks,
    panels: Sequence[ComparedTasks],
    counts: ActivationCounts | None = None,
    limit: int = MAX_CARD_NEURONS,
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
        layers = [layer for layer in masks.layers if stack_of(layer) == panel.stack]
        chosen = {layer: masks.layer(layer).numpy()[rows] for layer in layers}  # (tasks, d_ff) each
        margins = np.concatenate([_margins(chosen[layer], _rates(counts, layer, panel)) for layer in layers], axis=1)
        places = [(layer, neuron) for layer in layers for neuron in range(masks.widths[layer])]
        counted = [_count_neurons(layer, chosen[layer]) for layer in layers]
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


def _rates(counts: ActivationCounts | None, layer: str, panel: ComparedTasks) -> NDArray[np.float64] | None:
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


def _count_neurons(layer: str, chosen: NDArray[np.bool_]) -> list[LayerShare]:
    """Return for each task how many of a layer's neurons are its own."""
    owners = chosen.sum(0)  # (d_ff,)
    shared = int((owners == len(chosen)).sum())
    own, exclusive = chosen.sum(1).tolist(), (chosen & (owners == 1)).sum(1).tolist()
    return [LayerShare(layer, *numbers, shared) for numbers in zip(own, exclusive, strict=True)]
