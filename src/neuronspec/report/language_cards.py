"""Cards of languages: where the neurons of a language sit, and which are most its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuronspec.analysis.compared_tasks import ComparedTasks
from neuronspec.layer_names import stack_of
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks

MAX_CARD_NEURONS = 10
"""Largest number of neurons on the card of a language."""
MAX_SPECIAL_NEURONS = 3
"""Largest number of further neurons that read tags, ends of sentences and other special tokens."""


@dataclass(frozen=True)
class LayerShare:
    """Numbers of a task's neurons in one layer.

    Attributes:
        layer: Name of the layer.
        own: Neurons in the task's mask.
        exclusive: Neurons of its mask that are in no other compared mask.
        shared: Neurons that are in every compared mask.
    """

    layer: str
    own: int
    exclusive: int
    shared: int


@dataclass(frozen=True, kw_only=True)
class LanguageCard:
    """Neurons of one compared task: how many there are in each layer, and which are the most specific.

    Attributes:
        task: Name of the task.
        label: Code of the language, or the task's name.
        name: English name of the language, or the task's name.
        stack: `encoder` or `decoder`.
        layer_shares: Numbers of neurons, layer by layer.
        neurons: (layer, neuron) of those selected neurons that the task activates more often than any other task does,
            the largest difference first; without counts, those that the fewest other tasks have selected.
    """

    task: str
    label: str
    name: str
    stack: str
    layer_shares: Sequence[LayerShare]
    neurons: Sequence[tuple[str, int]]


def make_language_cards(
    masks: NeuronMasks,
    compared: Sequence[ComparedTasks],
    counts: ActivationCounts | None = None,
    limit: int = MAX_CARD_NEURONS,
) -> list[LanguageCard]:
    """Return a card for every compared task of every stack.

    Args:
        masks: Masks of the tasks.
        compared: Tasks that are compared in each stack.
        counts: Activation counts that the masks were selected from.
        limit: Largest number of neurons that a card names.
    """
    # The same language can be read in one stack and written in the other, so it has a card in each
    cards = []
    for tasks in compared:
        cards += _make_stack_cards(masks, tasks, counts, limit=limit)
    return cards


def choose_neurons(card: LanguageCard, reads: Mapping[str, str], limit: int = MAX_CARD_NEURONS) -> LanguageCard:
    """Return a card with fewer neurons: those that read words first, then some that read special tokens.

    Args:
        card: Card with more neurons than it is to show.
        reads: For each neuron, by its name such as `decoder.0:117`, what it reads.
        limit: Largest number of neurons that read words.
    """
    words = [place for place in card.neurons if reads[name_neuron(place)] == "word"]
    others = [place for place in card.neurons if reads[name_neuron(place)] != "word"]
    return dataclasses.replace(card, neurons=[*words[:limit], *others[:MAX_SPECIAL_NEURONS]])


def name_neuron(place: tuple[str, int]) -> str:
    """Return the name of a neuron, such as `decoder.0:117`."""
    layer, neuron = place
    return f"{layer}:{neuron}"


def _make_stack_cards(
    masks: NeuronMasks, compared: ComparedTasks, counts: ActivationCounts | None, *, limit: int
) -> list[LanguageCard]:
    """Return a card for every compared task of one stack."""
    rows = [masks.task_index(task) for task in compared.tasks]
    layers = [layer for layer in masks.layers if stack_of(layer) == compared.stack]

    # Layer by layer; the neurons of all layers are then ranked together
    neurons, shares, margins = [], [], []
    for layer in layers:
        neurons += [(layer, neuron) for neuron in range(masks.widths[layer])]
        selected = masks.layer(layer).numpy()[rows]  # (tasks, d_ff)
        shares.append(_count_neurons(layer, selected))
        margins.append(_find_margins(selected, _find_rates(counts, layer, compared)))
    all_margins = np.concatenate(margins, axis=1)  # (tasks, neurons of all layers)

    cards = []
    for row, task in enumerate(compared.tasks):
        # Rounded, so that margins that differ by rounding alone count as equal
        own = all_margins[row]
        ranked = np.argsort(-own.round(12), kind="stable")[:limit]  # equal ones: the lower index first
        cards.append(
            LanguageCard(
                task=task,
                label=compared.labels[row],
                name=compared.names[row],
                stack=compared.stack,
                layer_shares=[tasks[row] for tasks in shares],
                neurons=[neurons[index] for index in ranked[own[ranked] > 0]],
            )
        )
    return cards


def _find_rates(counts: ActivationCounts | None, layer: str, compared: ComparedTasks) -> NDArray[np.float64] | None:
    """Return (tasks, d_ff) how often each neuron is active, as a share; None without counts."""
    if counts is None:
        return None

    # Counts may hold more tasks, in another order
    rows = [counts.tasks.index(task) for task in compared.tasks]
    return np.asarray(counts.frequencies(layer)[rows].numpy())


def _find_margins(selected: NDArray[np.bool_], rates: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return (tasks, d_ff) how far each task stands out at its own neurons; 0 elsewhere."""
    # A single task has no others to stand out from
    if len(selected) < 2:
        return np.zeros(selected.shape)

    # Without counts: the share of the tasks that have not selected the neuron
    if rates is None:
        return np.where(selected, 1 - selected.mean(0), 0.0)

    # The highest rate of the other tasks: the second highest for the task that has the highest one
    ranked = np.sort(rates, axis=0)
    first, second = ranked[-1], ranked[-2]
    highest_of_others = np.where(rates == first, second, first)
    return np.where(selected, np.maximum(rates - highest_of_others, 0.0), 0.0)


def _count_neurons(layer: str, selected: NDArray[np.bool_]) -> list[LayerShare]:
    """Return for each task the numbers of its neurons in one layer."""
    owners = selected.sum(0)  # (d_ff,)
    shared = int((owners == len(selected)).sum())

    # Of each task: all its neurons, and those that no other task has
    own = selected.sum(1).tolist()
    exclusive = (selected & (owners == 1)).sum(1).tolist()

    # Those in every mask are the same for all tasks
    return [LayerShare(layer, *numbers, shared) for numbers in zip(own, exclusive, strict=True)]
