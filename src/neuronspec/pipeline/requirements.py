"""Requirements of a run: devices, libraries, files and processes, all checked before any work."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import torch

from neuronspec.checking.problem import Problem, catch_errors
from neuronspec.config.schema import Config
from neuronspec.evaluation.metrics import METRICS
from neuronspec.libraries import find_library, import_library
from neuronspec.pipeline.engine import Stage
from neuronspec.pipeline.run import Run
from neuronspec.processes import count_processes
from neuronspec.translation.engines import ENGINES


def find_requirements(run: Run, stages: Sequence[Stage]) -> Iterator[Problem]:
    """Yield a problem for each device, library, file or process that a stage of a run would not find.

    Args:
        run: The run.
        stages: Stages to run.
    """
    yield from _check_device(run.config)
    yield from _check_libraries(run)
    yield from _check_files(run.config)
    yield from _check_engine(run)
    yield from _check_processes(run.config, stages)


def has_outputs(stage: Stage) -> bool:
    """Return whether all outputs of a stage are there."""
    return all(path.exists() for path in stage.outputs)


def _check_device(config: Config) -> Iterator[Problem]:
    # `auto` and `cpu` are always possible.
    seen = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not seen.get(config.device, True):
        yield Problem(
            level="error",
            subject="device",
            message=f"device: {config.device} is asked for, but torch sees none",
            fix="use device=cpu or device=auto",
        )


def _check_libraries(run: Run) -> Iterator[Problem]:
    yield from catch_errors(functools.partial(_check_engine_library, run), "translate.engine")

    for metric in run.config.score.metrics:
        yield from catch_errors(METRICS[metric].check, "score.metrics")

    # Not imported: it takes seconds, and a finished run needs none.
    for system in run.config.methods:
        for library, extra in run.find_method(system).requires.items():
            yield from catch_errors(functools.partial(find_library, library, "this run", extra), f"methods.{system}")


def _check_engine_library(run: Run) -> None:
    # An engine's library can be installed and still fail to load: it is imported to be sure.
    engine = ENGINES[run.config.translate.engine]
    if engine.library:
        find_library(engine.library, "this run", engine.extra)
        import_library(engine.library, "this run", engine.extra)


def _check_files(config: Config) -> Iterator[Problem]:
    # Tables of distances and masks to compare with are first read by `analyze`, after hours of training.
    for key in ("distances", "against"):
        for name, path in getattr(config.analyze, key).items():
            if not path.exists():
                subject = f"analyze.{key}.{name}"
                yield Problem(level="error", subject=subject, message=f"{subject}: {path} does not exist")


def _check_engine(run: Run) -> Iterator[Problem]:
    # Some methods add weights that an engine cannot apply.
    engine = run.config.translate.engine
    for system in run.config.methods:
        able = run.find_method(system).engines
        if able and engine not in able:
            yield Problem(
                level="error",
                subject="translate.engine",
                message=f"translate.engine: {engine} cannot translate with {system}",
                fix=f"use {' or '.join(able)}",
            )


def _check_processes(config: Config, stages: Sequence[Stage]) -> Iterator[Problem]:
    """Yield a problem for each training whose batches cannot be shared by the processes that were launched."""
    launched = count_processes()
    for stage in stages:
        # Only trainings divide the batches of an update; finished ones will not run again.
        is_training = stage.name.partition(".")[0] == "train"
        if not is_training or has_outputs(stage):
            continue

        # `train` is the model that is specialized; the methods share the settings of `continued`.
        key = "train" if stage.name == "train" else "continued"
        section = getattr(config, key)
        if section.updates and section.batches_per_update % launched:
            yield Problem(
                level="error",
                subject=f"{key}.batches_per_update",
                message=f"{key}.batches_per_update is {section.batches_per_update}: it must be a multiple of the "
                f"{launched} processes, such as {key}.batches_per_update={launched}",
            )
