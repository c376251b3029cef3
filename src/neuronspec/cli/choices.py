"""Names of what is registered, for help and completion; they are looked up only when they are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from typer.core import TyperCommand

# The format that is no file format: a table that fits the width of the terminal
TERMINAL = "terminal"


def list_corrections() -> list[str]:
    """Return the names of corrections of p-values."""
    from neuronspec.statistics.corrections import CORRECTIONS

    return list(CORRECTIONS)


def list_engines() -> list[str]:
    """Return the names of engines that translate."""
    from neuronspec.translation.engines import ENGINES

    return list(ENGINES)


def list_metrics() -> list[str]:
    """Return the names of metrics."""
    from neuronspec.evaluation.metrics import METRICS

    return list(METRICS)


def list_table_formats() -> list[str]:
    """Return the names of formats of tables, that of the terminal first."""
    from neuronspec.comparison.tables import TABLE_FORMATS

    return [TERMINAL, *TABLE_FORMATS]


CHOICES: Mapping[str, Callable[[], list[str]]] = {
    "{corrections}": list_corrections,
    "{engines}": list_engines,
    "{metrics}": list_metrics,
    "{table_formats}": list_table_formats,
}
"""Placeholder in a help text -> function that lists the names that take its place."""


class VerbInterruptedError(Exception):
    """Carries an interruption through typer, which would forget its message."""

    def __init__(self, interruption: KeyboardInterrupt) -> None:
        super().__init__(str(interruption))
        self.interruption = interruption


class VerbCommand(TyperCommand):
    """A verb whose help names what is registered in place of placeholders such as `{metrics}`."""

    def invoke(self, ctx: Any) -> Any:
        """Call the verb.

        Raises:
            VerbInterruptedError: If it is interrupted.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interruption:
            raise VerbInterruptedError(interruption) from interruption

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the verb."""
        for parameter in self.params:
            text = getattr(parameter, "help", None) or ""
            # Registries are imported only here, when the help is shown: it lists extensions, too.
            for placeholder, list_names in CHOICES.items():
                if placeholder in text:
                    text = text.replace(placeholder, ", ".join(list_names()))
                    parameter.help = text  # type: ignore[attr-defined]

        super().format_help(ctx, formatter)
