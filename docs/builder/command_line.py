"""The reference of the command line, from the verbs themselves."""

from __future__ import annotations

import sys
from typing import Any

import typer

from neuronspec.cli.choices import CHOICES
from neuronspec.cli.main import app

PLACE = "<!-- every verb: the site shows the options and examples of each here -->"


def show_verbs(text: str) -> str:
    """Return the page of the command line with every verb in the place for them."""
    group: Any = typer.main.get_command(app)
    verbs = [describe_verb(name, command) for name, command in group.commands.items()]
    general = ["## Before the verb", "", *list_options(group.params)]
    return text.replace(PLACE, "\n".join([*general, *(line for verb in verbs for line in verb)]))


def describe_verb(name: str, command: Any) -> list[str]:
    """Return the lines about a verb: what it does, what it takes, and examples."""
    arguments = [parameter for parameter in command.params if not parameter.opts[0].startswith("-")]
    options = [parameter for parameter in command.params if parameter.opts[0].startswith("-")]
    words = " ".join(parameter.metavar or parameter.name.upper() for parameter in arguments)

    lines = ["", f"## {name}", "", f"```text\nneuronspec {name} [OPTIONS] {words}".rstrip() + "\n```"]
    lines += ["", " ".join(command.help.split("\n\n")[0].split()), ""]
    lines += [f"- `{parameter.metavar or parameter.name.upper()}`: {describe(parameter)}" for parameter in arguments]
    lines += ["", *list_options(options), ""]

    for purpose, example in getattr(sys.modules[command.callback.__module__], "EXAMPLES", ()):
        lines += [f"{purpose}:", "", f"```console\n$ {example}\n```", ""]
    return lines


def list_options(options: list[Any]) -> list[str]:
    """Return a table of options."""
    shown = [option for option in options if not option.hidden and option.name != "help"]
    rows = [f"| {' '.join(f'`{name}`' for name in names(option))} | {describe(option)} |" for option in shown]
    return ["| option | meaning |", "|---|---|", *rows]


def names(option: Any) -> list[str]:
    """Return the ways to write an option, the long one first."""
    return [*sorted(option.opts, key=len, reverse=True), *option.secondary_opts]


def describe(parameter: Any) -> str:
    """Return the help of a parameter, with the names of what is registered and its default."""
    text = parameter.help or ""
    for placeholder, list_names in CHOICES.items():
        if placeholder in text:
            text = text.replace(placeholder, ", ".join(f"`{name}`" for name in list_names()))

    default = parameter.default
    if isinstance(default, str | int | float) and not isinstance(default, bool):
        text += f" Default: `{default}`."
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
