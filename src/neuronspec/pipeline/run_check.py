"""The check of a run before its first stage: everything that is known without reading the text or using the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from neuronspec.checking.corpora import check_corpora
from neuronspec.checking.problem import Problem
from neuronspec.checking.schedule import check_schedule
from neuronspec.data.texts import assign_pairs
from neuronspec.pipeline.engine import Stage
from neuronspec.pipeline.requirements import find_requirements, has_outputs
from neuronspec.pipeline.run import Run


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
    if any(name.startswith("train.") for name in pending):
        yield from check_schedule(run.config.continued, "continued")


def list_pairs(run: Run) -> list[str]:
    """Return the pairs of languages whose text a run reads; two opposite directions share one."""
    assigned = assign_pairs(run.config.directions(), run.config.pivot)
    return list(dict.fromkeys(pair for pair, _ in assigned.values()))
