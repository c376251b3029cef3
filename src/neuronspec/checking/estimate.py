"""Estimates of the time, memory and disk that a run takes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neuronspec.checking.problem import Problem
from neuronspec.config.schema import Config
from neuronspec.training.speed import Speed, estimate_disk, estimate_seconds


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Costs of the trainings of a run; the other stages come on top.

    Attributes:
        parameters: Number of parameters of the model.
        disk: Bytes of models and checkpoints.
        seconds: Seconds of all trainings; None if no speed was measured.
        memory: Bytes of memory; None if no speed was measured.
        measured: Seconds that were measured.
        updates: Number of updates that were measured.
    """

    parameters: int
    disk: int
    seconds: float | None = None
    memory: int | None = None
    measured: float = 0.0
    updates: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the estimate as JSON values."""
        return asdict(self)

    def describe(self) -> str:
        """Return the estimate as a sentence.

        Example:
            >>> Estimate(parameters=10**6, disk=2 * 10**9).describe()
            'estimated: 2.0 GB of disk; time and memory were not measured'
        """
        disk = f"{format_bytes(self.disk)} of disk"
        if self.seconds is None or self.memory is None:
            return f"estimated: {disk}; time and memory were not measured"
        needs = f"about {format_duration(self.seconds)} of training, {format_bytes(self.memory)} of memory, {disk}"
        return f"estimated: {needs} ({self.updates} updates measured in {self.measured:.0f} s on this machine)"


def count_trainings(config: Config) -> tuple[int, int]:
    """Return the number of trainings of the specialized model (0 or 1), and of continued ones."""
    return int(config.train.updates > 0), len(config.methods) if config.continued.updates else 0


def estimate_run(
    config: Config,
    parameters: int,
    speed: Speed | None = None,
    measured: float = 0.0,
    *,
    trainings: int | None = None,
) -> Estimate:
    """Return what the trainings of a run take.

    Args:
        config: Configuration of the run.
        parameters: Number of parameters of the model.
        speed: Speed that was measured with the settings of `train`, or of `continued` if nothing else is trained.
        measured: Seconds that were measured.
        trainings: Number of trainings that take disk; by default all of the run.
    """
    first, continued = count_trainings(config)
    keep = max(config.train.keep_checkpoints if first else 0, config.continued.keep_checkpoints if continued else 0)
    trainings = first + continued if trainings is None else min(trainings, first + continued)
    disk = estimate_disk(parameters, trainings, keep_checkpoints=keep) if trainings else parameters * 4
    if speed is None:
        return Estimate(parameters=parameters, disk=disk)

    # The two trainings may differ in the number of batches of an update.
    measured_section = config.train if first else config.continued
    per_batch = speed.seconds_per_update / measured_section.batches_per_update
    seconds = estimate_seconds(per_batch * config.train.batches_per_update, updates=config.train.updates * first)
    seconds += estimate_seconds(
        per_batch * config.continued.batches_per_update,
        updates=0,
        continued=config.continued.updates,
        methods=continued,
    )
    return Estimate(
        parameters=parameters,
        disk=disk,
        seconds=seconds,
        memory=speed.memory,
        measured=measured,
        updates=speed.updates,
    )


def check_disk(estimate: Estimate, out: Path) -> Iterator[Problem]:
    """Yield a warning if models and checkpoints will hardly fit on the disk.

    Args:
        estimate: Estimate of the run.
        out: Directory of the run, which need not exist.
    """
    place = out.absolute()
    while not place.exists():
        place = place.parent

    free = shutil.disk_usage(place).free
    if estimate.disk > free:
        yield Problem(
            level="warning",
            subject="out",
            message=f"models and checkpoints will take about {format_bytes(estimate.disk)}, and {place} has "
            f"{format_bytes(free)} free",
            fix="choose an --out on a larger disk, fewer methods, or train.keep_checkpoints=1 "
            "continued.keep_checkpoints=1",
        )


def format_bytes(size: float) -> str:
    """Return a size in words.

    Example:
        >>> format_bytes(1_234), format_bytes(56_000_000), format_bytes(2_460_000_000)
        ('1 kB', '56 MB', '2.5 GB')
    """
    for unit, factor, digits in (("GB", 1e9, 1), ("MB", 1e6, 0)):
        if size >= factor:
            return f"{size / factor:.{digits}f} {unit}"
    return f"{size / 1e3:.0f} kB"


def format_duration(seconds: float) -> str:
    """Return a duration in words, without false precision.

    Example:
        >>> format_duration(40), format_duration(600), format_duration(9_000), format_duration(400_000)
        ('40 seconds', '10 minutes', '2.5 hours', '4.6 days')
    """
    steps: Sequence[tuple[str, float, float, int]] = (
        ("seconds", 1, 90, 0),
        ("minutes", 60, 5_400, 0),
        ("hours", 3_600, 172_800, 1),
    )
    for unit, factor, below, digits in steps:
        if seconds < below:
            return f"{seconds / factor:.{digits}f} {unit}"
    return f"{seconds / 86_400:.1f} days"
