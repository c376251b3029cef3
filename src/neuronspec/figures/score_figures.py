"""Figures of scored systems: gains direction by direction, and scores of zero-shot directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        study: Study of scored systems.
        directory: Directory to write to.
        baselines: For each system to draw, the one that it is compared with; by default the study's baseline for all.

    Returns:
        A title for each figure, by its file name without a suffix.
    """
    # Every other system is compared with one baseline, unless its own is named
    others = [system for system in study.results.systems if system != study.baseline]
    pairs = dict.fromkeys(others, study.baseline) if baselines is None else baselines

    # Directions are grouped by the side of the pivot
    groups: dict[str, str] = {}
    for group, tasks in study.families[BY_SIDE].items():
        groups |= dict.fromkeys(tasks, group)

    drawn = {}
    for metric in study.results.metrics:
        # Gains over the baselines, where both systems were scored
        gains, marks = _find_gains(study, metric, pairs)
        if gains:
            name = name_table("gains", metric)
            drawn[name] = f"Gains in {metric} by direction; arrows mark significant differences"
            title = f"Gains in {metric}"
            draw_gains(gains, child(directory, name), metric=metric, title=title, groups=groups, marks=marks)

        # Scores of the directions that no system was trained on
        unseen = _group_unseen(study, metric)
        if unseen:
            name = name_table("zero-shot", metric)
            drawn[name] = f"{metric} of zero-shot directions, by the resource level of the target language"
            draw_zero_shot(unseen, child(directory, name), metric=metric, title="Zero-shot directions")
    return drawn


def _find_gains(
    study: Study, metric: str, pairs: Mapping[str, str]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, str]]]:
    """Return, by the title of each system, its gain in each task and the marks of the significant ones."""
    results = study.results
    gains: dict[str, dict[str, float]] = {}
    marks: dict[str, dict[str, str]] = {}

    # A direction has a gain only if both systems were scored on it
    for system, baseline in pairs.items():
        scored = [task for task in results.tasks if results.has(system, metric, task)]
        tasks = [task for task in scored if results.has(baseline, metric, task)]
        if not tasks:
            continue

        title = f"{study.title(system)} over {study.title(baseline)}"
        gains[title], marks[title] = {}, {}
        for task in tasks:
            gains[title][task] = results.score(system, metric, [task]) - results.score(baseline, metric, [task])
            mark = study.mark(system, metric, task, baseline=baseline)
            if mark:
                marks[title][task] = mark
    return gains, marks


def _group_unseen(study: Study, metric: str) -> dict[str, dict[str, list[float]]]:
    """Return for each level of the target language, and for all, each system's scores of zero-shot directions."""
    unseen = [task for task in study.results.tasks if task in study.results.zero_shot]

    # By the level of the target language; last all together
    groups = {}
    for level, members in study.levels.items():
        groups[f"to {level}"] = [task for task in unseen if split_direction(task)[1] in members]
    groups[ALL] = unseen

    scores = {}
    for group, tasks in groups.items():
        by_system = _list_scores(study, metric, tasks)
        if by_system:
            scores[group] = by_system
    return scores


def _list_scores(study: Study, metric: str, tasks: Sequence[str]) -> dict[str, list[float]]:
    """Return, by the title of each system that was scored on some of the tasks, its scores."""
    results = study.results
    scores = {}
    for system in results.systems:
        scored = [task for task in tasks if results.has(system, metric, task)]
        if scored:
            scores[study.title(system)] = [results.score(system, metric, [task]) for task in scored]
    return scores
