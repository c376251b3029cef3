"""Findings about trends of the overlaps over layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from neuronspec.analysis.layer_measures import LayerMeasures
from neuronspec.analysis.measures import Measures
from neuronspec.analysis.structure import ALPHA
from neuronspec.report.finding import MIN_TASKS, Finding
from neuronspec.statistics.trends import Trend

_PAPER = {"encoder": "x to {}", "decoder": "{} to x"}  # what the paper compares


def describe_trend(measures: Measures, stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say whether overlaps rise or fall over the layers; the paper: rise in the encoder, fall in the decoder."""
    trend = measures.trends[stack]
    if math.isnan(trend.p_value):
        text = f"Whether overlaps rise or fall over the {stack} is not tested: it takes 2 layers and {MIN_TASKS} tasks."
        return [Finding("caveat", text)]
    corrected = measures.corrected[stack]
    numbers = f"{_format_slope(trend)}; above chance {_format_slope(corrected)}; IoU a layer, 95 % over tasks"
    if trend.p_value > ALPHA and corrected.p_value > ALPHA:
        return [Finding("caveat", f"Overlaps neither rise nor fall for certain over the {stack} ({numbers}).")]
    way = "rise" if trend.slope > 0 else "fall"
    if max(trend.p_value, corrected.p_value) > ALPHA or (trend.slope > 0) != (corrected.slope > 0):
        told = f"{way} with the masks' sizes" if trend.p_value <= ALPHA else "neither rise nor fall for certain"
        above = f"{'rise' if corrected.slope > 0 else 'fall'}" if corrected.p_value <= ALPHA else "show no trend"
        text = f"Overlaps {told} over the {stack}; above what masks of such sizes share by chance they {above}"
        return [Finding("caveat", f"{text} ({numbers}).")]
    paper = "rise" if stack == "encoder" else "fall"
    as_there = ", as in the paper" if way == paper else f", where the paper finds that they {paper}"
    if layers[0].compared.title != _PAPER[stack].format(measures.pivot):
        as_there = ""  # the paper compares other tasks there
    return [Finding("finding", f"Overlaps {way} over the {stack}, above chance too{as_there} ({numbers}).")]


def _format_slope(trend: Trend) -> str:
    low, high = trend.interval
    return f"{trend.slope:+.3f} ({low:+.3f} to {high:+.3f})"
