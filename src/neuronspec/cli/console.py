"""What the verbs share: their arguments, configuration loading, and tables on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from neuronspec.config import Config
    from neuronspec.evaluation.tables import Table

ConfigFile = Annotated[str, typer.Argument(help="A YAML file, or the name of a recipe that ships (demo).")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to it: training.updates=500")
]
Force = Annotated[bool, typer.Option("--force", help="Do it again even if it is done.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Everything random follows from it.")]
Out = Annotated[Path | None, typer.Option("-o", "--out", help="Directory of everything that is made.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def load(
    source: str,
    overrides: Iterable[str] | None,
    out: Path | None = None,
    seed: int | None = None,
    threads: int | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Config:
    """Load a configuration with the overrides of the command line."""
    from neuronspec.methods import method_options
    from neuronspec.recipe import load_config

    quiet_libraries()
    options = {"out": None if out is None else str(out), "seed": seed, "threads": threads}
    given = {key: value for key, value in options.items() if value is not None}
    return load_config(source, overrides or (), method_options(), {**given, **(changes or {})})


def quiet_libraries() -> None:
    """Keep the progress bars and notices of other libraries off the terminal: ours is the only one."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def print_table(table: Table) -> None:
    """Print a table to stdout, as wide as the terminal allows."""
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = RichTable(title=table.title, title_justify="left", title_style="bold")
    for column, title in enumerate(table.header):
        shown.add_column(title, justify="left" if table.is_text(column) else "right", overflow="fold")
    for row in table.rows:
        shown.add_row(*(str(cell) for cell in row))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(shown)
    for note in table.notes:
        console.print(note, markup=False)
