"""Stage `analyze`: overlaps, their progression, trees and tests; figures, tables and the report of the neurons."""

from __future__ import annotations

import functools

from neuronspec.pipeline.analysis_inputs import open_run_inputs
from neuronspec.pipeline.analysis_target import open_target
from neuronspec.pipeline.engine import Stage, choose_settings
from neuronspec.pipeline.layout import PRETRAINED
from neuronspec.pipeline.neuron_ablation import load_ablations
from neuronspec.pipeline.neuron_analysis import write_analysis
from neuronspec.pipeline.run import Run


def plan(run: Run) -> list[Stage]:
    """Return the stage: its settings, inputs and outputs."""
    config, layout = run.config, run.layout

    # What is not asked for is no input: an old file of it must not cause a repetition.
    examples = [layout.examples] if config.analyze.examples else []
    ablations = [layout.ablation] if config.ablate is not None else []

    files = [*config.analyze.distances.values(), *config.analyze.against.values()]

    # Words that tasks share are counted on the validation text, as the model reads it.
    model, valid = layout.model(PRETRAINED), layout.tokens("valid")
    return [
        Stage(
            name="analyze",
            execute=functools.partial(execute, run),
            settings=choose_settings(config, "name", "pivot", "analyze", "ablate", "seed"),
            inputs=[layout.masks, layout.counts, valid, model, *examples, *ablations, *files],
            outputs=[layout.analysis],
            describe=lambda: f"figures, tables and a page of the neurons in {layout.analysis}",
        )
    ]


def execute(run: Run) -> None:
    """Measure what the masks say about the languages, draw it, and write the report."""
    # An ablation that an earlier configuration asked for may still be there, from an earlier model.
    ablations = load_ablations(run.layout.ablation) if run.config.ablate is not None else {}
    write_analysis(
        open_target(run),
        run.layout,
        inputs=open_run_inputs(run),
        examples=run.load_examples(),
        ablations=ablations,
    )
