"""Requirements of a run: devices, libraries, files and processes, checked before any work."""

from __future__ import annotations

import torch

from neuronspec.config.schema import Config
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.metrics import METRICS
from neuronspec.libraries import find_library, import_library
from neuronspec.pipeline.engine import Stage
from neuronspec.pipeline.run import Run
from neuronspec.processes import count_processes
from neuronspec.translation.engines import ENGINES


def check_requirements(run: Run) -> None:
    """Refuse, before any work, a device, a library or a file that a later stage would not find.

    Raises:
        NeuronspecError: If torch does not see the device, a library of an extra is not installed, a file is missing,
            or the engine cannot translate with what a method adds.
    """
    _check_device(run.config)
    _check_libraries(run)
    _check_files(run.config)
    _check_engine(run)


def _check_device(config: Config) -> None:
    # `auto` and `cpu` are always possible.
    seen = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not seen.get(config.device, True):
        raise NeuronspecError(
            f"device: {config.device} is asked for, but torch sees none; use device=cpu or device=auto"
        )


def _check_libraries(run: Run) -> None:
    # An engine's library can be installed and still fail to load: it is imported to be sure.
    engine = ENGINES[run.config.translate.engine]
    if engine.library:
        find_library(engine.library, "this run", engine.extra)
        import_library(engine.library, "this run", engine.extra)

    for metric in run.config.score.metrics:
        METRICS[metric].check()

    for system in run.config.methods:
        for library, extra in run.find_method(system).requires.items():
            find_library(library, "this run", extra)  # not imported: it takes seconds, and a finished run needs none


def _check_files(config: Config) -> None:
    # Tables of distances and masks to compare with are first read by `analyze`, after hours of training.
    for key in ("distances", "against"):
        for name, path in getattr(config.analyze, key).items():
            if not path.exists():
                raise NeuronspecError(f"analyze.{key}.{name}: {path} does not exist")


def _check_engine(run: Run) -> None:
    # Some methods add weights that an engine cannot apply.
    engine = run.config.translate.engine
    for system in run.config.methods:
        able = run.find_method(system).engines
        if able and engine not in able:
            raise NeuronspecError(f"translate.engine: {engine} cannot translate with {system}; use {' or '.join(able)}")


def check_processes(config: Config, stages: list[Stage]) -> None:
    """Refuse, before any work, a training whose batches cannot be shared by the processes that were launched.

    Raises:
        NeuronspecError: If the number of batches of an update is no multiple of the number of processes.
    """
    launched = count_processes()
    for stage in stages:
        # Only trainings divide the batches of an update; finished ones will not run again.
        is_training = stage.name.partition(".")[0] == "train"
        if not is_training or all(path.exists() for path in stage.outputs):
            continue

        # `train` is the model that is specialized; the methods share the settings of `continued`.
        key = "train" if stage.name == "train" else "continued"
        section = getattr(config, key)
        if section.updates and section.batches_per_update % launched:
            raise NeuronspecError(
                f"{key}.batches_per_update is {section.batches_per_update}: it must be a multiple of the {launched} "
                f"processes, such as {key}.batches_per_update={launched}"
            )
