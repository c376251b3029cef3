"""The check of a run before its first stage: everything that is known without reading the text or using the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from neuronspec.checking.corpora import check_corpora
from neuronspec.checking.estimate import check_disk, estimate_run
from neuronspec.checking.problem import Problem
from neuronspec.checking.schedule import check_schedule
from neuronspec.data.texts import assign_pairs
from neuronspec.errors import NeuronspecError
from neuronspec.pipeline.engine import Stage
from neuronspec.pipeline.requirements import find_requirements, has_outputs
from neuronspec.pipeline.run import Run
from neuronspec.training.speed import configure, count_model


def check_plan(run: Run, stages: Sequence[Stage], *, everything: bool = False) -> Iterator[Problem]:
    """Yield the problems that stand in the way of the stages of a run, as far as they are known at once.

    Args:
        run: The run.
        stages: Stages to run.
        everything: Whether stages that have left their outputs are checked as well.
    """
    # What the machine or the launch cannot do
    yield from find_requirements(run, stages)

    # A stage that has left its outputs will hardly run again: what it needs is not asked for.
    pending = {stage.name for stage in stages if everything or not has_outputs(stage)}
    if "prepare" in pending:
        yield from check_corpora(run.config.data, list_pairs(run), run.config.pivot)

    # One section for the model that is specialized, another for all methods
    if "train" in pending:
        yield from check_schedule(run.config.train, "train")
    continued = [name for name in pending if name.startswith("train.")]
    if continued:
        yield from check_schedule(run.config.continued, "continued")
    yield from _check_disk(run, trainings=len(continued) + ("train" in pending))


def _check_disk(run: Run, *, trainings: int) -> Iterator[Problem]:
    """Yield a warning if the models and checkpoints of the trainings that are left will hardly fit on the disk."""
    if not trainings:
        return

    # Parameters are counted without memory for them; the vocabulary is taken to be as large as is asked for.
    config = run.config
    try:
        parameters = count_model(configure(config.model, config.prepare.vocabulary.size))
    except NeuronspecError:
        return  # the stage that loads the model explains what is wrong with it
    yield from check_disk(estimate_run(config, parameters, trainings=trainings), config.out)


def list_pairs(run: Run) -> list[str]:
    """Return the pairs of languages whose text a run reads; two opposite directions share one."""
    assigned = assign_pairs(run.config.directions(), run.config.pivot)
    return list(dict.fromkeys(pair for pair, _ in assigned.values()))
