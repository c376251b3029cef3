"""Findings: what the measures say, in plain sentences, and what they do not say."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neuronspec.analysis.ablation import Ablation, Dominance
from neuronspec.analysis.measures import LayerMeasures, Measures
from neuronspec.analysis.statistics import Correlation
from neuronspec.analysis.structure import FAMILY, RIVALS
from neuronspec.evaluation.outcomes import holm

LEVEL = 0.05
HIGH_Z = 3  # standard deviations above chance
FIRM = 0.8  # the correlation of two halves from which on overlaps are well measured


@dataclass(frozen=True)
class Finding:
    """A sentence about the neurons.

    Attributes:
        kind: `finding` for what the numbers support, `caveat` for what they do not, or what limits them.
        text: the sentence.
    """

    kind: Literal["finding", "caveat"]
    text: str


def describe(measures: Measures, ablations: Mapping[str, Ablation] | None = None) -> list[Finding]:
    """Say in sentences what the measures show and what they do not.

    p-values of several layers are corrected by Holm's method before a layer is named.

    Args:
        measures: of a set of masks.
        ablations: by stack, where neurons were switched off.
    """
    findings = [_describe_selection(measures)]
    for stack, layers in measures.stacks.items():
        if len(layers[0].panel.tasks) < 2:
            findings.append(Finding("caveat", f"In the {stack} there is one task, and nothing to compare it with."))
            continue
        findings += _describe_overlap(stack, layers)
        findings += _describe_languages(stack, layers)
        findings += _describe_trend(measures, stack, layers)
        findings += _describe_firmness(measures, stack, layers)
        if ablations and stack in ablations:
            findings.append(_describe_ablation(stack, ablations[stack]))
    findings += [
        Finding("caveat", f"{title}: {measures.missing[part]}.")
        for part, title in (
            ("families", "Nothing is said of families and scripts"),
            ("vocabulary", "Whether shared words explain the overlaps is not tested"),
            ("intervals", "The overlaps have no intervals, and no null of shuffled sentences"),
        )
        if part in measures.missing
    ]
    if not measures.against:
        findings.append(
            Finding(
                "caveat",
                "One training of one model: another seed may show other overlaps. Compare with its masks "
                "(analysis.against) before building on a detail.",
            )
        )
    return findings


def _describe_selection(measures: Measures) -> Finding:
    sparsity = measures.masks.sparsity()
    off = {
        stack: float(np.mean([sparsity[one.layer].mean() for one in layers]))
        for stack, layers in measures.stacks.items()
    }
    told = " and ".join(f"{100 * share:.0f} % of the {stack}'s" for stack, share in off.items())
    signature = measures.masks.signature
    ks = {key.removeprefix("k."): value for key, value in signature.items() if key.startswith("k.")}
    shares = " / ".join(f"{100 * float(value):g} %" for name, value in ks.items() if name in off)
    if signature.get("rule") == "coverage" and shares:
        how = f"The neurons that cover {shares} of the activation leave"
    else:
        how = f"The neurons that were selected ({signature.get('rule', 'by hand')}) leave"
    return Finding("finding", f"{how} {told} neurons off, on average over {len(measures.masks.tasks)} tasks.")


def _describe_overlap(stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Compare overlaps with sets at random, and with what they were if a sentence's language made no difference."""
    panel = layers[0].panel
    upper = np.triu_indices(len(panel.tasks), k=1)
    mean, expected = (
        float(np.mean([values[upper].mean() for values in kind]))
        for kind in ([one.iou for one in layers], [one.chance.mean for one in layers])
    )
    z = np.concatenate([one.chance.z(one.iou)[upper] for one in layers])
    above, pairs = int((z > HIGH_Z).sum()), len(z)
    count = "all" if above == pairs else f"{above} of {pairs}"
    text = (
        f"In the {stack} ({panel.title}, {len(panel.tasks)} tasks, {len(layers)} layers) {count} overlaps are larger "
        f"than of random sets of the same sizes (mean IoU {mean:.2f}, at random {expected:.2f}; z > {HIGH_Z})"
    )
    found = [Finding("finding" if 2 * above > pairs else "caveat", f"{text}.")]
    nulls = [one.resampled.null for one in layers if one.resampled is not None]
    if nulls:
        p = np.concatenate([null.p_value[upper] for null in nulls])
        shuffled = float(np.mean([null.mean[upper].mean() for null in nulls]))
        below = int((p <= LEVEL).sum())
        numbers = f"where sentences are shuffled over the tasks (mean IoU {shuffled:.2f}, p <= {LEVEL})"
        if 2 * below > pairs:
            text = f"Its tasks do differ: {below} of {pairs} overlaps are smaller than {numbers}."
            found.append(Finding("finding", text))
        else:
            text = (
                f"Only {below} of {pairs} overlaps of the {stack} are smaller than {numbers}: its tasks hardly differ."
            )
            found.append(Finding("caveat", text))
    return found


