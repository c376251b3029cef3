"""Training curves as the values that the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neuronspec.figures.family_colors import DARK, LIGHT, PALETTE
from neuronspec.training.curves import TrainingCurve

DIGITS = 5  # of a number on the page: a picture shows no more


def show_curves(trainings: Mapping[str, Mapping[str, TrainingCurve]]) -> dict[str, Any] | None:
    """Return the part `curves` of a page; None if nothing was trained.

    Args:
        trainings: For each training (such as `pretraining`), the curve of each system by its title.
    """
    shown = {name: curves for name, curves in trainings.items() if curves}
    if not shown:
        return None

    # A system has the color that its line has in the static figure, by its number
    systems = list(dict.fromkeys(system for curves in shown.values() for system in curves))
    colors = {}
    for number, system in enumerate(systems):
        place = number % len(PALETTE)
        colors[system] = {"light": LIGHT[place], "dark": DARK[place]}

    tasks = [task for curves in shown.values() for curve in curves.values() for task in curve.valid_losses]
    return {
        "tasks": list(dict.fromkeys(tasks)),
        "colors": colors,
        "trainings": [
            {"name": name, "systems": [_show_curve(system, curve) for system, curve in curves.items()]}
            for name, curves in shown.items()
        ],
    }


def _show_curve(system: str, curve: TrainingCurve) -> dict[str, Any]:
    return {
        "system": system,
        "updates": list(curve.updates),
        "losses": _round(curve.losses),
        "learning_rates": _round(curve.learning_rates),
        "validations": list(curve.validations),
        "valid_loss": _round(curve.valid_loss),
        "valid_losses": {task: _round(values) for task, values in curve.valid_losses.items()},
        "speeds": _round(curve.speeds),
    }


def _round(values: Sequence[float | None]) -> list[float | None]:
    """Return values with as many digits as a picture shows, to keep pages of many directions small."""
    return [None if value is None else float(f"{value:.{DIGITS}g}") for value in values]
