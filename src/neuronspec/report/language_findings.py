"""Findings about languages: which distances the overlaps follow, and whether families keep apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

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
from neuronspec.statistics.correlation import Correlation
from neuronspec.statistics.numbers import show_decimals
from neuronspec.statistics.separation import Separation

Tests = Mapping[str, Correlation] | Mapping[str, Separation]


def describe_distances(stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say which distances between languages the overlaps follow, alone and with the other explanations held fixed."""
    found = _describe_unknown(stack, layers[0].compared)

    for name in layers[0].structure.correlations:
        # The same distance in every layer, where it could be tested
        correlations = {one.layer: one.structure.correlations[name] for one in layers}
        known = {layer: one for layer, one in correlations.items() if not math.isnan(one.p_value)}

        if name == SIZE and not find_significant_layers(known):
            continue  # masks of different sizes should not explain anything
        if not known:
            reason = _explain_untested(name, layers[0].compared, correlations)
            found.append(Finding("caveat", f"{name.capitalize()} was not tested ({stack}): {reason}."))
            continue

        found.append(_describe_distance(name, stack, layers, known=known))
        if name == FAMILY:
            found += _describe_families(stack, layers)
    return found


def _describe_unknown(stack: str, compared: ComparedTasks) -> list[Finding]:
    """Say which languages are left out of the tests of families and of scripts."""
    found = []
    for name, plural, facts in ((FAMILY, "families", compared.families), (SCRIPT, "scripts", compared.scripts)):
        # Languages that the table does not know, or knows no such fact of
        unknown = [label for label, fact in zip(compared.labels, facts, strict=True) if fact == UNKNOWN]
        if unknown:
            text = f"The {name} of {join_names(unknown)} is unknown: tests of {plural} in the {stack} leave them out."
            found.append(Finding("caveat", text))
    return found


def _explain_untested(name: str, compared: ComparedTasks, correlations: Mapping[str, Correlation]) -> str:
    """Return why a distance was tested in no layer."""
    who = _name_members(compared)
    facts = {FAMILY: compared.relatives, SCRIPT: compared.scripts}.get(name, ())

    # Too few tasks, or nothing that differs between them
    if max(one.n for one in correlations.values()) < MIN_TASKS:
        of_known = f" of known {name}" if name in (FAMILY, SCRIPT) else ""
        return f"the test needs {MIN_TASKS} {who}{of_known}"
    if len({fact for fact in facts if fact != UNKNOWN}) == 1:
        return f"all {who} use the same script" if name == SCRIPT else f"all {who} belong to the same family"
    return f"all {who} are equally far apart in {name}, or all overlaps are equal"


def _describe_distance(
    name: str, stack: str, layers: Sequence[LayerMeasures], *, known: Mapping[str, Correlation]
) -> Finding:
    """Say in which layers the overlaps follow one distance."""
    who = _name_members(layers[0].compared)
    numbers = f"Mantel r {format_range([one.r for one in known.values()])}, layers tested: {len(known)}"
    significant = find_significant_layers(known)

    # In no layer: say whether the tasks are enough to find one
    if not significant:
        text = _explain_insignificant(known, who=who, name=name, stack=stack)
        return Finding("caveat", f"{text} ({numbers}).")

    # Layers that are more than noise are named, where there are some.
    reliable_anywhere = find_reliable_layers(layers)
    reliable = [layer for layer in significant if layer in reliable_anywhere]
    chosen = reliable or significant
    text = f"{who.capitalize()} closer in {name} share more neurons in {name_layers(chosen, known, stack)} ({numbers})"
    text += _describe_confounders(name, layers, chosen)
    if not reliable:
        text += "; but there the overlaps are hardly more than noise"

    # A difference of mask sizes is no fact about languages
    is_finding = bool(reliable) and name != SIZE
    return Finding("finding" if is_finding else "caveat", f"{text}.")


