"""Findings from scores, in sentences: the difference between two systems, and in how many directions."""

from __future__ import annotations

from neuronspec.comparison.groups import ALL, BY_SIDE
from neuronspec.comparison.outcomes import count_outcomes
from neuronspec.comparison.study import Study
from neuronspec.evaluation.metrics import find_scoring
from neuronspec.statistics.corrections import CORRECTIONS
from neuronspec.statistics.numbers import show_change


def describe_gains(study: Study, system: str, baseline: str, metric: str) -> list[str]:
    """Say how a system differs from a baseline in each group of directions, and in how many directions it does.

    Args:
        study: Study in which the two were compared.
        system: Name of the system.
        baseline: Name of what it is compared with.
        metric: Display name of the metric.

    Returns:
        A sentence for each group that was tested, and one about single directions.
    """
    groups = list(study.families[BY_SIDE]) or [ALL]
    sentences = [describe_difference(study, system, baseline, metric=metric, group=group) for group in groups]
    sentences.append(_describe_outcomes(study, system, baseline, metric=metric))
    return [sentence for sentence in sentences if sentence]


def describe_difference(study: Study, system: str, baseline: str, *, metric: str, group: str) -> str:
    """Return the difference in one group of directions; an empty text if it was not tested."""
    one = study.comparison(system, metric, group, baseline)
    if one is None or one.interval is None:
        return ""

    title, against = study.title(system), study.title(baseline)
    where = "Over all directions" if group == ALL else f"Translating {group}"
    low, high = one.interval
    is_significant = one.adjusted_p_value <= study.significance
    difference = show_change(one.difference, significant=is_significant)
    interval = f"{show_change(low, significant=is_significant)} .. {show_change(high, significant=is_significant)}"
    numbers = f"{difference} {metric} ({interval} at 95 %), p = {one.adjusted_p_value:.2g}"

    # Without significance, no direction of the difference is claimed.
    if not is_significant:
        return f"{where}: no significant difference between {title} and {against} ({numbers})."
    return f"{where}: {title} is {'better' if one.gain > 0 else 'worse'} than {against} ({numbers})."


def _describe_outcomes(study: Study, system: str, baseline: str, *, metric: str) -> str:
    """Say in how many single directions a system got better, and in how many worse."""
    # The p-values of single directions are corrected together, as one family.
    found = [study.comparison(system, metric, task, baseline) for task in study.results.tasks]
    compared = [one for one in found if one is not None]
    if not compared:
        return ""

    outcomes = count_outcomes(
        compared,
        study.significance,
        CORRECTIONS[study.correction].adjust,
        higher_is_better=find_scoring(metric).higher_is_better,
    )
    return f"Direction by direction, {study.title(system)} against {study.title(baseline)}: {metric} {outcomes}."
