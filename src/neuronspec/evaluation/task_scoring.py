"""Scoring the test sets of many tasks, side by side on all cores.

Every system is scored on a task before the next task, so that what is counted in the references is counted once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from neuronspec.evaluation.identifiers import DEFAULT_IDENTIFIER
from neuronspec.evaluation.metric import Metric, MetricOptions
from neuronspec.evaluation.metrics import METRICS
from neuronspec.evaluation.outputs import Outputs
from neuronspec.evaluation.results import Results, merge_results
from neuronspec.evaluation.scoring import open_metrics, score_task
from neuronspec.executors import has_workers, map_ordered, open_executor
from neuronspec.extensions import list_extensions
from neuronspec.processes import count_processes

Item = TypeVar("Item")

# Bytes of translations for which one more worker is worth its start, which takes about a second.
BYTES_PER_WORKER = 1_000_000


@dataclass(frozen=True, kw_only=True)
class TaskOutputs:
    """The translations of one task.

    Attributes:
        task: Direction.
        systems: Translations of each system, with their references.
        zero_shot: True if the systems were not trained for the task.
    """

    task: str
    systems: Mapping[str, Outputs]
    zero_shot: bool = False


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """Settings of what is counted in translations.

    Attributes:
        metrics: Names in `METRICS`, or metrics themselves.
        options: Options of all metrics.
        identifier: Name of the language identifier that finds off-target translations; None if broken translations
            are not counted.
    """

    metrics: tuple[str | Metric, ...]
    options: MetricOptions = field(default_factory=MetricOptions)
    identifier: str | None = DEFAULT_IDENTIFIER

    def open_metrics(self) -> AbstractContextManager[list[Metric]]:
        """Return the metrics, which stay loaded while the context is open."""
        return open_metrics(self.metrics, self.options)

    @property
    def divisible(self) -> bool:
        """Whether several processes may score different tasks at the same time."""
        # Workers know what neuronspec and modules of `--import` register, but not what a script has registered.
        known = self.identifier in (None, DEFAULT_IDENTIFIER) or bool(list_extensions())
        return known and all(isinstance(one, str) and METRICS[one].divisible for one in self.metrics)


def score_tasks(
    items: Sequence[Item], read: Callable[[Item], TaskOutputs], settings: ScoreSettings, *, size: int
) -> Iterator[Results]:
    """Yield the results of all systems on one task after the other, in the order of the items.

    Args:
        items: Names or contents that tasks are read from. Tasks with the same references should follow each other.
        read: Function that reads the translations of a task; it must be picklable.
        settings: Settings of what is counted.
        size: Number of bytes of all translations, which decides how many workers are worth their start.

    Raises:
        NeuronspecError: If texts cannot be read or do not fit each other, or a metric lacks something it needs.
    """
    # Metrics with a large model are loaded once, and processes that were launched together divide the tasks.
    alone = not settings.divisible or count_processes() > 1
    most = 1 if alone else min(len(items), size // BYTES_PER_WORKER)

    with open_executor(most=most) as executor:
        if has_workers(executor):
            yield from map_ordered(executor, functools.partial(_score_in_worker, settings, read), items)
        else:
            with settings.open_metrics() as metrics:
                for item in items:
                    yield score_outputs(read(item), metrics, settings.identifier)


def score_outputs(outputs: TaskOutputs, metrics: Sequence[Metric], identifier: str | None) -> Results:
    """Score every system on one task.

    Args:
        outputs: Translations of the task.
        metrics: Opened metrics.
        identifier: Name of the language identifier; None if broken translations are not counted.
    """
    return merge_results(
        score_task(
            system=system,
            task=outputs.task,
            hypotheses=one.hypotheses,
            references=one.references or (),
            metrics=metrics,
            sources=one.sources,
            zero_shot=outputs.zero_shot,
            identifier=identifier,
        )
        for system, one in outputs.systems.items()
    )


def _score_in_worker(settings: ScoreSettings, read: Callable[[Item], TaskOutputs], item: Item) -> Results:
    metrics, _ = _keep_metrics_open(settings)
    return score_outputs(read(item), metrics, settings.identifier)


@functools.lru_cache(maxsize=1)
def _keep_metrics_open(settings: ScoreSettings) -> tuple[list[Metric], ExitStack]:
    """Return the metrics, with the stack that keeps them open until the worker ends."""
    stack = ExitStack()
    return stack.enter_context(settings.open_metrics()), stack
