"""Findings about trends of the overlaps over the layers of a stack."""

from __future__ import annotations

import math
from collections.abc import Sequence

from neuronspec.analysis.layer_measures import LayerMeasures
from neuronspec.analysis.measures import Measures
from neuronspec.analysis.structure import ALPHA
from neuronspec.report.finding import MIN_TASKS, Finding
from neuronspec.statistics.numbers import show_decimals
from neuronspec.statistics.trends import Trend

# What the paper reports, and of which tasks
_PAPER_TITLES = {"encoder": "x to {}", "decoder": "{} to x"}  # the tasks that the paper compares
_PAPER_TRENDS = {"encoder": "rise", "decoder": "fall"}


def describe_trend(measures: Measures, stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say whether overlaps rise or fall over the layers; in the paper they rise in the encoder, fall in the decoder."""
    trend, corrected = measures.trends[stack], measures.corrected[stack]
    if math.isnan(trend.p_value):
        text = f"The trend over the {stack} was not tested: the test needs 2 layers and {MIN_TASKS} tasks."
        return [Finding("caveat", text)]

    # Larger masks overlap more by chance, so a trend must also hold when that is taken off
    numbers = f"{_format_slope(trend)}; corrected for chance {_format_slope(corrected)}; IoU per layer, 95 % over tasks"
    is_significant, is_corrected_significant = trend.p_value <= ALPHA, corrected.p_value <= ALPHA
    way, corrected_way = _name_way(trend), _name_way(corrected)

    # Neither has a trend
    if not is_significant and not is_corrected_significant:
        text = f"Overlaps neither rise nor fall significantly over the {stack} ({numbers})."
        return [Finding("caveat", text)]

    # Both have the same trend
    if is_significant and is_corrected_significant and way == corrected_way:
        paper = _compare_with_paper(measures, stack, layers, way=way)
        text = f"Overlaps {way} over the {stack}, also when corrected for chance{paper} ({numbers})."
        return [Finding("finding", text)]

    # Only the overlaps or only those corrected for chance have a trend, or they contradict each other.
    raw = f"{way} with the masks' sizes" if is_significant else "neither rise nor fall significantly"
    above = corrected_way if is_corrected_significant else "show no trend"
    text = f"Overlaps {raw} over the {stack}; corrected for what masks of these sizes share by chance, they {above}"
    return [Finding("caveat", f"{text} ({numbers}).")]


def _compare_with_paper(measures: Measures, stack: str, layers: Sequence[LayerMeasures], *, way: str) -> str:
    """Return how a trend compares with the paper's; nothing where the paper compares other tasks."""
    if layers[0].compared.title != _PAPER_TITLES[stack].format(measures.pivot):
        return ""

    # Other tasks may show other trends, so only the paper's own are compared
    paper = _PAPER_TRENDS[stack]
    return ", as in the paper" if way == paper else f", whereas in the paper they {paper}"


def _name_way(trend: Trend) -> str:
    return "rise" if trend.slope > 0 else "fall"


def _format_slope(trend: Trend) -> str:
    low, high = trend.interval
    slope, lowest, highest = (show_decimals(value, 3, signed=True) for value in (trend.slope, low, high))
    return f"{slope} ({lowest} to {highest})"
