"""Findings: sentences about what the measures show, and caveats about what they do not show."""

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

# What is lost without a part of the analysis, by the part's name in `Measures.missing`
MISSING_PARTS = {
    "families": "Families and scripts were not tested",
    "vocabulary": "Shared words were not tested as an explanation of the overlaps",
    "intervals": "The overlaps have no confidence intervals and no comparison with shuffled sentences",
}


def describe_measures(measures: Measures, ablations: Mapping[str, Ablation] | None = None) -> list[Finding]:
    """Describe in sentences what the measures show and what they do not show.

    p-values of several layers are corrected by Holm's method before a layer is named.

    Args:
        measures: Measures of a set of masks.
        ablations: Ablation of each stack whose neurons were switched off.
    """
    # How many neurons there are, then stack by stack what they show, and last what holds for all
    findings = [_describe_sparsity(measures)]

    for stack, layers in measures.stacks.items():
        compared = layers[0].compared
        if len(compared.tasks) < 2:
            findings.append(Finding("caveat", f"The {stack} has one task, so there is nothing to compare."))
            continue

        # From whether there is anything at all, to what it follows and how sure that is
        findings += describe_overlap(stack, layers)
        findings += describe_distances(stack, layers)
        findings += describe_trend(measures, stack, layers)
        findings += describe_reliability(measures, stack, layers)
        if ablations and stack in ablations:
            findings += describe_ablation(stack, ablations[stack], compared)

    return [*findings, *_list_general_caveats(measures)]


def _describe_sparsity(measures: Measures) -> Finding:
    """Say how many neurons are switched off in each stack."""
    signature = measures.masks.signature
    sparsity = {stack: measures.masks.mean_sparsity(stack) for stack in measures.stacks}
    off = " and ".join(f"{100 * share:.0f} % of the {stack}'s" for stack, share in sparsity.items())

    # How they were selected, with k where the signature has one number for a stack
    percents = []
    for stack in sparsity:
        k = signature.get(f"k.{stack}", "")
        if re.fullmatch(r"[0-9.]+", k):
            percents.append(f"{100 * float(k):g} %")
    if signature.get("rule") == "coverage" and percents:
        selected = f"The neurons that cover {' / '.join(dict.fromkeys(percents))} of the activation"
    else:
        selected = f"The selected neurons ({signature.get('rule', 'by hand')})"

    size = len(measures.masks.tasks)
    mean = f", on average over {size} tasks" if size > 1 else ""
    return Finding("finding", f"{selected} leave {off} neurons off{mean}.", rank=4)


def _list_general_caveats(measures: Measures) -> list[Finding]:
    """Return the caveats that hold for the whole model."""
    # Parts that could not be measured, with the reason
    caveats = []
    for part, title in MISSING_PARTS.items():
        if part in measures.missing:
            caveats.append(f"{title}: {measures.missing[part]}.")

    # What limits the conclusions even where everything was measured
    if measures.masks.signature.get("ignored") == "padding":
        caveats.append(
            "Language tags and end-of-sentence tokens are counted: a neuron that reacts to a tag looks like a neuron "
            "of the language (record.ignore: [tags, end_of_sentence] leaves them out)."
        )
    if not measures.against:
        caveats.append(
            "This is one training of one model: another seed may show other overlaps. Compare with the masks of "
            "another seed (analyze.against) before relying on a detail."
        )
    return [Finding("caveat", text) for text in caveats]
