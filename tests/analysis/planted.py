"""Activation counts with planted structure, and with none: what languages share is known beforehand."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from neuronspec.analysis.measures import Measures, analyze
from neuronspec.config.sections import Analysis
from neuronspec.languages import find_language
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks

LANGUAGES = ("de", "nl", "sv", "da", "fr", "es", "it", "pt", "ru", "cs", "pl", "bg", "fi", "hu", "et")
"""Four families, of four languages but for the last; Russian and Bulgarian alone are not written in Latin script."""
OPTIONS = Analysis(permutations=299, resamples=20, shares=[0.5, 0.9])
BARE = Analysis(permutations=99, resamples=0, shares=[])
NEURONS = 80
SENTENCES = 30
K = 0.9
ENCODER, DECODER = ("encoder.0", "encoder.1", "encoder.2"), ("decoder.0", "decoder.1")


def directions(languages: Sequence[str] = LANGUAGES, pivot: str = "en") -> dict[str, str]:
    """The tasks from and to the pivot, each with the language that it stands for."""
    return {task: one for one in languages for task in (f"{one}-{pivot}", f"{pivot}-{one}")}


def plant_counts(
    groups: Mapping[str, str],
    layers: Mapping[str, tuple[float, float]],
    sentences: int = SENTENCES,
    seed: int = 0,
) -> ActivationCounts:
    """Counts and states of tasks whose neurons fire in part as often as for all tasks, in part as for their group.

    Args:
        groups: by task, what shares neurons beside the whole.
        layers: by name, the share of a task's neurons that are common to all tasks, and that are its group's; the
            others are of a frequency of their own.
        sentences: of each task.
        seed: of everything.
    """
    rng = np.random.default_rng(seed)
    names = list(dict.fromkeys(groups.values()))
    rows = [names.index(group) for group in groups.values()]
    states: dict[str, NDArray[np.bool_]] = {}
    for layer, (common, shared) in layers.items():
        whole, group, own = (_draw_frequencies(rng, size) for size in (1, len(names), len(rows)))
        pick = rng.random((len(rows), NEURONS))
        frequencies = np.select([pick < common, pick < common + shared], [whole, group[rows]], own)
        drawn = rng.random((len(rows), sentences, NEURONS)) < frequencies[:, None]  # (tasks, sentences, d_ff)
        states[layer] = drawn
    totals = torch.full((len(rows),), sentences)
    return ActivationCounts(
        tuple(groups),
        {layer: torch.from_numpy(drawn.sum(1)) for layer, drawn in states.items()},
        dict.fromkeys(dict.fromkeys(layer.partition(".")[0] for layer in layers), totals),
        "sentence",
        {},
        {},
        {layer: torch.from_numpy(np.packbits(drawn.reshape(-1, NEURONS), axis=1)) for layer, drawn in states.items()},
        torch.arange(len(rows)).repeat_interleave(sentences),
    )


def plant_families(languages: Sequence[str] = LANGUAGES, seed: int = 0) -> ActivationCounts:
    """Families share neurons in every layer; what all share rises over the encoder and falls over the decoder."""
    groups = {task: find_language(one).family for task, one in directions(languages).items()}
    common = dict(zip((*ENCODER, *DECODER), (0.1, 0.3, 0.5, 0.4, 0.2), strict=True))
    return plant_counts(groups, {layer: (share, 0.4) for layer, share in common.items()}, seed=seed)


def plant_nothing(
    tasks: Sequence[str], layers: Sequence[str] = (*ENCODER, *DECODER), seed: int = 0
) -> ActivationCounts:
    """Every task has neurons of its own, and what all share is the same in every layer."""
    return plant_counts(dict.fromkeys(tasks, ""), dict.fromkeys(layers, (0.3, 0.0)), seed=seed)


def without_states(counts: ActivationCounts) -> ActivationCounts:
    return replace(counts, states={}, state_tasks=None)


def select(counts: ActivationCounts) -> NeuronMasks:
    return NeuronMasks.from_counts(counts, K)


def draw_words(tasks: int, seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """How often each of 40 tokens stands in the texts, which follows nothing."""
    rng = np.random.default_rng(seed)
    return {stack: rng.integers(0, 9, (tasks, 40)) for stack in ("encoder", "decoder")}


@functools.cache
def measure_families() -> Measures:
    """All that is measured of planted families."""
    counts = plant_families()
    return analyze(select(counts), counts, options=OPTIONS, tokens=draw_words(len(counts.tasks)))


def _draw_frequencies(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
    """(rows, d_ff), many low and a few high, as those of neurons are."""
    return 1 / (1 + np.exp(1.5 - 2 * rng.normal(size=(rows, NEURONS))))
