"""Findings about the size of overlaps, compared with chance and with shuffled sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neuronspec.analysis.layer_measures import LayerMeasures
from neuronspec.analysis.overlap import above_diagonal
from neuronspec.analysis.structure import ALPHA
from neuronspec.report.finding import Finding, find_different_layers, join_names, name_layers

HIGH_Z = 3  # standard deviations above chance


def describe_overlap(stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Compare the overlaps of a stack with random sets of neurons, and with shuffled sentences."""
    compared = layers[0].compared
    where = f"In the {stack} ({compared.title}; tasks: {len(compared.tasks)}, layers: {len(layers)}),"

    # Without a finite score there is nothing to compare with chance
    z = np.concatenate([above_diagonal(one.chance.z(one.iou)) for one in layers])
    known = z[np.isfinite(z)]
    if not known.size:
        return [Finding("caveat", f"{where} every mask holds all neurons or none, so the overlaps mean nothing.")]

    # All pairs of all layers, compared with random sets
    mean = float(np.mean([one.pairs.mean() for one in layers]))
    expected = float(np.mean([above_diagonal(one.chance.mean).mean() for one in layers]))
    above = int((known > HIGH_Z).sum())
    count = "all" if above == len(known) else f"{above} of {len(known)}"
    text = (
        f"{where} {count} overlaps are larger than those of random sets of the same sizes (mean IoU {mean:.2f}, at "
        f"random {expected:.2f}; z > {HIGH_Z})."
    )

    # A finding if it holds for most pairs; next, whether the tasks differ at all
    is_most = 2 * above > len(known)
    return [Finding("finding" if is_most else "caveat", text, rank=3), *_compare_with_shuffled(stack, layers, mean)]


def _compare_with_shuffled(stack: str, layers: Sequence[LayerMeasures], mean: float) -> list[Finding]:
    """Say in which layers the tasks differ by more than the noise of their sentences; nothing without resampling."""
    nulls = {one.layer: one.resampled.null for one in layers if one.resampled is not None}
    if not nulls:
        return []

    # The means over all pairs and layers, as they are and shuffled
    shuffled = float(np.mean([above_diagonal(null.mean).mean() for null in nulls.values()]))
    numbers = f"mean IoU {mean:.2f}, with sentences shuffled over the tasks {shuffled:.2f}"

    # Layers in which the tasks differ, and those in which their sentences could be exchanged
    different = find_different_layers(layers)
    alike = [layer for layer in nulls if layer not in different]

    found = []
    if different:
        names = name_layers(different, nulls, stack)
        found.append(Finding("finding", f"The tasks differ in {names} ({numbers}; p <= {ALPHA} in each layer)."))
    if alike:
        names = f"any layer of the {stack}" if len(alike) == len(nulls) else join_names(alike)
        found.append(Finding("caveat", f"The tasks do not differ significantly in {names} ({numbers})."))
    return found
