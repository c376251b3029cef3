"""The numbers at the top of a page, and how they are written."""

from __future__ import annotations

from dataclasses import dataclass

from neuronspec.comparison.groups import ALL, BY_LEVEL, BY_SIDE
from neuronspec.comparison.outcomes import count_outcomes
from neuronspec.comparison.study import Study
from neuronspec.evaluation.metrics import find_scoring
from neuronspec.statistics.corrections import CORRECTIONS
from neuronspec.statistics.numbers import show_change


@dataclass(frozen=True)
class PageNumber:
    """A number that a page begins with.

    Attributes:
        value: Number as text: `24.3`, `+0.8`, `7 of 8`.
        label: Meaning of the number, in a few words.
        note: Numbers to compare it with, in a few more.
    """

    value: str
    label: str
    note: str = ""


def make_score_numbers(study: Study, system: str, baseline: str, start: str = "") -> list[PageNumber]:
    """Return the mean score of a system, its gain over a baseline, and how many directions got better.

    Args:
        study: Study of the systems.
        system: Name of the system that the page is about.
        baseline: Name of the system that it is compared with.
        start: Name of the system that both began as, where that is another one.
    """
    metric = study.results.metrics[0]
    label, tasks = choose_overall(study)

    # The mean, next to those of the systems before
    names = [one for one in dict.fromkeys([start, baseline]) if one and one != system]
    others = [f"{study.title(one)} {study.results.score(one, metric, tasks):.1f}" for one in names]
    score = study.results.score(system, metric, tasks)
    mean = PageNumber(f"{score:.1f}", f"mean {metric}, {study.title(system)}", ", ".join(others))

    if system == baseline:
        return [mean]
    gains = _show_gain(study, metric, label, system=system, baseline=baseline)
    return [mean, *gains, *_show_outcomes(study, metric, system=system, baseline=baseline)]


def choose_overall(study: Study) -> tuple[str, list[str]]:
    """Return the largest group of directions that differences are tested on: its name and its directions."""
    groups = study.families[BY_LEVEL] | study.families[BY_SIDE]
    if ALL in groups:
        return ALL, groups[ALL]
    label = max(groups, key=lambda name: len(groups[name]))
    return label, groups[label]


def _show_gain(study: Study, metric: str, label: str, *, system: str, baseline: str) -> list[PageNumber]:
    """Return the mean gain, with its interval and its p-value."""
    one = study.comparison(system, metric, label, baseline)
    if one is None:
        return []

    notes = [f"p = {one.adjusted_p_value:.2g}"]
    if one.interval is not None:
        low, high = map(show_change, one.interval)
        notes.insert(0, f"95 % interval {low} to {high}")
    return [PageNumber(show_change(one.difference), f"{metric} over {study.title(baseline)}", ", ".join(notes))]


def _show_outcomes(study: Study, metric: str, *, system: str, baseline: str) -> list[PageNumber]:
    """Return how many directions got better."""
    found = [study.comparison(system, metric, task, baseline) for task in study.results.tasks]
    known = [one for one in found if one is not None]
    if not known:
        return []

    outcomes = count_outcomes(
        known,
        study.significance,
        CORRECTIONS[study.correction].adjust,
        higher_is_better=find_scoring(metric).higher_is_better,
    )
    label = f"directions better than {study.title(baseline)}"
    note = f"significantly: {outcomes.significantly_better} better, {outcomes.significantly_worse} worse"
    return [PageNumber(f"{outcomes.better} of {len(known)}", label, note)]
