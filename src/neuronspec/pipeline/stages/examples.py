"""Stage `examples`: the validation sentences that activate each neuron most."""

from __future__ import annotations

import functools

from neuronspec.pipeline.analysis_inputs import open_run_inputs
from neuronspec.pipeline.engine import Stage, choose_settings
from neuronspec.pipeline.layout import PRETRAINED
from neuronspec.pipeline.neuron_analysis import collect_examples
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.stage_results import describe_examples
from neuronspec.pipeline.stages.train import READING


def plan(run: Run) -> list[Stage]:
    """Return the stage: its settings, inputs and outputs; nothing where no examples are wanted."""
    if not run.config.analyze.examples:
        return []

    # What counts as active decides which sentences are examples.
    activity = ("record.threshold", "record.gated_at", "record.ignore")
    return [
        Stage(
            name="examples",
            execute=functools.partial(execute, run),
            settings=choose_settings(run.config, *READING, "analyze.examples", *activity),
            inputs=[run.layout.model(PRETRAINED), run.layout.tokens("valid")],
            outputs=[run.layout.examples],
            describe=functools.partial(describe_examples, run),
        )
    ]


def execute(run: Run) -> None:
    """Find the examples of every neuron."""
    collect_examples(open_run_inputs(run), run.config.analyze.examples).save(run.layout.examples)
