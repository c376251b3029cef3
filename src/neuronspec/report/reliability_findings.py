"""Findings about reliability: other sentences, and other seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from neuronspec.analysis.layer_measures import LayerMeasures
from neuronspec.analysis.measures import Measures
from neuronspec.report.finding import RELIABLE_CORRELATION, Finding, format_range


def describe_reliability(measures: Measures, stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say how far other sentences, or another seed, would give the same."""
    found = []
    resampled = [one.resampled for one in layers if one.resampled is not None]
    correlations = [one.halves.correlation for one in resampled if not math.isnan(one.halves.correlation)]
    if correlations:
        text = f"Overlaps of two halves of the sentences correlate by {min(correlations):.2f} or more in the {stack}"
        if resampled[0].curve:
            place = len(resampled[0].curve) // 2  # near its end a mask must be near that of all, whose part it is
            size = resampled[0].curve[place].sentences
            near = float(np.mean([one.curve[place].iou for one in resampled]))
            text += f"; masks of {size} sentences a task have an IoU of {near:.2f} with those of all"
        firm = min(correlations) >= RELIABLE_CORRELATION
        rest = "" if firm else ": there are too few sentences, or the overlaps hardly differ"
        found.append(Finding("finding" if firm else "caveat", f"{text}{rest}."))
    for name, by_layer in measures.against.items():
        values = [by_layer[one.layer] for one in layers if not math.isnan(by_layer[one.layer])]
        if not values:
            text = f"The {stack}'s overlaps are not compared with those of {name}: they are too few, or all the same."
            found.append(Finding("caveat", text))
            continue
        firm = min(values) >= RELIABLE_CORRELATION
        rest = "" if firm else ": what differs is not of the languages alone"
        text = f"The {stack}'s overlaps correlate with those of {name} by {format_range(values)}{rest}."
        found.append(Finding("finding" if firm else "caveat", text))
    return found
