"""Scoring a run: every system on every task, and which differences are more than chance."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence

from neuronspec.comparison.study import Study, compare_study
from neuronspec.config.schema import Config
from neuronspec.data.test_sets import read_test_set
from neuronspec.data.texts import Texts
from neuronspec.evaluation.metric import Metric, MetricOptions
from neuronspec.evaluation.results import Results, merge_results, write_lines
from neuronspec.evaluation.scoring import open_metrics, score_task
from neuronspec.files import publish
from neuronspec.names import child
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.studies import COMPARISONS_FILE, open_study
from neuronspec.pipeline.systems import COPY, choose_baselines
from neuronspec.pipeline.translating import share_tasks
from neuronspec.processes import join_processes
from neuronspec.progress import show_progress

logger = logging.getLogger(__name__)


def score(config: Config, layout: Layout, systems: Sequence[str]) -> None:
    """Score every system on every task and compare each with what it should be compared with.

    Task by task, each one's results published whole: an interrupted run goes on with the next task. Several
    processes share the tasks.

    Args:
        config: the configuration.
        layout: where the translations are.
        systems: their names.
    """
    texts = Texts.load(layout.text)
    tasks = share_tasks(config)
    how, cpu = config.score, config.device == "cpu"
    options = MetricOptions(sentencepiece=how.sentencepiece, comet_model=how.comet_model, cpu=cpu)
    processes = join_processes(cpu)
    if missing := [task for task in tasks if not child(layout.scoring, task).is_dir()]:
        with (
            show_progress("scoring", len(tasks), len(tasks) - len(missing)) as advance,
            open_metrics(how.metrics, options) as metrics,
        ):
            for task in missing:
                results = _score_task(config, layout, texts, task, systems, metrics)
                with publish(child(layout.scoring, task)) as temporary:
                    temporary.mkdir()
                    results.save(temporary)
                advance()
    processes.wait_for_everyone()
    if processes.is_main_process:
        results = merge_results(Results.load(child(layout.scoring, task)) for task in config.tested_directions())
        for warning in results.warnings:
            logger.warning(warning)
        study = _compare(config, results)
        with publish(layout.scores) as temporary:
            temporary.mkdir()
            results.save(temporary)
            write_lines(temporary / COMPARISONS_FILE, study.comparisons)
        done = layout.scoring.with_name(".scoring.done")  # in one step: half of a part must not pass for a whole one
        shutil.rmtree(done, ignore_errors=True)
        layout.scoring.rename(done)
        shutil.rmtree(done)


def _score_task(
    config: Config, layout: Layout, texts: Texts, task: str, systems: Sequence[str], metrics: Sequence[Metric]
) -> Results:
    sources, references = read_test_set(texts, task, config.directions(), config.pivot)
    unseen = task not in config.directions()
    hypotheses = {COPY: sources} | {system: _read_translations(layout, system, task) for system in systems}
    return merge_results(
        score_task(system, task, lines, references, metrics, sources=sources, zero_shot=unseen)
        for system, lines in hypotheses.items()
    )


def _read_translations(layout: Layout, system: str, task: str) -> list[str]:
    return child(layout.translations(system), task, ".txt").read_text(encoding="utf-8").split("\n")[:-1]


def _compare(config: Config, results: Results) -> Study:
    baselines = choose_baselines(system for system in results.systems if system != COPY)
    pairs = [(baseline, system) for system, others in baselines.items() for baseline in others]
    with show_progress("testing differences", len(pairs) * len(results.metrics)) as advance:
        return compare_study(open_study(config, results), pairs, config.seed, advance)