def _describe_languages(stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say which distances between languages the overlaps follow, alone and beside their rivals."""
    found = []
    for name in layers[0].structure.correlations:
        correlations = {one.layer: one.structure.correlations[name] for one in layers}
        known = {layer: one for layer, one in correlations.items() if not math.isnan(one.p_value)}
        if not known:
            text = f"The languages do not differ in {name}, or the overlaps of the {stack} not at all: nothing to test."
            found.append(Finding("caveat", text))
            continue
        r = [one.r for one in known.values()]
        numbers = f"Mantel r {min(r):.2f} to {max(r):.2f}, Holm's correction over {len(known)} layers"
        least = max(one.least_p_value for one in known.values()) * len(known)
        significant = _find_significant(known)
        if significant:
            text = f"Languages closer in {name} share more neurons in {_name(significant, known, stack)} ({numbers})"
            found.append(Finding("finding", f"{text}{_describe_rivals(name, layers, significant)}."))
        elif least > LEVEL:
            size = len(layers[0].panel.tasks)
            text = (
                f"{size} languages are too few to tell whether overlaps follow {name} in the {stack}: no p-value could "
                f"be below {least:.2g} ({numbers})."
            )
            found.append(Finding("caveat", text))
        else:
            found.append(Finding("caveat", f"No layer of the {stack} shows that overlaps follow {name} ({numbers})."))
        if name == FAMILY:
            found += _describe_families(layers)
    return found


def _describe_rivals(name: str, layers: Sequence[LayerMeasures], alone: Sequence[str]) -> str:
    """Return what is left of a distance when the other explanations are held fixed."""
    partial = {one.layer: one.structure.partial[name] for one in layers if name in one.structure.partial}
    others = " and ".join(rival for rival in RIVALS if rival != name and rival in layers[0].structure.partial)
    if not partial or not others:
        return ""
    held = [layer for layer in _find_significant(partial) if layer in alone]
    if not held:
        return f", but not when {others} are held fixed"
    r = float(np.mean([partial[layer].r for layer in held]))
    return f", and with {others} held fixed still in {join(held)} (partial r {r:.2f})"


def _describe_families(layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say how much larger overlaps are within families, in the layer where they are most."""
    known = [one for one in layers if not math.isnan(one.structure.within - one.structure.across)]
    if not known:
        return []
    best = max(known, key=lambda one: one.structure.within - one.structure.across)
    structure = best.structure
    text = (
        f"Families show most in {best.layer}: mean IoU {structure.within:.2f} within, {structure.across:.2f} across; "
        f"its tree, cut into as many groups, agrees with them by {structure.rand:.2f} (adjusted Rand index)."
    )
    return [Finding("finding" if structure.within > structure.across else "caveat", text)]


def _find_significant(correlations: Mapping[str, Correlation]) -> list[str]:
    """Return the layers whose corrected p-value is small."""
    known = {layer: one.p_value for layer, one in correlations.items() if not math.isnan(one.p_value)}
    if not known:
        return []
    return [layer for layer, p in zip(known, holm(list(known.values())), strict=True) if p <= LEVEL]


def _name(chosen: Sequence[str], known: Collection[str], stack: str) -> str:
    return f"every layer of the {stack}" if len(chosen) == len(known) > 1 else join(chosen)


def _describe_trend(measures: Measures, stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say whether overlaps rise or fall over the layers; the paper: rise in the encoder, fall in the decoder."""
    trend = measures.trends[stack]
    if math.isnan(trend.p_value):
        return [Finding("caveat", f"{len(layers)} layers or {trend.units} tasks in the {stack} show no trend.")]
    low, high = trend.interval
    numbers = f"{trend.slope:+.3f} IoU a layer, 95 % {low:+.3f} .. {high:+.3f} over languages"
    if trend.p_value > LEVEL:
        return [Finding("caveat", f"Overlaps neither rise nor fall for certain over the {stack} ({numbers}).")]
    way = "rise" if trend.slope > 0 else "fall"
    paper = "rise" if stack == "encoder" else "fall"
    as_there = "as in the paper" if way == paper else f"where the paper finds that they {paper}"
    return [Finding("finding", f"Overlaps {way} over the {stack}, {as_there} ({numbers}).")]


def _describe_firmness(measures: Measures, stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say how far other sentences, or another seed, would give the same."""
    found = []
    resampled = [one.resampled for one in layers if one.resampled is not None]
    correlations = [one.halves.correlation for one in resampled if not math.isnan(one.halves.correlation)]
    if correlations:
        text = f"Overlaps of two halves of the sentences correlate by {min(correlations):.2f} or more in the {stack}"
        if resampled[0].curve:
            size = resampled[0].curve[-1].sentences
            near = float(np.mean([one.curve[-1].iou for one in resampled]))
            text += f"; masks of {size} sentences a task have an IoU of {near:.2f} with those of all"
        firm = min(correlations) >= FIRM
        rest = "" if firm else ": there is little text for what is shown"
        found.append(Finding("finding" if firm else "caveat", f"{text}{rest}."))
    for name, by_layer in measures.against.items():
        values = [by_layer[one.layer] for one in layers]
        text = f"The {stack}'s overlaps correlate with those of {name} by {min(values):.2f} to {max(values):.2f}."
        found.append(Finding("finding" if min(values) >= FIRM else "caveat", text))
    return found


def _describe_ablation(stack: str, ablation: Ablation) -> Finding:
    """Say whether texts suffer most from the loss of their own neurons."""
    test: Dominance = ablation.test()
    numbers = (
        f"harm in {ablation.metric}: own {test.own:.3g}, others' {test.others:.3g} (p = {test.p_others:.2g}), random "
        f"{test.random:.3g} (p = {test.p_random:.2g})"
    )
    what = f"With {100 * ablation.share:.2g} % of the {stack}'s neurons off"
    if max(test.p_others, test.p_random) <= LEVEL:
        text = f"{what}, {test.strongest} of {test.tasks} texts suffer most where they are their own ({numbers})."
        return Finding("finding", text)
    few = f"; {test.tasks} tasks are too few to show it" * (max(test.least_p_others, test.least_p_random) > LEVEL)
    text = f"{what}, texts do not suffer more where they are their own than others' or random ones ({numbers}){few}."
    return Finding("caveat", text)


def join(names: Iterable[str]) -> str:
    """Return names as one phrase.

    Example:
        >>> join(["a", "b", "c"]), join(["a"])
        ('a, b and c', 'a')
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
