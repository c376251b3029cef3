"""Running a configuration: which stages it asks for, in order, and which of them have to run."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import PartialState

from neuronspec.checking.problem import announce_problems
from neuronspec.config.loading import holds_sweep
from neuronspec.directory_lock import DirectoryLock
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.executors import use_workers
from neuronspec.files import refuse_links, write_text
from neuronspec.interruption import explained_interruption
from neuronspec.pipeline.engine import Stage, run_stages
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.model_notes import write_all_notes
from neuronspec.pipeline.run import Run, open_run
from neuronspec.pipeline.run_check import check_plan
from neuronspec.pipeline.sharing import check_sources, list_sources
from neuronspec.pipeline.stages import (
    ablate,
    analyze,
    examples,
    prepare,
    record,
    report,
    score,
    select,
    train,
    translate,
)
from neuronspec.pipeline.status import StageState, examine
from neuronspec.processes import count_processes, join_processes


def run(
    source: str | Path,
    changes: Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    until: str | None = None,
    force: bool = False,
    share_from: str | Path | Sequence[str | Path] = (),
    workers: int | None = None,
    cluster: str | None = None,
) -> Run:
    """Run a configuration, from corpora to report, leaving out the stages that are done.

    Args:
        source: YAML file, name of a shipped recipe (`demo`), or directory of an earlier run.
        changes: Changes to the configuration by dotted key: `{"train.updates": 20000}`.
        out: Directory of the run; by default the one that the configuration names.
        until: Name of the last stage to run; by default all of them.
        force: Whether to do the stages again that are done.
        share_from: Directory, or directories, of runs whose finished stages are shared where they were made from the
            same settings and inputs. A `source` that is the directory of a run is one of them if `out` is another one.
        workers: Number of processes of this machine that share the work that can be divided.
        cluster: Address of a Dask scheduler, or its file, whose workers do that work instead.

    Returns:
        The run, which opens its own model, masks, counts and text.

    Raises:
        NeuronspecError: If the configuration has problems, or a stage fails.

    Example:
        >>> run = ns.run("my.yaml", {"train.updates": 20_000})  # doctest: +SKIP
        >>> run.load_masks().iou("decoder.0")  # doctest: +SKIP
        >>> fewer = ns.run(run.layout.out, {"select.k": 0.8}, out="runs/k80")  # doctest: +SKIP
    """
    opened = open_run(source, out=out, changes=changes)
    given = [share_from] if isinstance(share_from, str | Path) else share_from
    with use_workers(workers, cluster=cluster, folders=[opened.layout.out]):
        execute_stages(opened, until=until, force=force, share_from=list_sources(given, source, opened.layout.out))
    return opened


def plan_stages(run: Run) -> list[Stage]:
    """Return the stages of a run, each after those that it needs."""
    # Every run prepares text and has a model to specialize, trained here or taken as is.
    stages = [*prepare.plan(run), *train.plan(run)]

    # Neurons are recorded, selected and analyzed only where a method or the user needs masks.
    if run.needs_masks:
        stages += [*record.plan(run), *select.plan(run)]
        stages += [*examples.plan(run), *ablate.plan(run), *analyze.plan(run)]

    # Methods come after the masks that some of them are trained with.
    for system in run.config.methods:
        stages += train.plan_method(run, system)

    return [*stages, *translate.plan(run), *score.plan(run), *report.plan(run)]


def execute_stages(
    run: Run,
    *,
    until: str | None = None,
    force: bool = False,
    only: str | None = None,
    share_from: Sequence[Path] = (),
) -> Layout:
    """Run the stages of a run, leaving out those that are done, and sharing those that another run has done.

    The configuration is stored in the directory of the run before a stage changes anything there; of a whole run, in
    any case.

    Args:
        run: The run.
        until: Name of the last stage to run; a group's where it names one (`translate` for every `translate.*`).
            Everything before it that is not done runs too.
        force: Whether to do the stages again that were asked for: those of `until`, or all of them.
        only: Member of the group `until` to run (`fine_tune` of `train`).
        share_from: Directories of runs to share finished stages from.

    Returns:
        Paths of the run's files.

    Raises:
        NeuronspecError: If there is no such stage, another command works in the directory, or a stage fails.
    """
    layout = run.layout
    check_sources(share_from, layout)

    # An output directory from elsewhere could hold a link that leads the results out of it.
    refuse_links(layout.out)
    if holds_sweep(layout.out):
        raise NeuronspecError(
            f"{layout.out} holds the runs of a sweep: give the directory of one of them, or choose another --out"
        )

    stages = plan_stages(run)
    asked = _find_asked(stages, until, only)

    # What can be known before work is checked here, before the first stage.
    wanted = _add_needed(stages, asked)
    announce_problems(check_plan(run, wanted))

    # Only now does anything change: threads and processes, then the stored configuration.
    if run.config.threads is not None:
        torch.set_num_threads(run.config.threads)

    # Stored before the first change, so that an interrupted run can be continued from its directory.
    store_config = functools.cache(functools.partial(_write_config, run, layout))
    processes = _join(run)
    forced = [stage.name for stage in asked] if force else []

    # The directory is ours before its first change. A command that changes nothing can look at it at any time.
    with DirectoryLock(layout.out) as lock:

        def announce() -> bool:
            is_new = lock.acquire()
            store_config()
            return is_new

        if processes is not None:
            lock.acquire_together(processes)
        if until is None and (processes is None or processes.is_main_process):
            announce()

        with explained_interruption("the same command keeps the stages that are done"):
            run_stages(wanted, layout, forced, processes, share_from=share_from, announce=announce)

        # Cards follow what the directory holds: without a stored configuration, nothing there has changed.
        if store_config.cache_info().currsize:
            write_all_notes(run, stages)
    return layout


def examine_run(
    run: Run,
    *,
    until: str | None = None,
    force: bool = False,
    only: str | None = None,
    share_from: Sequence[Path] = (),
) -> list[StageState]:
    """Return the state of the stages that `execute_stages` would consider; nothing is run or written.

    Args:
        run: The run.
        until: Name of the last stage.
        force: Whether the stages that are asked for would be done again.
        only: Member of the group `until`.
        share_from: Directories of runs to share finished stages from.

    Raises:
        NeuronspecError: If there is no such stage, or no run to share from.
    """
    check_sources(share_from, run.layout)
    stages = plan_stages(run)
    asked = _find_asked(stages, until, only)
    forced = [stage.name for stage in asked] if force else []
    return examine(_add_needed(stages, asked), run.layout, forced, share_from)


def list_needed(run: Run, until: str | None = None, *, only: str | None = None) -> list[Stage]:
    """Return the stages that `execute_stages` would consider.

    Raises:
        NeuronspecError: If there is no such stage.
    """
    stages = plan_stages(run)
    return _add_needed(stages, _find_asked(stages, until, only))


def _find_asked(stages: list[Stage], until: str | None, only: str | None) -> list[Stage]:
    """Return the stages that were asked for by name, or all of them."""
    if until is None:
        return stages

    asked = [stage for stage in stages if _is_asked(stage.name, until, only)]
    if not asked:
        wanted = until if only is None else f"{until}.{only}"
        names = [stage.name for stage in stages]
        raise NeuronspecError(f"no stage {wanted}{did_you_mean(wanted, names)}; this run has {', '.join(names)}")
    return asked


def _is_asked(name: str, until: str, only: str | None) -> bool:
    group, _, member = name.partition(".")
    if group != until:
        return False
    if only is not None:
        return member == only

    # `train` alone is the model that is specialized; each method is trained when it is named.
    return until != "train" or not member


def _add_needed(stages: list[Stage], asked: list[Stage]) -> list[Stage]:
    """Return the stages that were asked for and, before them, those that make their inputs."""
    # From the last stage to the first: what a stage needs is made by one before it.
    needed = {stage.name for stage in asked}
    inputs = {path for stage in asked for path in stage.inputs}
    for stage in reversed(stages):
        if stage.name in needed or inputs & set(stage.outputs):
            needed.add(stage.name)
            inputs |= set(stage.inputs)

    return [stage for stage in stages if stage.name in needed]


def _join(run: Run) -> PartialState | None:
    """Join the processes that were launched together, where there are several."""
    if count_processes() == 1:
        return None
    return join_processes(run.cpu)


def _write_config(run: Run, layout: Layout) -> None:
    """Write the configuration as it was resolved."""
    # In the order of the schema, with every default, so that the file says all that decided the run.
    values = run.config.model_dump(mode="json")
    write_text(layout.config, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
