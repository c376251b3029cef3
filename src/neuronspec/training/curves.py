"""Training curves: loss, learning rate and speed over the updates of a training, from its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from neuronspec.artifacts.typed_json import Stored
from neuronspec.training.journal import read_log

ALL = "all"
"""Name in the log for all tasks together."""


def _check_all(losses: dict[str, float]) -> dict[str, float]:
    if ALL not in losses:
        raise ValueError("there is no loss of all tasks")
    return losses


@dataclass(frozen=True, kw_only=True)
class TrainingCurve:
    """Course of one training by its log, also of a training that was interrupted and resumed.

    Attributes:
        updates: (points,) numbers of updates.
        losses: (points,) mean training losses per target token since the point before, in nats.
        learning_rates: (points,) learning rates of the last of these updates.
        validations: (validations,) numbers of updates.
        valid_losses: For each task, (validations,) losses per target token, in nats; None where it has none.
        valid_loss: (validations,) losses of all tasks together.
        speeds: (validations,) target tokens that were trained on per second since the validation before.
    """

    updates: Sequence[int]
    losses: Sequence[float]
    learning_rates: Sequence[float]
    validations: Sequence[int]
    valid_losses: Mapping[str, Sequence[float | None]]
    valid_loss: Sequence[float]
    speeds: Sequence[float]


def read_curve(path: Path) -> TrainingCurve | None:
    """Return the curve in a log; None if there is no log, or nothing in it.

    Args:
        path: Path of the log.
    """
    entries = [entry for entry in read_log(path) if _is_sound(entry)]
    if not entries:
        return None

    points = [point for entry in entries for point in _list_points(entry)]
    losses = [entry["valid"]["loss"] for entry in entries]
    tasks = [task for task in dict.fromkeys(task for loss in losses for task in loss) if task != ALL]
    return TrainingCurve(
        updates=[int(update) for update, _, _ in points],
        losses=[loss for _, loss, _ in points],
        learning_rates=[rate for _, _, rate in points],
        validations=[entry["update"] for entry in entries],
        valid_losses={task: [loss.get(task) for loss in losses] for task in tasks},
        valid_loss=[loss[ALL] for loss in losses],
        speeds=_compute_speeds([entry["train"] for entry in entries]),
    )


class _Train(Stored):
    """Training between two validations."""

    loss: float
    learning_rate: float
    target_tokens: float
    target_tokens_per_second: float
    points: list[Annotated[list[float], Field(min_length=3, max_length=3)]] | None = None


class _Valid(Stored):
    """A validation."""

    loss: Annotated[dict[str, float], AfterValidator(_check_all)]


class _Entry(Stored):
    """An entry of a log that a curve is made of."""

    update: int = Field(ge=0, lt=1 << 53)
    train: _Train
    valid: _Valid


def _is_sound(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry has what a curve is made of; a damaged one is left out."""
    try:
        _Entry.model_validate(entry)
    except ValidationError:
        return False
    return True


def _list_points(entry: Mapping[str, Any]) -> list[list[float]]:
    """Return the points of the training curve since the validation before."""
    train = entry["train"]
    points: list[list[float]] | None = train.get("points")

    # Older logs have one mean for each validation
    return [[entry["update"], train["loss"], train["learning_rate"]]] if points is None else points


def _compute_speeds(entries: Sequence[Mapping[str, float]]) -> list[float]:
    """Return the speed in each interval; a log holds the tokens and the mean speed since the start."""
    speeds = []
    tokens, seconds = 0.0, 0.0
    for entry in entries:
        tokens_now = entry["target_tokens"]
        seconds_now = tokens_now / max(entry["target_tokens_per_second"], 1e-9)

        # The mean speed is rounded: an interval without time has the mean speed itself
        between = seconds_now - seconds
        speeds.append((tokens_now - tokens) / between if between > 0 else entry["target_tokens_per_second"])
        tokens, seconds = tokens_now, seconds_now
    return [round(speed, 1) for speed in speeds]
