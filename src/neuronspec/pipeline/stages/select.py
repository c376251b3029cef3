"""Stage `select`: the specialized neurons of each task, from the activation counts (paper, Eq. 1)."""

from __future__ import annotations

import functools

from transformers import PreTrainedModel

from neuronspec.files import write_json
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.mask_sources import select_masks
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.engine import Stage, choose_settings
from neuronspec.pipeline.layout import PRETRAINED
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.stage_results import describe_masks
from neuronspec.progress import show_progress
from neuronspec.specialization.auto_k import K_GRID, KCurve, search_k
from neuronspec.training.validation import validate_tasks


def plan(run: Run) -> list[Stage]:
    """Return the stage: its settings, inputs and outputs."""
    layout = run.layout

    # A search for k measures the masked model, so that its model and text are inputs as well.
    searched = [layout.model(PRETRAINED), layout.tokens("valid")] if run.config.select.k == "auto" else []
    return [
        Stage(
            name="select",
            execute=functools.partial(execute, run),
            settings=choose_settings(run.config, "select"),
            inputs=[layout.counts, *searched],
            outputs=[layout.masks],
            describe=functools.partial(describe_masks, run),
        )
    ]


def execute(run: Run) -> None:
    """Select the specialized neurons of every task; with `k: auto`, search for k first."""
    masks, curve = choose_masks(run)
    if curve is not None:
        write_json(run.layout.curve, curve.as_dict())
    masks.save_pretrained(run.layout.masks)


def choose_masks(run: Run) -> tuple[NeuronMasks, KCurve | None]:
    """Return the masks that a run's counts and settings select, and the loss at each k where k is searched for."""
    counts, settings = run.load_counts(), run.config.select
    curve = _search_k(run, counts) if settings.k == "auto" else None
    k = settings.k if curve is None else curve.chosen
    assert not isinstance(k, str)
    return select_masks(settings, counts, k), curve


def _search_k(run: Run, counts: ActivationCounts) -> KCurve:
    """Measure the loss of the masked model at each k."""
    model = run.load_model().to(run.device)
    valid = run.open_dataset("valid", run.open_codec(model))
    settings = run.config.select

    with show_progress("searching for k", len(K_GRID)) as advance:

        def measure(model: PreTrainedModel) -> float:
            # This process alone: the others, where there are any, wait for the stage to end.
            loss = validate_tasks(model, valid, None, run.config.sampling.tokens_per_batch)["all"]
            advance()
            return loss

        # Every k is tried with the rule and the other settings of the configuration.
        select = functools.partial(select_masks, settings)
        return search_k(model, counts, measure, settings.auto_k_tolerance, select)
