"""Findings of ablations: which languages are hurt when neurons are removed."""

from __future__ import annotations

import numpy as np

from neuronspec.analysis.ablation import Ablation
from neuronspec.analysis.compared_tasks import ComparedTasks
from neuronspec.analysis.structure import ALPHA
from neuronspec.languages import UNKNOWN
from neuronspec.report.finding import Finding
from neuronspec.statistics.correlation import mantel


def describe_ablation(stack: str, ablation: Ablation, compared: ComparedTasks) -> list[Finding]:
    """Say whether removing own neurons hurts a language most, and next the neurons of related languages."""
    # The phrases that every outcome shares
    test = ablation.test()
    one, many = ("language", "languages") if compared.languages else ("task", "tasks")
    removing = f"Removing a {one}'s own neurons ({ablation.amount})"
    numbers = (
        f"{ablation.metric} worse by {test.own:.3g}; without other {many}' neurons by {test.others:.3g}, p = "
        f"{test.p_others:.2g}; without random ones that fire as often by {test.random:.3g}, p = {test.p_random:.2g}"
    )

    # Own neurons must matter more than those of others, and than random ones that fire as often
    if max(test.p_others, test.p_random) <= ALPHA:
        text = f"{removing} hurts that {one} most, for {test.strongest} of {test.tasks} {many} ({numbers})."
        return [Finding("finding", text, rank=1), *_describe_relatives(stack, ablation, compared)]

    # Not significant: was it possible at all with so few tasks?
    text = f"{removing} does not hurt that {one} significantly more than removing other neurons ({numbers})"
    if max(test.least_p_others, test.least_p_random) > ALPHA:
        text += f"; {test.tasks} {many} are too few for a significant result"
    return [Finding("caveat", f"{text}.", rank=1)]


def _describe_relatives(stack: str, ablation: Ablation, compared: ComparedTasks) -> list[Finding]:
    """Say whether removing the neurons of related languages hurts more than removing those of unrelated ones."""
    changes, groups = _choose_known_relatives(ablation, compared)

    # Of every two tasks: whether they are unrelated, or relatives (a task is no relative of its own)
    is_other = groups[:, None] != groups[None]
    is_related = ~is_other & ~np.eye(len(groups), dtype=bool)
    if not is_related.any() or not is_other.any():
        return []

    # Negative: near languages should hurt each other more, and the test is one-sided; symmetric, as distances are
    test = mantel(-(changes + changes.T) / 2, is_other)
    near, far = float(changes[is_related].mean()), float(changes[is_other].mean())
    numbers = f"{ablation.metric} worse by {near:.3g} and {far:.3g}; p = {test.p_value:.2g}"

    where = f"In the {stack}, removing the own neurons of related languages"
    if test.p_value <= ALPHA:
        text = f"{where} also hurts more than removing those of unrelated ones ({numbers})."
        return [Finding("finding", text)]

    text = f"{where} does not hurt significantly more than removing those of unrelated ones ({numbers})"
    if test.least_p_value > ALPHA:
        text += f"; with so few languages, no p-value could be below {test.least_p_value:.2g}"
    return [Finding("caveat", f"{text}.")]


def _choose_known_relatives(
    ablation: Ablation, compared: ComparedTasks
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.str_]]]:
    """Return the changes among languages of known family, and the group of relatives that each belongs to."""
    # Tasks that are not named after languages have no relatives
    relatives = dict(zip(compared.tasks, compared.relatives, strict=False))
    families = dict(zip(compared.tasks, compared.families, strict=True))
    known = [place for place, task in enumerate(ablation.tasks) if families.get(task) != UNKNOWN]
    names = [ablation.tasks[place] for place in known]

    changes = ablation.changes[np.ix_(known, known)]  # (known, known)
    return changes, np.array([relatives.get(name, name) for name in names])
