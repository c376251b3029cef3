"""Checks of the learning rate's schedule against the number of updates."""

from __future__ import annotations

from collections.abc import Iterator

from neuronspec.checking.problem import Problem
from neuronspec.config.sections import Training
from neuronspec.statistics.numbers import show_number
from neuronspec.training.schedule import USUAL_WARMUP, learning_rate

LOW_PEAK = 0.5  # share of the configured peak below which the schedule is reported


def check_schedule(training: Training, key: str) -> Iterator[Problem]:
    """Yield the problems of a training's schedule.

    Args:
        training: Settings of the training.
        key: Name of their section, `train` or `continued`.

    Example:
        >>> [problem] = check_schedule(Training(updates=300), "train")
        >>> problem.message, problem.fix
        ('train.warmup is 4000 for 300 updates: the learning rate only reaches 7.5 % of its peak', 'train.warmup=30')
    """
    if not training.updates:
        return

    highest = _find_highest(training) / training.learning_rate
    reached = f"the learning rate only reaches {show_number(100 * highest)} % of its peak"
    suggested = max(1, round(USUAL_WARMUP * training.updates))

    # A warm-up that ends after the training
    if training.warmup > training.updates:
        yield Problem(
            level="warning",
            subject=f"{key}.warmup",
            message=f"{key}.warmup is {training.warmup} for {training.updates} updates: {reached}",
            fix=f"{key}.warmup={suggested if training.updates > 1 else 0}",
        )

    # A warm-up that overlaps with the decay
    elif highest < LOW_PEAK:
        room = max(0.0, 1 - training.warmup / training.updates)
        yield Problem(
            level="warning",
            subject=f"{key}.decay",
            message=f"{key}.warmup and {key}.decay overlap: {reached}",
            fix=f"{key}.warmup={suggested}, or {key}.decay={show_number(room)}",
        )


def _find_highest(training: Training) -> float:
    """Return the highest learning rate of a training."""
    last = training.updates - 1
    decay_start = round((1 - training.decay) * training.updates)

    # Between these updates the rate only rises or only falls; where a rise meets the decay, it peaks in the middle.
    turns = [0, last, last // 2, training.warmup - 1, training.warmup, decay_start - 1, decay_start]
    return max(learning_rate(update, training) for update in turns if 0 <= update <= last)
