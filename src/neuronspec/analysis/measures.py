"""Measures of a set of masks: overlaps and what they follow, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuronspec.analysis.chance import chance_overlap
from neuronspec.analysis.compared_tasks import ComparedTasks, choose_tasks_by_stack
from neuronspec.analysis.layer_measures import LayerMeasures, Matrix, Resampled, measure_overlap
from neuronspec.analysis.measures_summary import summarize_layers
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
from neuronspec.neurons.mask_overlap import pairwise_iou
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.statistics.correlation import correlate
from neuronspec.statistics.trends import Trend, find_trend


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Measures of a set of masks; printed, they are a table of the overlaps in every layer.

    Attributes:
        masks: Masks that were measured.
        pivot: Language that the others are paired with.
        layers: Measures of each layer by its name, in the order of the masks.
        trends: For each stack, the trend of the overlaps over its layers.
        corrected: For each stack, the trend of the overlaps corrected for chance: larger masks overlap more,
            whatever their tasks.
        by_share: Masks that other k select from the same counts.
        against: For each set of other masks, the correlation of its overlaps with these, layer by layer.
        missing: Reason why a part could not be measured, by the name of the part.
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
        """The measured layers of each stack, in their order."""
        return _group_by_stack(self.layers)

    def __str__(self) -> str:
        return summarize_layers(self.masks, self.stacks)


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
    """Measure how far the masks of tasks overlap, and what the overlaps follow (paper 3.2, A.8, A.9).

    In the encoder the tasks x-pivot are compared, in the decoder pivot-x. With counts, the measures say how the
    choice of k changes the overlaps; with counts that hold the states of single sentences, also how reliable they are.

    Args:
        masks: Masks of any tasks.
        counts: Activation counts that the masks were selected from.
        pivot: Language that the others are paired with, in any spelling.
        options: Settings of the analysis, as in the section `analyze` of a configuration; by default its defaults.
        tokens: For each stack, (masks.tasks, vocabulary) how often each token occurs in each task's text, on the side
            that the stack reads. Without it, shared words cannot be tested as an explanation of the overlaps.
        against: Other masks with the same layers and tasks, such as those of another seed, by a name.
        seed: Seed of everything that is drawn at random.
        advance: Function that is called after each layer.

    Returns:
        The measures; `print` shows them as a table.

    Raises:
        NeuronspecError: If counts, masks or distances do not belong together.

    Example:
        >>> masks = NeuronMasks.from_dict({"en-de": {"decoder.0": [1, 1, 0, 0]}, "en-nl": {"decoder.0": [1, 0, 0, 1]}})
        >>> measures = analyze(masks)
        >>> measures.layers["decoder.0"].iou.round(2).tolist()
        [[1.0, 0.33], [0.33, 1.0]]
        >>> print(measures)
        decoder, en to x: 2 tasks
        layer      sparsity    IoU  chance  lowest z  family r      p
        decoder.0      0.50   0.33    0.39      -0.2         -      -
    """
    options = options or Analysis()
    pivot = spell_pivot(masks.tasks, pivot)
    compared = choose_tasks_by_stack(masks.tasks, masks.layers, pivot=pivot, sides=options.sides)

    # What can be measured
    missing = find_missing(masks, counts, compared=compared, options=options)
    if tokens is None:
        missing["vocabulary"] = "there was no text to compare the languages' words in"
    by_share = {} if "shares" in missing else _select_shares(masks, counts, options.shares)
    resampled_counts = None if "intervals" in missing else counts

    # Every layer by itself
    distances = _find_distances(masks, compared, tokens=tokens, options=options)
    layers = {}
    for layer in masks.layers:
        tasks = compared[stack_of(layer)]
        layers[layer] = _measure_layer(
            masks,
            layer,
            tasks,
            counts=resampled_counts,
            distances=distances[tasks.stack],
            by_share=by_share,
            options=options,
            seed=seed,
        )
        advance()

    # All layers of a stack together
    trends, corrected = {}, {}
    for stack, ordered in _group_by_stack(layers).items():
        trends[stack] = _find_trend([one.iou for one in ordered])
        corrected[stack] = _find_trend([one.above_chance for one in ordered])

    return Measures(
        masks=masks,
        pivot=pivot,
        layers=layers,
        trends=trends,
        corrected=corrected,
        by_share=by_share,
        against={name: _correlate_layers(layers, other) for name, other in (against or {}).items()},
        missing=missing,
    )


def _measure_layer(
    masks: NeuronMasks,
    layer: str,
    compared: ComparedTasks,
    *,
    counts: ActivationCounts | None,
    distances: Mapping[str, Matrix],
    by_share: Mapping[float, NeuronMasks],
    options: Analysis,
    seed: int,
) -> LayerMeasures:
    """Measure one layer; with counts, also how reliable its overlaps are."""
    # The masks of the compared tasks, in their order
    rows = [masks.task_index(task) for task in compared.tasks]
    selected = masks.layer(layer)[rows].numpy()  # (tasks, d_ff)
    sizes, width = selected.sum(1), selected.shape[1]
    iou = pairwise_iou(selected)  # (tasks, tasks)

    # Only with the states of single sentences
    resampled = None
    if counts is not None:
        resampled = _resample(masks, counts, layer=layer, compared=compared, resamples=options.resamples, seed=seed)

    # Every test gets the same seed, so that layers and distances are tested by the same permutations
    return LayerMeasures(
        layer=layer,
        compared=compared,
        iou=iou,
        chance=chance_overlap(sizes, width),
        structure=find_structure(iou, compared, distances, sizes=sizes, permutations=options.permutations, seed=seed),
        shares={k: correlate(iou, measure_overlap(other, layer, compared)) for k, other in by_share.items()},
        resampled=resampled,
    )


def _find_distances(
    masks: NeuronMasks,
    compared: Mapping[str, ComparedTasks],
    *,
    tokens: Mapping[str, NDArray[np.int64]] | None,
    options: Analysis,
) -> dict[str, dict[str, Matrix]]:
    """Return for each stack the distances between its languages, by name."""
    distances = {}
    for stack, tasks in compared.items():
        words = None
        if tokens is not None:
            # The rows of tokens are those of all tasks; this stack compares some of them
            words = tokens[stack][[masks.task_index(task) for task in tasks.tasks]]
        distances[stack] = find_distances(tasks, words, options)
    return distances


def _select_shares(
    masks: NeuronMasks, counts: ActivationCounts | None, shares: Sequence[float]
) -> dict[float, NeuronMasks]:
    """Return the masks that each k selects by the rule of these masks; none without counts."""
    if counts is None:
        return {}

    # From the smallest k to the largest, whatever their order in the settings
    rule = masks.signature["rule"]
    return {k: NeuronMasks.from_counts(counts, k, rule=rule) for k in sorted(shares)}


def _resample(
    masks: NeuronMasks, counts: ActivationCounts, *, layer: str, compared: ComparedTasks, resamples: int, seed: int
) -> Resampled:
    """Measure how reliable the overlaps of one layer are."""
    # The same seed in every layer draws the same sentences, so that layers can be compared
    states = SentenceStates.from_counts(counts, layer, compared.tasks)
    select = make_selector(masks.signature, layer)
    return Resampled(
        interval=bootstrap_iou(states, select, resamples=resamples, seed=seed),
        null=shuffle_null(states, select, shuffles=resamples, seed=seed),
        halves=split_halves(states, select, seed=seed),
        curve=measure_learning_curve(states, select, seed=seed),
    )


def _find_trend(overlaps: Sequence[Matrix]) -> Trend:
    """Return the trend over layers of (tasks, tasks) overlaps.

    Pairs share tasks and are no independent sample; so each task counts once, by its mean overlap with the others.
    """
    # A task's overlap with itself is always 1 and would only flatten the trend
    others = ~np.eye(len(overlaps[0]), dtype=bool)

    means = []
    for one in overlaps:
        # A single task has no others: its row is all there is
        means.append(one.mean(axis=1, where=others) if len(one) > 1 else one[0])
    return find_trend(np.stack(means, axis=1))  # (tasks, layers)


def _correlate_layers(layers: Mapping[str, LayerMeasures], other: NeuronMasks) -> dict[str, float]:
    """Return for each layer the correlation of its overlaps with those of other masks."""
    return {layer: correlate(one.iou, measure_overlap(other, layer, one.compared)) for layer, one in layers.items()}


def _group_by_stack(layers: Mapping[str, LayerMeasures]) -> dict[str, list[LayerMeasures]]:
    # The stacks, and in each its layers, keep the order of the masks
    stacks: dict[str, list[LayerMeasures]] = {}
    for one in layers.values():
        stacks.setdefault(one.compared.stack, []).append(one)
    return stacks
