"""Intervals of scores: how far each score, and each mean over directions, may move with other sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from neuronspec.comparison.groups import BY_SIDE
from neuronspec.comparison.study import Study
from neuronspec.evaluation.metrics import find_scoring
from neuronspec.evaluation.results import Results
from neuronspec.statistics.numbers import FloatArray
from neuronspec.statistics.score_intervals import find_interval, resample_scores

RESAMPLES = 500  # of a test set: enough for the ends of an interval that is drawn

Measured = tuple[str, str, str]  # system, metric, and direction or group of directions


class ScoreInterval(NamedTuple):
    """A score, and the ends of its 95 % bootstrap interval."""

    score: float
    low: float
    high: float


def measure_intervals(study: Study, systems: Sequence[str]) -> dict[Measured, ScoreInterval]:
    """Return the interval of each system's score, by (system, metric, direction or side of the pivot).

    A system that lacks a direction of a group has no mean there. For differences, use the tests of the study: systems
    translate the same sentences, so a difference can be clear where these intervals overlap.

    Args:
        study: Study of the systems, with per-sentence statistics.
        systems: Names of the systems.

    Raises:
        NeuronspecError: If the statistics of a system are missing.
    """
    results = study.results
    groups = {**{task: [task] for task in results.tasks}, **study.families[BY_SIDE]}

    # Sample by sample, the mean over the directions of a group
    drawn = _resample_tasks(results, systems)
    found = {}
    for (system, metric), tasks_drawn in drawn.items():
        for label, tasks in groups.items():
            parts = [tasks_drawn[task] for task in tasks if task in tasks_drawn]
            if len(parts) == len(tasks):
                low, high = find_interval(np.mean(parts, axis=0))
                found[system, metric, label] = ScoreInterval(results.score(system, metric, tasks), low, high)
    return found


def _resample_tasks(results: Results, systems: Sequence[str]) -> Mapping[tuple[str, str], dict[str, FloatArray]]:
    """Return by (system, metric) the resampled scores of each direction, (resamples,)."""
    drawn: dict[tuple[str, str], dict[str, FloatArray]] = {}
    for number, task in enumerate(results.tasks):
        # One test set at a time; all systems and metrics are scored on the same samples
        keys = [(system, metric) for system in systems for metric in results.metrics]
        scored = [key for key in keys if results.has(*key, task)]
        if not scored:
            continue

        again = resample_scores(
            {key: results.statistics(*key, task) for key in scored},
            {key: find_scoring(key[1]).score for key in scored},
            resamples=RESAMPLES,
            seed=(0, number),
        )
        for key, scores in again.items():
            drawn.setdefault(key, {})[task] = scores
    return drawn
