"""The command of a verb: its help, with panels and examples, and what happens when it is interrupted."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

from neuronspec.cli.choices import CHOICES
from neuronspec.cli.modes import Mode

# A word such as `--model=~/nllb` or `de-en=~/news.tsv`, in which no shell replaces the tilde
_TILDE = re.compile(r"([^/~]*=)~(?=/|$)")
_NO_DASHES = "; keys of a configuration are written without dashes, as in train.updates=500"


class VerbInterruptedError(Exception):
    """Carries an interruption through typer, which would forget its message."""

    def __init__(self, interruption: KeyboardInterrupt) -> None:
        super().__init__(str(interruption))
        self.interruption = interruption


class VerbCommand(TyperCommand):
    """A verb of the command line.

    Its module may have `EXAMPLES`, pairs of a sentence and a command, which its help ends with, and `PANELS`, which
    maps a heading to a `Mode`: an option that only one of the modes reads is listed under its heading. Placeholders
    such as `{metrics}` in help texts stand for the names of what is registered.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of a command line."""
        home = str(Path.home())
        words = [_TILDE.sub(lambda found: f"{found[1]}{home}", word) for word in args]
        try:
            return super().parse_args(ctx, words)
        except Exception as error:
            # A key of a configuration that was taken for an option
            takes_keys = any(parameter.name in ("overrides", "what") for parameter in self.params)
            if type(error).__name__ == "NoSuchOption" and takes_keys:
                error.message += _NO_DASHES  # type: ignore[attr-defined]
            raise

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
        module = sys.modules[self.callback.__module__] if self.callback is not None else None
        panels: Mapping[str, Mode] = getattr(module, "PANELS", {})

        for parameter in self.get_params(ctx):
            _fill_choices(parameter)
            _group(parameter, panels)
            _show_as_flag(parameter)

        super().format_help(ctx, formatter)
        _print_examples(getattr(module, "EXAMPLES", ()))


class VerbGroup(TyperGroup):
    """All verbs."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        for parameter in self.get_params(ctx):
            _show_as_flag(parameter)
        super().format_help(ctx, formatter)


def _show_as_flag(parameter: Any) -> None:
    """Show no value after a flag, which takes none."""
    if getattr(parameter, "is_flag", False):
        parameter.display_type_rich = lambda ctx: None


def _fill_choices(parameter: Any) -> None:
    """Replace placeholders in the help of an option by the names of what is registered."""
    text = getattr(parameter, "help", None) or ""

    # Registries are imported only here, when the help is shown: it lists extensions, too.
    for placeholder, list_names in CHOICES.items():
        if placeholder in text:
            text = text.replace(placeholder, ", ".join(list_names()))
            parameter.help = text


def _group(parameter: Any, panels: Mapping[str, Mode]) -> None:
    """List an option under the heading of the only mode that reads it."""
    headings = [heading for heading, mode in panels.items() if parameter.name in mode.reads]
    is_option = parameter.opts[0].startswith("-")
    if is_option and len(headings) == 1:
        parameter.rich_help_panel = headings[0]


def _print_examples(examples: Sequence[tuple[str, str]]) -> None:
    """Print what each example does, and its command, which can be copied."""
    if not examples:
        return

    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(" Examples", style="bold"))
    for purpose, command in examples:
        console.print(Text(f"   {purpose}:", style="dim"))
        console.print(Text(f"     {command}"))
    console.print()
