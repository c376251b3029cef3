"""Findings of ablations."""

from __future__ import annotations

import numpy as np

from neuronspec.analysis.ablation import Ablation
from neuronspec.analysis.compared_tasks import ComparedTasks
from neuronspec.analysis.structure import ALPHA
from neuronspec.languages import UNKNOWN
from neuronspec.report.finding import Finding
from neuronspec.statistics.correlation import mantel


def describe_ablation(stack: str, ablation: Ablation, panel: ComparedTasks) -> list[Finding]:
    """Say whether texts suffer most from the loss of their own neurons, and next from that of relatives' ones."""
    test = ablation.test()
    numbers = (
        f"harm in {ablation.metric}: own {test.own:.3g}, others' {test.others:.3g} (p = {test.p_others:.2g}), random "
        f"ones that fire as often {test.random:.3g} (p = {test.p_random:.2g})"
    )
    what = f"With {100 * ablation.share:.2g} % of the {stack}'s neurons off"
    if max(test.p_others, test.p_random) <= ALPHA:
        text = f"{what}, {test.strongest} of {test.tasks} texts suffer most where they are their own ({numbers})."
        return [Finding("finding", text), *_describe_relatives(stack, ablation, panel)]
    few = f"; {test.tasks} tasks are too few to show it" * (max(test.least_p_others, test.least_p_random) > ALPHA)
    text = f"{what}, it is not shown that texts suffer more where they are their own ({numbers}){few}."
    return [Finding("caveat", text)]


def _describe_relatives(stack: str, ablation: Ablation, panel: ComparedTasks) -> list[Finding]:
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
    if test.p_value <= ALPHA:
        text = f"In the {stack} texts also need the own neurons of related languages more than others' ({numbers})."
        return [Finding("finding", text)]
    few = f": no p-value of so few languages could be below {test.least_p_value:.2g}" * (test.least_p_value > ALPHA)
    text = f"That texts of the {stack} need the own neurons of related languages is not shown{few} ({numbers})."
    return [Finding("caveat", text)]
