"""A problem that a check has found, and what follows from it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from neuronspec.errors import NeuronspecError

logger = logging.getLogger(__name__)

Level = Literal["error", "warning", "note"]
_LISTED = 5  # places in a message
LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that is wrong or worth knowing before work begins.

    Attributes:
        level: Severity. `error`: the work would stop. `warning`: it would end in something that nobody wants. `note`:
            worth knowing.
        subject: Part that it concerns: a key of the configuration, a text, a model, a file.
        message: Sentence about what was found.
        fix: Way to fix it, such as `train.warmup=30`; empty if the message says it, or nothing can be done.
    """

    level: Level
    subject: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        fix = f"; fix: {self.fix}" if self.fix else ""
        return f"{self.message}{fix}"

    def as_dict(self) -> dict[str, str]:
        """Return the problem as JSON values."""
        return dict(asdict(self))


def sort_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Return each problem once, the most severe first and otherwise in their order."""
    return sorted(dict.fromkeys(problems), key=lambda problem: LEVELS.index(problem.level))


def has_errors(problems: Iterable[Problem]) -> bool:
    """Return whether one of the problems would stop the work."""
    return any(problem.level == "error" for problem in problems)


def list_places(places: Sequence[str]) -> str:
    """Return places of a problem as one phrase, the first of many.

    Example:
        >>> list_places(["en-de", "en-fr"]), list_places(["a", "b", "c", "d", "e", "f", "g"])
        ('en-de, en-fr', 'a, b, c, d, e and 2 more')
    """
    more = f" and {len(places) - _LISTED} more" if len(places) > _LISTED else ""
    return ", ".join(places[:_LISTED]) + more


def catch_errors(check: Callable[[], object], subject: str) -> Iterator[Problem]:
    """Yield the error that a function raises, if it raises one that users can fix.

    Args:
        check: Function without arguments.
        subject: Part that the function checks.
    """
    try:
        check()
    except NeuronspecError as error:
        yield Problem(level="error", subject=subject, message=str(error))


def announce_problems(problems: Iterable[Problem]) -> None:
    """Log the warnings, and refuse the work if there are errors.

    Raises:
        NeuronspecError: If there are errors; all of them are named.
    """
    found = sort_problems(problems)
    for problem in found:
        if problem.level == "warning":
            logger.warning("%s", problem)

    errors = [str(problem) for problem in found if problem.level == "error"]
    if len(errors) == 1:
        raise NeuronspecError(errors[0])
    if errors:
        listed = "\n".join(f"  - {error}" for error in errors)
        raise NeuronspecError(f"{len(errors)} problems stand in the way:\n{listed}")
