"""Stage `record`: in how many validation sentences of each task each neuron is active."""

from __future__ import annotations

import functools

from neuronspec.data.task_format import special_ids
from neuronspec.durability import remove
from neuronspec.files import hash_path
from neuronspec.interruption import explained_interruption
from neuronspec.names import child
from neuronspec.neurons.activity import Activity
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.filenames import COUNTS_FILE
from neuronspec.neurons.recording import record_activations
from neuronspec.pipeline.analysis_inputs import name_tasks
from neuronspec.pipeline.engine import Stage, choose_settings
from neuronspec.pipeline.layout import PRETRAINED
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.stage_results import describe_counts
from neuronspec.pipeline.stages.train import READING
from neuronspec.progress import show_progress
from neuronspec.version import __version__


def plan(run: Run) -> list[Stage]:
    """Return the stage: its settings, inputs and outputs."""
    layout = run.layout
    return [
        Stage(
            name="record",
            execute=functools.partial(execute, run),
            settings=choose_settings(run.config, *READING, "record"),
            inputs=[layout.model(PRETRAINED), layout.tokens("valid")],
            outputs=[layout.counts],
            workspace=[layout.recording],
            parallel=True,
            describe=functools.partial(describe_counts, run),
        )
    ]


def execute(run: Run) -> None:
    """Count on the validation text how often each neuron is active for each task.

    Task by task, the counts of each published whole: an interrupted recording resumes with the next task. Several
    processes share the tasks, so that each task is counted as one process would count it.
    """
    layout, settings = run.layout, run.config.record
    model = run.load_model().to(run.device)
    valid = run.open_dataset("valid", run.open_codec(model))

    # Ids of tags and ends of sentences are those of the formats of the tasks.
    activity = Activity(
        unit=settings.unit,
        threshold=settings.threshold,
        gated_at=settings.gated_at,
        ignore=tuple(special_ids((task.format for task in valid.tasks), settings.ignore)),
    )

    # The counts carry what they were made from, so that masks and analyses can be traced to it.
    signature = {
        "model": hash_path(layout.model(PRETRAINED) / "model.safetensors"),
        "data": hash_path(layout.tokens("valid")),
        "version": __version__,
    }

    # Each process records its own tasks; the bar counts their sentences.
    directions = run.config.directions()
    sizes = dict(zip(directions, map(len, valid.lengths()), strict=True))
    own = run.share(directions)
    with (
        explained_interruption("the same command resumes the recording with the next task"),
        show_progress("recording neurons", sum(sizes[task] for task in own)) as advance,
    ):
        for task in own:
            part = child(layout.recording, task)
            if (part / COUNTS_FILE).is_file():  # recorded before an interruption
                advance(sizes[task])
                continue

            # The batches of one task alone, in the same order for any number of processes
            batches = valid.in_order(settings.tokens_per_batch, directions.index(task))
            counts = record_activations(
                model,
                name_tasks(batches, task, advance),
                activity=activity,
                means=settings.means,
                states=settings.states,
                signature=signature,
            )
            counts.save(part)

    # Once all parts are there, the first process joins them in the order of the configuration.
    run.processes.wait_for_everyone()
    if run.processes.is_main_process:
        parts = [ActivationCounts.load(child(layout.recording, task)) for task in directions]
        ActivationCounts.concatenate(parts).save(layout.counts)
        remove(layout.recording)
