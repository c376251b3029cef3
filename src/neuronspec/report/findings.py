"""Findings: what the measures say, in plain sentences, and what they do not say."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neuronspec.analysis.ablation import Ablation, Dominance
from neuronspec.analysis.measures import LayerMeasures, Measures
from neuronspec.analysis.overlap import above_diagonal
from neuronspec.analysis.panels import Panel
from neuronspec.analysis.structure import FAMILY, SCRIPT, SIZE
from neuronspec.languages import UNKNOWN
from neuronspec.statistics.corrections import holm_known
from neuronspec.statistics.correlation import Correlation, mantel
from neuronspec.statistics.separation import Separation
from neuronspec.statistics.trends import Trend

LEVEL = 0.05
HIGH_Z = 3  # standard deviations above chance
NOISE = 0.5  # the correlation of two halves below which nothing is claimed of a layer
FIRM = 0.8  # the correlation of two halves from which on overlaps are well measured
LEAST = 3  # tasks: with fewer there is one pair, and nothing to correlate
_PAPER = {"encoder": "x to {}", "decoder": "{} to x"}  # what the paper compares


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
    findings, signature = [_describe_selection(measures)], measures.masks.signature
    for stack, layers in measures.stacks.items():
        if len(layers[0].panel.tasks) < 2:
            findings.append(Finding("caveat", f"In the {stack} there is one task, and nothing to compare it with."))
            continue
        findings += _describe_overlap(stack, layers)
        findings += _describe_languages(stack, layers)
        findings += _describe_trend(measures, stack, layers)
        findings += _describe_firmness(measures, stack, layers)
        if ablations and stack in ablations:
            findings += _describe_ablation(stack, ablations[stack], layers[0].panel)
    findings += [
        Finding("caveat", f"{title}: {measures.missing[part]}.")
        for part, title in (
            ("families", "Nothing is said of families and scripts"),
            ("vocabulary", "Whether shared words explain the overlaps is not tested"),
            ("intervals", "The overlaps have no intervals, and no null of shuffled sentences"),
        )
        if part in measures.missing
    ]
    if signature.get("ignored") == "padding":
        findings.append(
            Finding(
                "caveat",
                "Language tags and ends of sentences count as tokens: a neuron that looks for a tag passes for one of "
                "the language (neurons.ignore: [tags, end_of_sentence] leaves them out).",
            )
        )
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
    off = {stack: measures.masks.mean_sparsity(stack) for stack in measures.stacks}
    told = " and ".join(f"{100 * share:.0f} % of the {stack}'s" for stack, share in off.items())
    signature = measures.masks.signature
    ks = (signature.get(f"k.{stack}", "") for stack in off)
    shares = " / ".join(dict.fromkeys(f"{100 * float(k):g} %" for k in ks if re.fullmatch(r"[0-9.]+", k)))
    if signature.get("rule") == "coverage" and shares:
        how = f"The neurons that cover {shares} of the activation leave"
    else:
        how = f"The neurons that were selected ({signature.get('rule', 'by hand')}) leave"
    size = len(measures.masks.tasks)
    return Finding("finding", f"{how} {told} neurons off{f', on average over {size} tasks' * (size > 1)}.")


def _describe_overlap(stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Compare overlaps with sets at random, and with what they were if it made no difference whose a sentence is."""
    panel = layers[0].panel
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
    differ = _find_different(layers)
    if differ:
        text = f"The tasks differ in {_name(differ, nulls, stack)} ({numbers}; p <= {LEVEL} in each layer)."
        found.append(Finding("finding", text))
    if alike := [layer for layer in nulls if layer not in differ]:
        where = f"any layer of the {stack}" if len(alike) == len(nulls) else join(alike)
        found.append(Finding("caveat", f"That the tasks differ at all is not shown in {where} ({numbers})."))
    return found


def _find_different(layers: Sequence[LayerMeasures]) -> list[str]:
    """Return the layers in which the tasks differ by more than the noise of their sentences.

    The p-values are not corrected: a hundred shuffles give none that would survive it over a dozen layers.
    """
    nulls = {one.layer: one.resampled.null for one in layers if one.resampled is not None}
    return [layer for layer, null in nulls.items() if null.p_value <= LEVEL]


def _find_firm(layers: Sequence[LayerMeasures]) -> list[str]:
    """Return the layers in which the tasks differ and two halves of the sentences agree, or nobody knows."""
    differ = _find_different(layers)
    return [
        one.layer
        for one in layers
        if one.resampled is None or (one.layer in differ and one.resampled.halves.correlation >= NOISE)
    ]


