"""Options and arguments that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from neuronspec.errors import NeuronspecError
from neuronspec.files import refuse_links

# Advice about options that only runs have, for other ways to use a verb
ONLY_RUNS = {
    "share_from": "--from: only a run shares stages; give its configuration or directory",
    "dry_run": "--dry-run is for the stages of a run: give a configuration or the directory of a run",
}

# The same words for the same option in every verb
ConfigFile = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG", help="YAML file, name of a built-in recipe (demo), or directory of an earlier run."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the configuration: train.updates=500."),
]
Force = Annotated[bool, typer.Option("--force", help="Repeat work that is already done, and replace its results.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print which stages would run, and why; change nothing.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of everything random.")]
Out = Annotated[Path | None, typer.Option("-o", "--out", help="Directory of the results.")]
ShareFrom = Annotated[
    list[Path] | None,
    typer.Option(
        "--from", metavar="RUN", help="Run whose finished stages are shared where they are the same. Repeatable."
    ),
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Number of CPU threads.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def check_place(out: Path, force: bool, is_own: Callable[[Path], bool]) -> None:
    """Refuse to write results where something exists, or with `--force` where something other than such results is.

    Args:
        out: Directory to be written.
        force: Whether results may be replaced.
        is_own: Returns whether an entry of the directory is one of these results.

    Raises:
        NeuronspecError: If the place is taken.
    """
    if not out.exists():
        return

    # Replacing would follow a link out of the directory.
    refuse_links(out)
    if not force:
        raise NeuronspecError(f"{out} exists: choose another --out, or give --force to replace it")

    # Even with --force, nothing is removed that this verb has not written.
    if not out.is_dir() or not all(map(is_own, out.iterdir())):
        raise NeuronspecError(f"{out} holds something else, which --force will not replace: choose another --out")
