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
SteerOption = Annotated[
    Path | None,
    typer.Option("--steer", metavar="FILE", help="YAML or JSON file of neurons to scale, set or switch off."),
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Number of CPU threads.")]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Number of processes of this machine that share the work."),
]
ClusterOption = Annotated[
    str | None,
    typer.Option("--cluster", metavar="ADDRESS", help="Dask cluster that does the work: tcp://HOST:8786, or its file."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def refuse_inside_run(place: Path, option: str, force: bool | None = None) -> None:
    """Refuse to write into the directory of a run or a sweep, whose results belong to its stages.

    Args:
        place: File or directory to be written.
        option: Option that names it.
        force: Whether the user insists; None where the verb does not ask.

    Raises:
        NeuronspecError: If it is in such a directory.
    """
    from neuronspec.config.loading import holds_run, holds_sweep

    if force:
        return

    # A link may lead there, too.
    path = place.resolve()
    for folder in (path, *path.parents):
        if holds_run(folder) or holds_sweep(folder):
            found = "exists" if place.exists() else f"is in {folder}"
            insist = ", or give --force" if force is not None else ""
            raise NeuronspecError(
                f"{place} {found}: choose another {option}{insist}; {folder} holds the results of a run"
            )


def check_place(out: Path, force: bool, is_own: Callable[[Path], bool]) -> None:
    """Refuse to write results where something exists, or with `--force` where something other than such results is.

    Args:
        out: Directory to be written.
        force: Whether results may be replaced.
        is_own: Returns whether an entry of the directory is one of these results.

    Raises:
        NeuronspecError: If the place is taken.
    """
    refuse_inside_run(out, "--out", force)
    if not out.exists():
        return

    if not force:
        raise NeuronspecError(f"{out} exists: choose another --out, or give --force to replace it")

    # Even with --force, nothing is removed that this verb has not written.
    if not out.is_dir() or not all(map(is_own, out.iterdir())):
        raise NeuronspecError(f"{out} holds something else, which --force will not replace: choose another --out")

    # Replacing would follow a link out of the directory.
    refuse_links(out)
