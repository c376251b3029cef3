"""Findings: what the measures say, in plain sentences, and what they do not say."""

from __future__ import annotations

import re
from collections.abc import Mapping

from neuronspec.analysis.ablation import Ablation
from neuronspec.analysis.measures import Measures
from neuronspec.report.ablation_findings import describe_ablation
from neuronspec.report.finding import Finding
from neuronspec.report.language_findings import describe_distances
from neuronspec.report.overlap_findings import describe_overlap
from neuronspec.report.reliability_findings import describe_reliability
from neuronspec.report.trend_findings import describe_trend


def describe_measures(measures: Measures, ablations: Mapping[str, Ablation] | None = None) -> list[Finding]:
    """Say in sentences what the measures show and what they do not.

    p-values of several layers are corrected by Holm's method before a layer is named.

    Args:
        measures: of a set of masks.
        ablations: by stack, where neurons were switched off.
    """
    findings, signature = [_describe_sparsity(measures)], measures.masks.signature
    for stack, layers in measures.stacks.items():
        if len(layers[0].compared.tasks) < 2:
            findings.append(Finding("caveat", f"In the {stack} there is one task, and nothing to compare it with."))
            continue
        findings += describe_overlap(stack, layers)
        findings += describe_distances(stack, layers)
        findings += describe_trend(measures, stack, layers)
        findings += describe_reliability(measures, stack, layers)
        if ablations and stack in ablations:
            findings += describe_ablation(stack, ablations[stack], layers[0].compared)
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
                "the language (record.ignore: [tags, end_of_sentence] leaves them out).",
            )
        )
    if not measures.against:
        findings.append(
            Finding(
                "caveat",
                "One training of one model: another seed may show other overlaps. Compare with its masks "
                "(analyze.against) before building on a detail.",
            )
        )
    return findings


def _describe_sparsity(measures: Measures) -> Finding:
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