def _describe_languages(stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say which distances between languages the overlaps follow, alone and beside their rivals."""
    found = _describe_unknown(stack, layers[0].panel)
    who = "languages" if layers[0].panel.languages else "tasks"
    for name in layers[0].structure.correlations:
        correlations = {one.layer: one.structure.correlations[name] for one in layers}
        known = {layer: one for layer, one in correlations.items() if not math.isnan(one.p_value)}
        if name == SIZE and not _find_significant(known):
            continue  # as it should be
        if not known:
            few = max(one.n for one in correlations.values()) < LEAST
            of_known = f" of known {name}" if name in (FAMILY, SCRIPT) else ""
            why = (
                f"it takes {LEAST} {who}{of_known}"
                if few
                else f"the {who} are all as far apart in it, or overlap as much"
            )
            text = f"Whether overlaps follow {name} in the {stack} is not tested: {why}."
            found.append(Finding("caveat", text))
            continue
        numbers = f"Mantel r {_span([one.r for one in known.values()])}, layers tested: {len(known)}"
        least = min(1.0, max(one.least_p_value for one in known.values()) * len(known))
        significant = _find_significant(known)
        if significant:
            firm = [layer for layer in significant if layer in _find_firm(layers)]
            where = _name(firm or significant, known, stack)
            text = f"{who.capitalize()} closer in {name} share more neurons in {where} ({numbers})"
            text += _describe_rivals(name, layers, firm or significant)
            noisy = "" if firm else "; but there overlaps are hardly more than noise"
            found.append(Finding("finding" if firm and name != SIZE else "caveat", f"{text}{noisy}."))
        elif least > LEVEL:
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


def _describe_unknown(stack: str, panel: Panel) -> list[Finding]:
    """Say which languages are left out of the tests of families and of scripts."""
    found = []
    for name, facts in ((FAMILY, panel.families), (SCRIPT, panel.scripts)):
        unknown = [label for label, fact in zip(panel.labels, facts, strict=True) if fact == UNKNOWN]
        if unknown:
            text = f"The {name} of {join(unknown)} is unknown: tests of it in the {stack} leave them out."
            found.append(Finding("caveat", text))
    return found


def _describe_rivals(name: str, layers: Sequence[LayerMeasures], alone: Sequence[str]) -> str:
    """Return what is left of a distance when the other explanations are held fixed."""
    partial = {one.layer: one.structure.partial[name] for one in layers if name in one.structure.partial}
    rivals = dict.fromkeys(rival for one in layers for rival in one.structure.partial if rival != name)
    others = join(rivals) if rivals else ""
    if not partial or not others:
        return ""
    if all(math.isnan(partial[layer].p_value) for layer in alone):
        return f"; with {others} held fixed there is nothing left to test"
    held = [layer for layer in _find_significant(partial) if layer in alone]
    if not held:
        return f", but not clearly with {others} held fixed"
    r = float(np.mean([partial[layer].r for layer in held]))
    return f", and with {others} held fixed still in {join(held)} (partial r {r:.2f})"


def _describe_families(stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say where families keep apart more than random groups, and how much larger overlaps are within them."""
    separations = {one.layer: one.structure.families for one in layers if one.structure.families is not None}
    significant = _find_significant(separations)
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
    if not significant and least > LEVEL:
        text = (
            f"The languages are too few to tell whether families keep apart in the {stack}: no corrected p-value could "
            f"be below {least:.2g} ({numbers})."
        )
        return [Finding("caveat", text)]
    if not significant:
        text = f"That families keep apart more than random groups is not shown in any layer of the {stack} ({numbers})."
        return [Finding("caveat", text)]
    text = f"Families keep apart more than random groups in {_name(significant, separations, stack)} ({numbers}"
    if not math.isnan(structure.rand):
        text += (
            f"; its tree, cut into as many groups, agrees with them by {structure.rand:.2f}, the adjusted Rand index"
        )
    return [Finding("finding", f"{text}).")]


def _find_significant(tests: Mapping[str, Correlation] | Mapping[str, Separation]) -> list[str]:
    """Return the layers whose corrected p-value is small."""
    corrected = holm_known([one.p_value for one in tests.values()])
    return [layer for layer, p in zip(tests, corrected, strict=True) if p <= LEVEL]


def _name(chosen: Sequence[str], known: Collection[str], stack: str) -> str:
    return f"every layer of the {stack}" if len(chosen) == len(known) > 1 else join(chosen)


def _describe_trend(measures: Measures, stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
    """Say whether overlaps rise or fall over the layers; the paper: rise in the encoder, fall in the decoder."""
    trend = measures.trends[stack]
    if math.isnan(trend.p_value):
        text = f"Whether overlaps rise or fall over the {stack} is not tested: it takes 2 layers and {LEAST} tasks."
        return [Finding("caveat", text)]
    corrected = measures.corrected[stack]
    numbers = f"{_slope(trend)}; above chance {_slope(corrected)}; IoU a layer, 95 % over tasks"
    if trend.p_value > LEVEL and corrected.p_value > LEVEL:
        return [Finding("caveat", f"Overlaps neither rise nor fall for certain over the {stack} ({numbers}).")]
    way = "rise" if trend.slope > 0 else "fall"
    if max(trend.p_value, corrected.p_value) > LEVEL or (trend.slope > 0) != (corrected.slope > 0):
        told = f"{way} with the masks' sizes" if trend.p_value <= LEVEL else "neither rise nor fall for certain"
        above = f"{'rise' if corrected.slope > 0 else 'fall'}" if corrected.p_value <= LEVEL else "show no trend"
        text = f"Overlaps {told} over the {stack}; above what masks of such sizes share by chance they {above}"
        return [Finding("caveat", f"{text} ({numbers}).")]
    paper = "rise" if stack == "encoder" else "fall"
    as_there = ", as in the paper" if way == paper else f", where the paper finds that they {paper}"
    if layers[0].panel.title != _PAPER[stack].format(measures.pivot):
        as_there = ""  # the paper compares other tasks there
    return [Finding("finding", f"Overlaps {way} over the {stack}, above chance too{as_there} ({numbers}).")]


def _slope(trend: Trend) -> str:
    low, high = trend.interval
    return f"{trend.slope:+.3f} ({low:+.3f} to {high:+.3f})"


def _describe_firmness(measures: Measures, stack: str, layers: Sequence[LayerMeasures]) -> list[Finding]:
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
        firm = min(correlations) >= FIRM
        rest = "" if firm else ": there are too few sentences, or the overlaps hardly differ"
        found.append(Finding("finding" if firm else "caveat", f"{text}{rest}."))
    for name, by_layer in measures.against.items():
        values = [by_layer[one.layer] for one in layers if not math.isnan(by_layer[one.layer])]
        if not values:
            text = f"The {stack}'s overlaps are not compared with those of {name}: they are too few, or all the same."
            found.append(Finding("caveat", text))
            continue
        firm = min(values) >= FIRM
        rest = "" if firm else ": what differs is not of the languages alone"
        text = f"The {stack}'s overlaps correlate with those of {name} by {_span(values)}{rest}."
        found.append(Finding("finding" if firm else "caveat", text))
    return found


def _describe_ablation(stack: str, ablation: Ablation, panel: Panel) -> list[Finding]:
    """Say whether texts suffer most from the loss of their own neurons, and next from that of relatives' ones."""
    test: Dominance = ablation.test()
    numbers = (
        f"harm in {ablation.metric}: own {test.own:.3g}, others' {test.others:.3g} (p = {test.p_others:.2g}), random "
        f"ones that fire as often {test.random:.3g} (p = {test.p_random:.2g})"
    )
    what = f"With {100 * ablation.share:.2g} % of the {stack}'s neurons off"
    if max(test.p_others, test.p_random) <= LEVEL:
        text = f"{what}, {test.strongest} of {test.tasks} texts suffer most where they are their own ({numbers})."
        return [Finding("finding", text), *_describe_relatives(stack, ablation, panel)]
    few = f"; {test.tasks} tasks are too few to show it" * (max(test.least_p_others, test.least_p_random) > LEVEL)
    text = f"{what}, it is not shown that texts suffer more where they are their own ({numbers}){few}."
    return [Finding("caveat", text)]


def _describe_relatives(stack: str, ablation: Ablation, panel: Panel) -> list[Finding]:
    """Say whether texts suffer from the loss of related languages' neurons more than from that of others'."""
    relatives = dict(zip(panel.tasks, panel.relatives, strict=False))
    unknown = {task for task, family in zip(panel.tasks, panel.families, strict=True) if family == UNKNOWN}
    known = [place for place, task in enumerate(ablation.tasks) if task not in unknown]
    changes = ablation.changes[np.ix_(known, known)]
    groups = np.array([relatives.get(ablation.tasks[place], ablation.tasks[place]) for place in known])
    same = (groups[:, None] == groups[None]) & ~np.eye(len(groups), dtype=bool)
    other = groups[:, None] != groups[None]
    if not same.any() or not other.any():
        return []
    near, far = (float(changes[pairs].mean()) for pairs in (same, other))
    harm = (changes + changes.T) / 2
    test = mantel(-harm, groups[:, None] != groups[None])
    numbers = f"harm without those of related languages {near:.3g}, of unrelated ones {far:.3g}; p = {test.p_value:.2g}"
    if test.p_value <= LEVEL:
        text = f"In the {stack} texts also need the own neurons of related languages more than others' ({numbers})."
        return [Finding("finding", text)]
    few = f": no p-value of so few languages could be below {test.least_p_value:.2g}" * (test.least_p_value > LEVEL)
    text = f"That texts of the {stack} need the own neurons of related languages is not shown{few} ({numbers})."
    return [Finding("caveat", text)]


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def join(names: Iterable[str]) -> str:
    """Return names as one phrase.

    Example:
        >>> join(["a", "b", "c"]), join(["a"])
        ('a, b and c', 'a')
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
