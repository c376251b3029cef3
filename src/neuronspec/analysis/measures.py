"""Everything that is measured of a set of masks, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neuronspec.analysis.chance import chance_overlap
from neuronspec.analysis.compared_tasks import ComparedTasks, choose_tasks_by_stack
from neuronspec.analysis.layer_measures import LayerMeasures, Matrix, Resampled, measure_overlap
from neuronspec.analysis.missing_measures import find_missing
from neuronspec.analysis.reliability import measure_learning_curve, split_halves
from neuronspec.analysis.resampling import bootstrap_iou, shuffle_null
from neuronspec.analysis.reselection import make_selector
from neuronspec.analysis.sentence_states import SentenceStates
from neuronspec.analysis.structure import find_distances, find_structure
from neuronspec.config.sections import Analysis
from neuronspec.languages import spell_pivot
from neuronspec.layer_names import stack_of
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks, pairwise_iou
from neuronspec.statistics.correlation import correlate
from neuronspec.statistics.trends import Trend, find_trend


@dataclass(frozen=True)
class Measures:
    """Everything that is measured of a set of masks.

    Attributes:
        masks: the masks.
        pivot: the language that the others are paired with.
        layers: by name, in their order.
        trends: by stack, whether the overlaps rise or fall from layer to layer.
        corrected: the same of the overlaps above chance: larger masks overlap more, whatever their tasks.
        by_share: the masks that other k select from the same counts.
        against: by the name of other masks, for each layer the correlation of their overlaps with these.
        missing: by the name of a part that could not be measured, why.
    """

    masks: NeuronMasks
    pivot: str
    layers: Mapping[str, LayerMeasures]
    trends: Mapping[str, Trend]
    corrected: Mapping[str, Trend]
    by_share: Mapping[float, NeuronMasks]
    against: Mapping[str, Mapping[str, float]]
    missing: Mapping[str, str]

    @property
    def stacks(self) -> dict[str, list[LayerMeasures]]:
        """The layers of each stack, in their order."""
        stacks: dict[str, list[LayerMeasures]] = {}
        for one in self.layers.values():
            stacks.setdefault(one.compared.stack, []).append(one)
        return stacks


def analyze(
    masks: NeuronMasks,
    counts: ActivationCounts | None = None,
    *,
    pivot: str = "en",
    options: Analysis | None = None,
    tokens: Mapping[str, NDArray[np.int64]] | None = None,
    against: Mapping[str, NeuronMasks] | None = None,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> Measures:
    """Measure what masks say about their tasks, and how firmly they say it (paper, 3.2, A.8, A.9, and beyond).

    Args:
        masks: of any tasks.
        counts: that the masks were selected from; where they hold `states`, sentences are resampled.
        pivot: the language that the others are paired with.
        options: which tasks to compare, how often to resample, other distances: see docs/configuration.md.
        tokens: by stack, (masks.tasks, vocabulary) how often each token stands in each task's text, on the side that
            the stack reads. Without it nobody can tell whether languages share neurons because they share words.
        against: other masks with the same layers and tasks, such as those of another seed, by a name.
        seed: of everything that is drawn.
        advance: called after each layer.

    Returns:
        The measures.

    Raises:
        NeuronspecError: counts, masks or distances that do not belong together.

    Example:
        >>> masks = NeuronMasks.from_dict({"en-de": {"decoder.0": [1, 1, 0, 0]}, "en-nl": {"decoder.0": [1, 0, 0, 1]}})
        >>> round(analyze(masks).layers["decoder.0"].structure.within, 2)
        0.33
    """
    options = options or Analysis()
    pivot = spell_pivot(masks.tasks, pivot)
    panels = choose_tasks_by_stack(masks.tasks, masks.layers, pivot, options.sides)
    distances = {}
    for stack, panel in panels.items():
        words = None if tokens is None else tokens[stack][[masks.task_index(task) for task in panel.tasks]]
        distances[stack] = find_distances(panel, words, options)
    missing = find_missing(masks, counts, panels, options) | (
        {} if tokens is not None else {"vocabulary": "there was no text to compare the languages' words in"}
    )
    by_share = {} if counts is None or "shares" in missing else _select_shares(masks, counts, options.shares)
    layers = {}
    for layer in masks.layers:
        panel = panels[stack_of(layer)]
        chosen = masks.layer(layer)[[masks.task_index(task) for task in panel.tasks]].numpy()  # (tasks, d_ff)
        iou = pairwise_iou(chosen)
        layers[layer] = LayerMeasures(
            layer,
            panel,
            iou,
            chance_overlap(chosen.sum(1), chosen.shape[1]),
            find_structure(iou, panel, distances[panel.stack], chosen.sum(1), options.permutations, seed),
            {k: correlate(iou, measure_overlap(other, layer, panel)) for k, other in by_share.items()},
            None if counts is None or "intervals" in missing else _resample(masks, counts, layer, panel, options, seed),
        )
        advance()
    measures = Measures(masks, pivot, layers, {}, {}, by_share, {}, missing)
    return replace(
        measures,
        trends={
            stack: find_trend(_average([one.iou for one in ordered])) for stack, ordered in measures.stacks.items()
        },
        corrected={
            stack: find_trend(_average([one.above_chance for one in ordered]))
            for stack, ordered in measures.stacks.items()
        },
        against={
            name: {
                layer: correlate(one.iou, measure_overlap(other, layer, one.compared)) for layer, one in layers.items()
            }
            for name, other in (against or {}).items()
        },
    )


def _select_shares(masks: NeuronMasks, counts: ActivationCounts, shares: Sequence[float]) -> dict[float, NeuronMasks]:
    rule = masks.signature["rule"]
    return {k: NeuronMasks.from_counts(counts, k, rule=rule) for k in sorted(shares)}


def _resample(
    masks: NeuronMasks, counts: ActivationCounts, layer: str, panel: ComparedTasks, options: Analysis, seed: int
) -> Resampled:
    states, select = SentenceStates.from_counts(counts, layer, panel.tasks), make_selector(masks.signature, layer)
    return Resampled(
        bootstrap_iou(states, select, resamples=options.resamples, seed=seed),
        shuffle_null(states, select, shuffles=options.resamples, seed=seed),
        split_halves(states, select, seed=seed),
        measure_learning_curve(states, select, seed=seed),
    )


def _average(matrices: Sequence[Matrix]) -> Matrix:
    """Return (tasks, layers) the mean overlap of each task with the others: pairs are no sample, tasks rather are."""
    others = ~np.eye(len(matrices[0]), dtype=bool)
    return np.stack([np.mean(one, axis=1, where=others) if len(one) > 1 else one[0] for one in matrices], axis=1)
