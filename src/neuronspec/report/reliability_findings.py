"""Findings about reliability: whether other sentences, or another seed, would show the same."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from neuronspec.analysis.layer_measures import LayerMeasures
from neuronspec.analysis.measures import Measures
from neuronspec.report.finding import Finding, format_range

RELIABLE_CORRELATION = 0.8  # overlaps that agree so far are well measured


def describe_reliability(measures: Measures, stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say how far the overlaps agree between halves of the sentences, and with other masks."""
    return [*_describe_halves(stack, layers), *_describe_other_masks(measures, stack, layers)]


def _describe_halves(stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say how well two halves of the sentences agree, and how many sentences are enough."""
    resampled = [one.resampled for one in layers if one.resampled is not None]
    halves = [one.halves.correlation for one in resampled]
    correlations = [r for r in halves if not math.isnan(r)]
    if not correlations:
        return []

    # The least reliable layer decides
    least = min(correlations)
    text = f"Overlaps of two halves of the sentences correlate at r = {least:.2f} or more in the {stack}"

    # The curves of all layers have points at the same numbers of sentences
    curve = resampled[0].curve
    if curve:
        middle = len(curve) // 2  # near its end, a mask must be close to the mask of all sentences
        near = float(np.mean([one.curve[middle].iou for one in resampled]))
        text += (
            f"; masks from {curve[middle].sentences} sentences per task have an IoU of {near:.2f} with those from all"
        )

    if least >= RELIABLE_CORRELATION:
        return [Finding("finding", f"{text}.")]
    return [Finding("caveat", f"{text}: there are too few sentences, or the overlaps hardly differ.")]


def _describe_other_masks(measures: Measures, stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say how well the overlaps agree with those of each set of other masks."""
    found = []
    for name, by_layer in measures.against.items():
        correlations = [by_layer[one.layer] for one in layers]
        known = [r for r in correlations if not math.isnan(r)]  # two tasks, or equal overlaps, have no correlation
        if not known:
            text = (
                f"The {stack}'s overlaps were not compared with those of {name}: there are too few, or they are equal."
            )
            found.append(Finding("caveat", text))
            continue

        # The layer that agrees least decides
        text = f"The {stack}'s overlaps correlate with those of {name} at r = {format_range(known)}"
        if min(known) >= RELIABLE_CORRELATION:
            found.append(Finding("finding", f"{text}."))
        else:
            found.append(Finding("caveat", f"{text}: the differences are not due to the languages alone."))
    return found
