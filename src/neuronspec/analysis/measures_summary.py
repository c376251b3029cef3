"""Summary of the measures of masks as a table of plain text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from neuronspec.analysis.layer_measures import LayerMeasures
from neuronspec.analysis.overlap import above_diagonal
from neuronspec.analysis.structure import FAMILY
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.statistics.corrections import holm_known

SUMMARY_HEADER = ("layer", "sparsity", "IoU", "chance", "lowest z", "family r", "p")


def summarize_layers(masks: NeuronMasks, stacks: Mapping[str, Sequence[LayerMeasures]]) -> str:
    """Return one table for each stack, with a row for each layer.

    The columns: the share of neurons that are off; the mean IoU of all pairs of tasks; the IoU to expect of random
    sets of the same sizes; how many standard deviations the least overlapping pair is above chance; the correlation of
    1 - IoU with the distance between language families, and its p-value, corrected by Holm over the layers of a stack.

    Args:
        masks: Masks that were measured.
        stacks: Measures of the layers of each stack.
    """
    parts = []
    for stack, layers in stacks.items():
        compared = layers[0].compared
        title = f"{stack}, {compared.title}: {len(compared.tasks)} tasks"
        parts.append("\n".join([title, *_align(_list_rows(masks, layers))]))
    return "\n\n".join(parts)


def _list_rows(masks: NeuronMasks, layers: Sequence[LayerMeasures]) -> list[tuple[str, ...]]:
    """Return the header and a row for each layer of a stack."""
    families = [one.structure.correlations.get(FAMILY) for one in layers]

    # The tests are corrected over the layers of the stack
    p_values = []
    for found in families:
        p_values.append(math.nan if found is None else found.p_value)

    rows: list[tuple[str, ...]] = [SUMMARY_HEADER]
    for one, family, p_value in zip(layers, families, holm_known(p_values), strict=True):
        # All compared tasks together; scores that chance leaves no room for are nan
        selected = masks.layer(one.layer)[[masks.task_index(task) for task in one.compared.tasks]]
        chance = above_diagonal(one.chance.mean)
        z = above_diagonal(one.chance.z(one.iou))
        known = z[np.isfinite(z)]

        rows.append(
            (
                one.layer,
                _format(1 - float(selected.double().mean()), 2),
                _format(float(one.pairs.mean()) if one.pairs.size else math.nan, 2),
                _format(float(chance.mean()) if chance.size else math.nan, 2),
                _format(float(known.min()) if known.size else math.nan, 1),
                _format(math.nan if family is None else family.r, 2),
                _format(p_value, 3),
            )
        )
    return rows


def _format(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return each row as a line: the first column to the left, numbers to the right."""
    # At least five characters for a number, so that short columns do not crowd
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *numbers in rows:
        cells = [f"{number:>{max(width, 5)}}" for number, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]))
    return lines
