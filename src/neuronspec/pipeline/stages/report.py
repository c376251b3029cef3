"""Stage `report`: the tables, the summary and the page of a run."""

from __future__ import annotations

import functools

from neuronspec.pipeline.engine import Stage, choose_settings
from neuronspec.pipeline.layout import PRETRAINED
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.summary import write_summary


def plan(run: Run) -> list[Stage]:
    """Return the stage: its settings, inputs and outputs."""
    layout = run.layout

    # Without masks, the page has no part about neurons.
    neurons = [layout.masks, layout.analysis] if run.needs_masks else []
    translations = [layout.translations(system) for system in run.systems]
    costs = [layout.summary(system) for system in (PRETRAINED, *run.config.methods)]
    return [
        Stage(
            name="report",
            execute=functools.partial(execute, run),
            settings=choose_settings(run.config, "name", "pivot", "zero_shot", "methods", "score", "report"),
            inputs=[layout.text, *translations, layout.scores, *neurons, *costs],
            outputs=[layout.report],
            describe=lambda: f"summary, tables and page in {layout.report}",
        )
    ]


def execute(run: Run) -> None:
    """Write the tables, in every format, the summary and the page."""
    write_summary(run.config, run.layout)
