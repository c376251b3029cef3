"""Stage `score`: every system on every test set, and which differences are significant."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence

from neuronspec.artifacts.json_lines import write_json_lines
from neuronspec.comparison.study import Study, compare_study
from neuronspec.durability import remove
from neuronspec.evaluation.identifiers import sign_identifier
from neuronspec.evaluation.metrics import METRICS
from neuronspec.evaluation.results import Results, merge_results
from neuronspec.evaluation.task_scoring import ScoreSettings, score_tasks
from neuronspec.files import publish
from neuronspec.interruption import explained_interruption
from neuronspec.names import child
from neuronspec.pipeline.engine import Stage, choose_settings
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.scored_translations import read_task
from neuronspec.pipeline.stage_results import describe_scores
from neuronspec.pipeline.studies import COMPARISONS_FILE, open_study
from neuronspec.pipeline.systems import COPY, choose_baselines
from neuronspec.progress import show_progress

logger = logging.getLogger(__name__)


def plan(run: Run) -> list[Stage]:
    """Return the stage: its settings, inputs and outputs."""
    layout = run.layout
    settings = choose_settings(run.config, "pivot", "languages", "tasks", "zero_shot", "methods", "score", "seed")
    settings["identifier"] = sign_identifier(run.config.score.identifier)  # another version may judge otherwise
    translations = [layout.translations(system) for system in run.systems]

    # Some metrics read a model from a file, whose content decides the scores as well.
    files = [path for metric in run.config.score.metrics for path in METRICS[metric].list_files(run.metric_options)]
    return [
        Stage(
            name="score",
            execute=functools.partial(execute, run),
            settings=settings,
            inputs=[layout.text, *translations, *files],
            outputs=[layout.scores],
            workspace=[layout.scoring],
            parallel=True,
            describe=functools.partial(describe_scores, run),
        )
    ]


def execute(run: Run) -> None:
    """Score every system on every task and compare each with its baselines.

    Task by task, the results of each published whole: an interrupted run resumes with the next task. Several processes
    share the tasks.
    """
    _score_own_tasks(run)
    run.processes.wait_for_everyone()
    if run.processes.is_main_process:
        _publish_results(run)


def _score_own_tasks(run: Run) -> None:
    """Score this process' share of the tasks."""
    settings, scoring = run.config.score, run.layout.scoring

    # Tasks that an interrupted run has scored are left out.
    own = run.share(run.tested_directions)
    missing = [task for task in own if not child(scoring, task).is_dir()]
    if not missing:
        return

    read = functools.partial(
        read_task,
        layout=run.layout,
        systems=tuple(run.systems),
        directions=tuple(run.config.directions()),
        pivot=run.config.pivot,
    )
    wanted = ScoreSettings(metrics=tuple(settings.metrics), options=run.metric_options, identifier=settings.identifier)
    with (
        explained_interruption("the same command resumes the scoring with the next direction"),
        show_progress("scoring", len(own), len(own) - len(missing)) as advance,
    ):
        found = score_tasks(missing, read, wanted, size=_measure(run, missing))
        for task, results in zip(missing, found, strict=True):
            with publish(child(scoring, task)) as temporary:
                temporary.mkdir()
                results.save(temporary, translations=False)  # they stay where `translate` has put them
            advance()


def _measure(run: Run, tasks: Sequence[str]) -> int:
    """Return the number of bytes of all translations of tasks; missing files are noticed when they are read."""
    paths = [child(run.layout.translations(system), task, ".txt") for system in run.systems for task in tasks]
    return sum(path.stat().st_size for path in paths if path.is_file())


def _publish_results(run: Run) -> None:
    """Put the results of all tasks together, compare the systems, and write both."""
    layout = run.layout
    results = merge_results(Results.load(child(layout.scoring, task)) for task in run.tested_directions)
    for warning in results.warnings:
        logger.warning(warning)

    # Systems are compared once all tasks are there, since groups of tasks are tested as a whole.
    study = _compare_systems(run, results)
    with publish(layout.scores) as temporary:
        temporary.mkdir()
        results.save(temporary, translations=False)
        write_json_lines(temporary / COMPARISONS_FILE, study.comparisons)

    # The parts of the tasks are no longer needed.
    remove(layout.scoring)


def _compare_systems(run: Run, results: Results) -> Study:
    # Copying the source is shown, but tested against nothing.
    baselines = choose_baselines(system for system in results.systems if system != COPY)
    pairs = [(baseline, system) for system, others in baselines.items() for baseline in others]
    with show_progress("testing differences", len(pairs) * len(results.metrics)) as advance:
        return compare_study(open_study(run.config, results), pairs, run.config.seed, advance)
