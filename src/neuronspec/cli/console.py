"""What the verbs share: their arguments, configuration loading, and tables on the terminal."""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuronspec.cli.printing import fit
from neuronspec.errors import NeuronspecError
from neuronspec.files import refuse_links

if TYPE_CHECKING:
    from neuronspec.comparison.cells import Cell
    from neuronspec.comparison.tables import Table
    from neuronspec.config.schema import Config
    from neuronspec.config.sections import Section


ConfigFile = Annotated[str, typer.Argument(help="A YAML file, or the name of a recipe that ships (demo).")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to it: train.updates=500")
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
    from neuronspec.config.loading import load_config

    quiet_libraries()
    options = {"out": None if out is None else str(out), "seed": seed, "threads": threads}
    given = {key: value for key, value in options.items() if value is not None}
    return load_config(source, overrides or (), _MethodOptions(), {**given, **(changes or {})})


class _MethodOptions(Mapping[str, "type[Section]"]):
    """The options of every method, whose modules are imported only when a configuration with methods is checked."""

    @functools.cached_property
    def _options(self) -> Mapping[str, type[Section]]:
        from neuronspec.methods import method_options

        return method_options()

    def __getitem__(self, name: str) -> type[Section]:
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)


def check_place(out: Path, force: bool, is_own: Callable[[Path], bool]) -> None:
    """Refuse a place for results where something is, or with --force something else than such results.

    Args:
        out: the directory to be written.
        force: whether results may be replaced.
        is_own: whether an entry of the directory is of such results.

    Raises:
        NeuronspecError: it is there.
    """
    if not out.exists():
        return
    refuse_links(out)
    if not force:
        raise NeuronspecError(f"{out} exists: choose another --out, or give --force to replace it")
    if not out.is_dir() or not all(map(is_own, out.iterdir())):
        raise NeuronspecError(f"{out} holds something else, which --force will not replace: choose another --out")


def quiet_libraries() -> None:
    """Keep the progress bars and notices of other libraries off the terminal: ours is the only one."""
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    if "transformers" not in sys.modules:  # it will see them; importing it would take seconds
        return
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    logging.disable_default_handler()  # ours prints what is left
    logging.enable_propagation()


def print_table(table: Table, *, p_values: bool = False) -> None:
    """Print a table to stdout, as wide as the terminal allows; as wide as it is where there is no terminal."""
    from rich.console import Console
    from rich.style import Style
    from rich.table import Table as RichTable
    from rich.text import Text

    def style(cell: Cell) -> Style:
        if not cell.shade or math.isnan(cell.shade):
            return Style(bold=cell.bold)
        light = 255 - round(135 * min(1.0, abs(cell.shade)))  # black text stays readable on the darkest
        ground = f"#ff{light:02x}{light:02x}" if cell.shade < 0 else f"#{light:02x}{light:02x}ff"
        return Style(color="black", bgcolor=ground, bold=cell.bold)

    shown = RichTable(title=Text(fit(table.title), style="bold"), title_justify="left")
    levels = any(not isinstance(title, str) for title in table.header)
    for column, title in enumerate(table.header):
        heading = ("\n" * levels + fit(title)) if isinstance(title, str) else "\n".join(map(fit, title))
        shown.add_column(Text(heading), justify="left" if table.is_text(column) else "right", overflow="fold")
    for section, rows in table.blocks:
        shown.add_section()
        if section:
            shown.add_row(Text(fit(section), style="bold"))
        for row in rows:
            shown.add_row(*(Text(fit(cell.with_p_value if p_values else str(cell)), style=style(cell)) for cell in row))
    console = Console(highlight=False)
    if not sys.stdout.isatty():
        console.width = 10_000  # numbers are never broken into lines; notes are
        console.width = max(120, console.measure(shown).maximum)
    console.print(shown)
    for note in table.notes:
        console.print(fit(note), markup=False, width=min(120, console.width))
