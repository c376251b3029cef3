"""Findings about the size of overlaps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neuronspec.analysis.layer_measures import LayerMeasures
from neuronspec.analysis.overlap import above_diagonal
from neuronspec.analysis.structure import ALPHA
from neuronspec.report.finding import (
    HIGH_Z,
    Finding,
    find_different_layers,
    join_names,
    name_layers,
)


def describe_overlap(stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Compare overlaps with sets at random, and with what they were if it made no difference whose a sentence is."""
    panel = layers[0].compared
    where = f"In the {stack} ({panel.title}; tasks: {len(panel.tasks)}, layers: {len(layers)})"
    z = np.concatenate([above_diagonal(one.chance.z(one.iou)) for one in layers])
    known = z[np.isfinite(z)]
    if not known.size:
        return [Finding("caveat", f"{where} the masks hold all neurons or none: there is no overlap to speak of.")]
    mean = float(np.mean([one.pairs.mean() for one in layers]))
    expected = float(np.mean([above_diagonal(one.chance.mean).mean() for one in layers]))
    above = int((known > HIGH_Z).sum())
    count = "all" if above == len(known) else f"{above} of {len(known)}"
    text = (
        f"{where} {count} overlaps are larger than those of random sets of the same sizes (mean IoU {mean:.2f}, at "
        f"random {expected:.2f}; z > {HIGH_Z})"
    )
    found = [Finding("finding" if 2 * above > len(known) else "caveat", f"{text}.")]
    nulls = {one.layer: one.resampled.null for one in layers if one.resampled is not None}
    if not nulls:
        return found
    shuffled = float(np.mean([above_diagonal(null.mean).mean() for null in nulls.values()]))
    numbers = f"mean IoU {mean:.2f}, with sentences shuffled over the tasks {shuffled:.2f}"
    differ = find_different_layers(layers)
    if differ:
        text = f"The tasks differ in {name_layers(differ, nulls, stack)} ({numbers}; p <= {ALPHA} in each layer)."
        found.append(Finding("finding", text))
    if alike := [layer for layer in nulls if layer not in differ]:
        where = f"any layer of the {stack}" if len(alike) == len(nulls) else join_names(alike)
        found.append(Finding("caveat", f"That the tasks differ at all is not shown in {where} ({numbers})."))
    return found
