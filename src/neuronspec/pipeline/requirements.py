"""Requirements of a run: devices, libraries, files and processes, all checked before any work."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from neuronspec.analysis.distance_tables import read_distances
from neuronspec.checking.problem import Problem, catch_errors
from neuronspec.config.schema import Config
from neuronspec.data.reading_errors import explain_missing
from neuronspec.evaluation.metrics import METRICS
from neuronspec.libraries import find_library, import_library
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.engine import Stage
from neuronspec.pipeline.neuron_ablation import load_given
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
    yield from _check_files(run, stages)
    yield from _check_engine(run)
    yield from _check_extension(run)
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


def _check_files(run: Run, stages: Sequence[Stage]) -> Iterator[Problem]:
    """Yield a problem for each file that cannot be read, of those that are first read after hours of training."""
    names = {stage.name for stage in stages}
    config, checks = run.config, dict[str, Callable[[], object]]()

    # The tables of distances, whose languages are compared later, and masks
    if "analyze" in names:
        for name, path in config.analyze.distances.items():
            checks[f"analyze.distances.{name}"] = functools.partial(read_distances, path, labels=())
        for name, path in config.analyze.against.items():
            checks[f"analyze.against.{name}"] = functools.partial(_load_masks, path)

    if "ablate" in names and config.ablate is not None and config.ablate.masks is not None:
        checks["ablate.masks"] = functools.partial(load_given, config.ablate)

    # The models of metrics
    if "score" in names:
        for metric in config.score.metrics:
            checks[f"score.metrics.{metric}"] = functools.partial(METRICS[metric].check_files, run.metric_options)

    for subject, check in checks.items():
        for problem in catch_errors(check, subject):
            yield replace(problem, message=f"{subject}: {problem.message}")


def _load_masks(path: Path) -> NeuronMasks:
    # A path that leads nowhere is no name on the hub.
    if not path.exists():
        raise explain_missing(path)
    return NeuronMasks.from_pretrained(path)


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


def _check_extension(run: Run) -> Iterator[Problem]:
    """Yield a problem for each method that needs room for new languages, if the model gets none."""
    for system in run.config.methods:
        if run.find_method(system).extends and run.config.model.extend is None:
            yield Problem(
                level="error",
                subject=f"methods.{system}",
                message=f"methods.{system}: the method adds languages to a pretrained model, which needs room for them",
                fix="set model.pretrained and model.extend, such as model.extend={widen: 64}",
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
