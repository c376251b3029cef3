"""The scores on the page: every direction, from the first system to the last, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neuronspec.comparison.groups import BY_SIDE
from neuronspec.comparison.intervals import RESAMPLES, Measured, ScoreInterval, measure_intervals
from neuronspec.comparison.study import Study
from neuronspec.evaluation.metrics import find_scoring
from neuronspec.figures.family_colors import DARK, LIGHT

MAX_SYSTEMS = 5  # that one line of dots can show
NOTE = (
    f"Lines are 95 % bootstrap intervals over the test sentences ({RESAMPLES} resamples). Systems translate the same "
    "sentences, so a difference can be clear although intervals overlap; its test is in the tables."
)


def make_score_panel(study: Study, systems: Sequence[str], colored: Sequence[str] = ()) -> dict[str, Any]:
    """Return the part `scores` of a page: means over groups of directions first, then every direction.

    Args:
        study: Study of the systems, with per-sentence statistics.
        systems: Names of the systems, from the one that the others started from to the one that the page is about; of
            more than `MAX_SYSTEMS`, those between are left out.
        colored: Systems in the order in which they get their colors; by default `systems`.
    """
    shown = list(systems)
    if len(shown) > MAX_SYSTEMS:
        shown = [shown[0], *shown[1 - MAX_SYSTEMS :]]
    found = measure_intervals(study, shown)
    places = list(dict.fromkeys([*colored, *systems]))

    # A group of one direction has no mean of its own
    groups = study.families[BY_SIDE]
    sides = {task: group for group, tasks in groups.items() for task in tasks}
    rows = []
    for group, tasks in groups.items():
        if len(tasks) > 1:
            row = {"label": f"mean {group}", "group": group, "directions": len(tasks)}
            rows.append(row | {"scores": _list_scores(study, shown, group, found)})
    for task in study.results.tasks:
        row = {"label": task, "group": sides.get(task, ""), "directions": 1}
        rows.append(row | {"scores": _list_scores(study, shown, task, found)})

    left_out = len(systems) - len(shown)
    more = f"The tables show {left_out} more." if left_out else ""
    return {
        "metrics": [_describe_metric(metric) for metric in study.results.metrics],
        "systems": [study.title(system) for system in shown],
        "colors": [_choose_color(places.index(system)) for system in shown],
        "rows": rows,
        "note": " ".join(filter(None, [NOTE, more])),
    }


def _choose_color(number: int) -> dict[str, str]:
    """Return the color of the system with this number on light and on dark pages, as in the static figures."""
    place = number % len(LIGHT)
    return {"light": LIGHT[place], "dark": DARK[place]}


def _describe_metric(metric: str) -> dict[str, Any]:
    return {"name": metric, "higher": find_scoring(metric).higher_is_better}


def _list_scores(
    study: Study, systems: Sequence[str], label: str, found: Mapping[Measured, ScoreInterval]
) -> dict[str, list[list[float] | None]]:
    """Return by metric the score and its interval of each system; None where it has none."""
    scores: dict[str, list[list[float] | None]] = {}
    for metric in study.results.metrics:
        intervals = [found.get((system, metric, label)) for system in systems]
        scores[metric] = [None if one is None else [round(value, 4) for value in one] for one in intervals]
    return scores
