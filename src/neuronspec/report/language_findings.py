"""Findings about languages: which distances the overlaps follow, and whether families keep apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from neuronspec.analysis.compared_tasks import ComparedTasks
from neuronspec.analysis.layer_measures import LayerMeasures
from neuronspec.analysis.structure import ALPHA, FAMILY, SCRIPT, SIZE
from neuronspec.languages import UNKNOWN
from neuronspec.report.finding import (
    MIN_TASKS,
    Finding,
    find_reliable_layers,
    find_significant_layers,
    format_range,
    join_names,
    name_layers,
)


def describe_distances(stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say which distances between languages the overlaps follow, alone and beside their rivals."""
    found = _describe_unknown(stack, layers[0].compared)
    who = "languages" if layers[0].compared.languages else "tasks"
    for name in layers[0].structure.correlations:
        correlations = {one.layer: one.structure.correlations[name] for one in layers}
        known = {layer: one for layer, one in correlations.items() if not math.isnan(one.p_value)}
        if name == SIZE and not find_significant_layers(known):
            continue  # as it should be
        if not known:
            few = max(one.n for one in correlations.values()) < MIN_TASKS
            of_known = f" of known {name}" if name in (FAMILY, SCRIPT) else ""
            why = (
                f"it takes {MIN_TASKS} {who}{of_known}"
                if few
                else f"the {who} are all as far apart in it, or overlap as much"
            )
            text = f"Whether overlaps follow {name} in the {stack} is not tested: {why}."
            found.append(Finding("caveat", text))
            continue
        numbers = f"Mantel r {format_range([one.r for one in known.values()])}, layers tested: {len(known)}"
        least = min(1.0, max(one.least_p_value for one in known.values()) * len(known))
        significant = find_significant_layers(known)
        if significant:
            firm = [layer for layer in significant if layer in find_reliable_layers(layers)]
            where = name_layers(firm or significant, known, stack)
            text = f"{who.capitalize()} closer in {name} share more neurons in {where} ({numbers})"
            text += _describe_confounders(name, layers, firm or significant)
            noisy = "" if firm else "; but there overlaps are hardly more than noise"
            found.append(Finding("finding" if firm and name != SIZE else "caveat", f"{text}{noisy}."))
        elif least > ALPHA:
            size = max(one.n for one in known.values())
            text = (
                f"{size} {who} are too few to tell whether overlaps follow {name} in the {stack}: no corrected p-value "
                f"could be below {least:.2g} ({numbers})."
            )
            found.append(Finding("caveat", text))
        else:
            found.append(Finding("caveat", f"No layer of the {stack} shows that overlaps follow {name} ({numbers})."))
        if name == FAMILY:
            found += _describe_families(stack, layers)
    return found


def _describe_unknown(stack: str, panel: ComparedTasks) -> list[Finding]:
    """Say which languages are left out of the tests of families and of scripts."""
    found = []
    for name, facts in ((FAMILY, panel.families), (SCRIPT, panel.scripts)):
        unknown = [label for label, fact in zip(panel.labels, facts, strict=True) if fact == UNKNOWN]
        if unknown:
            text = f"The {name} of {join_names(unknown)} is unknown: tests of it in the {stack} leave them out."
            found.append(Finding("caveat", text))
    return found


def _describe_confounders(name: str, layers: Sequence[LayerMeasures], alone: Sequence[str]) -> str:
    """Return what is left of a distance when the other explanations are held fixed."""
    partial = {one.layer: one.structure.partial[name] for one in layers if name in one.structure.partial}
    rivals = dict.fromkeys(rival for one in layers for rival in one.structure.partial if rival != name)
    others = join_names(rivals) if rivals else ""
    if not partial or not others:
        return ""
    if all(math.isnan(partial[layer].p_value) for layer in alone):
        return f"; with {others} held fixed there is nothing left to test"
    held = [layer for layer in find_significant_layers(partial) if layer in alone]
    if not held:
        return f", but not clearly with {others} held fixed"
    r = float(np.mean([partial[layer].r for layer in held]))
    return f", and with {others} held fixed still in {join_names(held)} (partial r {r:.2f})"


def _describe_families(stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say where families keep apart more than random groups, and how much larger overlaps are within them."""
    separations = {one.layer: one.structure.families for one in layers if one.structure.families is not None}
    significant = find_significant_layers(separations)
    known = [one for one in layers if not math.isnan(one.structure.within - one.structure.across)]
    best = max(
        (one for one in known if one.layer in significant or not significant),
        key=lambda one: one.structure.within - one.structure.across,
        default=None,
    )
    if best is None:
        return []
    structure = best.structure
    numbers = f"most in {best.layer}: mean IoU {structure.within:.2f} within, {structure.across:.2f} across"
    least = min(1.0, max((one.least_p_value for one in separations.values()), default=1.0) * len(separations))
    if not significant and least > ALPHA:
        text = (
            f"The languages are too few to tell whether families keep apart in the {stack}: no corrected p-value could "
            f"be below {least:.2g} ({numbers})."
        )
        return [Finding("caveat", text)]
    if not significant:
        text = f"That families keep apart more than random groups is not shown in any layer of the {stack} ({numbers})."
        return [Finding("caveat", text)]
    text = f"Families keep apart more than random groups in {name_layers(significant, separations, stack)} ({numbers}"
    if not math.isnan(structure.rand):
        text += (
            f"; its tree, cut into as many groups, agrees with them by {structure.rand:.2f}, the adjusted Rand index"
        )
    return [Finding("finding", f"{text}).")]