def _explain_insignificant(known: Mapping[str, Correlation], *, who: str, name: str, stack: str) -> str:
    """Return that overlaps follow a distance in no layer, or that the tasks are too few to test it."""
    least = _find_least_corrected(known)
    if least <= ALPHA:
        return f"Overlaps do not significantly follow {name} in any layer of the {stack}"

    # Too few tasks: even the best result would not be significant
    size = max(one.n for one in known.values())
    return (
        f"{size} {who} are too few to test whether overlaps follow {name} in the {stack}: no corrected p-value "
        f"could be below {least:.2g}"
    )


def _describe_confounders(name: str, layers: Sequence[LayerMeasures], chosen: Sequence[str]) -> str:
    """Return what is left of a distance in the chosen layers when the other explanations are held fixed."""
    # The distances that were held fixed, and the partial correlation of this one in each layer
    partial: dict[str, Correlation] = {}
    others: dict[str, None] = {}
    for one in layers:
        others |= dict.fromkeys(one.structure.partial)
        if name in one.structure.partial:
            partial[one.layer] = one.structure.partial[name]

    others.pop(name, None)
    if not partial or not others:
        return ""

    fixed = f"with {join_names(others)} held fixed"
    if all(math.isnan(partial[layer].p_value) for layer in chosen):
        return f"; {fixed}, nothing is left to test"

    # What is still significant in the layers that the finding names
    still = [layer for layer in find_significant_layers(partial) if layer in chosen]
    if not still:
        return f", but not significantly {fixed}"
    r = float(np.mean([partial[layer].r for layer in still]))
    return f", and {fixed} still in {join_names(still)} (partial r {show_decimals(r, 2)})"


def _describe_families(stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say where families keep apart more than random groups, and how much larger overlaps are within them."""
    separations = {one.layer: one.structure.families for one in layers if one.structure.families is not None}
    significant = find_significant_layers(separations)

    # The layer in which they keep apart most gives the numbers
    best = _find_best_separated(layers, significant)
    if best is None:
        return []
    structure = best.structure
    numbers = f"most in {best.layer}: mean IoU {structure.within:.2f} within, {structure.across:.2f} across"

    # Significant somewhere: the best layer also says how far the tree agrees
    if significant:
        if not math.isnan(structure.rand):
            numbers += f"; adjusted Rand index of families and its tree, cut into as many groups: {structure.rand:.2f}"
        names = name_layers(significant, separations, stack)
        return [Finding("finding", f"Families keep apart more than random groups in {names} ({numbers}).", rank=2)]

    # Nowhere: were there too few languages, or do families not keep apart?
    least = _find_least_corrected(separations)
    if least > ALPHA:
        text = (
            f"The languages are too few to test whether families keep apart in the {stack}: no corrected p-value could "
            f"be below {least:.2g} ({numbers})."
        )
        return [Finding("caveat", text)]
    text = f"Families do not keep apart significantly more than random groups in any layer of the {stack} ({numbers})."
    return [Finding("caveat", text, rank=2)]


def _find_best_separated(layers: Sequence[LayerMeasures], significant: Sequence[str]) -> LayerMeasures | None:
    """Return the layer whose overlaps differ most within and across families, of the significant ones if any."""

    def difference(one: LayerMeasures) -> float:
        return one.structure.within - one.structure.across

    # A layer without two relatives or two families has no difference
    candidates = [one for one in layers if not significant or one.layer in significant]
    known = [one for one in candidates if not math.isnan(difference(one))]
    return max(known, key=difference, default=None)


def _find_least_corrected(tests: Tests) -> float:
    """Return the smallest p-value that is possible after the correction over all layers."""
    # Holm's method multiplies the smallest p-value by the number of tests
    least = max((one.least_p_value for one in tests.values()), default=1.0)
    return min(1.0, least * len(tests))


def _name_members(compared: ComparedTasks) -> str:
    return "languages" if compared.languages else "tasks"
