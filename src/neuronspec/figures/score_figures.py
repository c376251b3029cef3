"""The figures of a study: what systems gain direction by direction, and how they translate unseen directions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from neuronspec.comparison.all_tables import name_table
from neuronspec.comparison.groups import ALL, BY_SIDE
from neuronspec.comparison.study import Study
from neuronspec.figures.gains import draw_gains
from neuronspec.figures.zero_shot_scores import draw_zero_shot
from neuronspec.languages import split_direction
from neuronspec.names import child


def draw_score_figures(study: Study, directory: Path, baselines: Mapping[str, str] | None = None) -> dict[str, str]:
    """Draw the gains by every metric (paper Figure 3) and the scores of zero-shot directions (paper Figure 4).

    Args:
        study: of scored systems.
        directory: where to write.
        baselines: for each system to draw the one that it is compared with; by default all with the study's.

    Returns:
        The names of the figures, without a suffix, each with what it shows.
    """
    others = [one for one in study.results.systems if one != study.baseline]
    pairs = dict.fromkeys(others, study.baseline) if baselines is None else baselines
    drawn = {}
    for metric in study.results.metrics:
        gains, marks = _find_gains(study, metric, pairs)
        if gains:
            name = name_table("gains", metric)
            drawn[name] = f"Gains in {metric} by direction; the arrows mark what is more than chance"
            groups = {task: group for group, tasks in study.families[BY_SIDE].items() for task in tasks}
            draw_gains(
                gains, child(directory, name), metric=metric, title=f"Gains in {metric}", groups=groups, marks=marks
            )
        if unseen := _group_unseen(study, metric):
            name = name_table("zero-shot", metric)
            drawn[name] = f"{metric} of directions that were not trained, by the resource level of the target language"
            draw_zero_shot(unseen, child(directory, name), metric=metric, title="Zero-shot directions")
    return drawn


def _find_gains(
    study: Study, metric: str, pairs: Mapping[str, str]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, str]]]:
    """Return by the title of each system its gain in each task, and the marks of those that are significant."""
    results = study.results
    gains: dict[str, dict[str, float]] = {}
    marks: dict[str, dict[str, str]] = {}
    for system, baseline in pairs.items():
        title = f"{study.title(system)} over {study.title(baseline)}"
        tasks = [task for task in results.tasks if all(results.has(one, metric, task) for one in (system, baseline))]
        gain = {task: results.score(system, metric, [task]) - results.score(baseline, metric, [task]) for task in tasks}
        if gain:
            gains[title] = gain
            found = {task: study.mark(system, metric, task, baseline) for task in tasks}
            marks[title] = {task: mark for task, mark in found.items() if mark}
    return gains, marks


def _group_unseen(study: Study, metric: str) -> dict[str, dict[str, list[float]]]:
    """Return for each level of the target language, and for all, each system's scores of zero-shot directions."""
    results = study.results
    unseen = [task for task in results.tasks if task in results.zero_shot]
    groups = {
        f"to {level}": [task for task in unseen if split_direction(task)[1] in members]
        for level, members in study.levels.items()
    } | {ALL: unseen}
    scores: dict[str, dict[str, list[float]]] = {}
    for group, tasks in groups.items():
        for system in results.systems:
            values = [results.score(system, metric, [task]) for task in tasks if results.has(system, metric, task)]
            if values:
                scores.setdefault(group, {})[study.title(system)] = values
    return scores
