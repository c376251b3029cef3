"""Stage `ablate`: what each validation text loses without its own neurons, and without others."""

from __future__ import annotations

import functools

from neuronspec.pipeline.analysis_inputs import open_run_inputs
from neuronspec.pipeline.analysis_target import open_target
from neuronspec.pipeline.engine import Stage, choose_settings
from neuronspec.pipeline.layout import PRETRAINED
from neuronspec.pipeline.neuron_ablation import ablate, save_ablations
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.stage_results import describe_ablation


def plan(run: Run) -> list[Stage]:
    """Return the stage: its settings, inputs and outputs; nothing where no ablation is wanted."""
    config, layout = run.config, run.layout
    if config.ablate is None:
        return []

    # Settings decide whether a finished stage is done again: translation counts only where chrF++ is measured.
    compared = ("analyze.encoder", "analyze.decoder")
    given = [] if config.ablate.masks is None else [config.ablate.masks]
    translation = ("translate",) if config.ablate.metric == "chrf" else ()
    settings = choose_settings(config, "pivot", "data.too_long", "ablate", *compared, "sampling", *translation, "seed")
    return [
        Stage(
            name="ablate",
            execute=functools.partial(execute, run),
            settings=settings,
            inputs=[layout.model(PRETRAINED), layout.tokens("valid"), layout.text, layout.counts, layout.masks, *given],
            outputs=[layout.ablation],
            describe=functools.partial(describe_ablation, run),
        )
    ]


def execute(run: Run) -> None:
    """Switch neurons off and measure the loss, or the translations, of every text."""
    ablations = ablate(open_target(run), open_run_inputs(run))
    save_ablations(ablations, run.layout.ablation)
