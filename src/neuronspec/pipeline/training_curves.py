"""The training curves of a run: those of the pretraining, and those of the methods."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from neuronspec.figures.training_curves import draw_training_curves
from neuronspec.pipeline.layout import PRETRAINED, Layout
from neuronspec.pipeline.run_results import RunResults
from neuronspec.training.curves import TrainingCurve, read_curve
from neuronspec.training.journal import LOG_FILE

PRETRAINING, CONTINUED = "pretraining", "continued training"


def read_curves(report: RunResults, layout: Layout) -> dict[str, Mapping[str, TrainingCurve]]:
    """Return for each of the two kinds of training the curve of each system, by its title.

    A system that was not trained here (a pretrained model as it is) has no curve.

    Args:
        report: Results of the run.
        layout: Paths of the run.
    """
    kinds: dict[str, dict[str, TrainingCurve]] = {PRETRAINING: {}, CONTINUED: {}}
    for system in report.trained:
        curve = read_curve(layout.training(system) / LOG_FILE)
        if curve is not None:
            kind = PRETRAINING if system == PRETRAINED else CONTINUED
            kinds[kind][report.study.title(system)] = curve
    return dict(kinds)


def draw_curves(trainings: Mapping[str, Mapping[str, TrainingCurve]], directory: Path) -> dict[str, str]:
    """Draw the curves of `read_curves`, if there are some, and return the title of the figure by its name."""
    if not any(trainings.values()):
        return {}
    title = "Loss of every system over the updates of its training"
    draw_training_curves(trainings, directory / "training", title=title)
    return {"training": title}
