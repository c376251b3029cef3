"""`neuronspec init`: a commented configuration for the files that it is pointed at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuronspec.cli.modes import Mode, reading
from neuronspec.cli.options import AsJson
from neuronspec.cli.printing import complain, note, print_json, say
from neuronspec.errors import NeuronspecError
from neuronspec.files import publish, write_text
from neuronspec.processes import work_alone

if TYPE_CHECKING:
    from neuronspec.proposal import Proposal

DEFAULT = Path("my.yaml")
OF_A_RECIPE = Mode(
    reads=reading("files", "out", "recipe", "force", "as_json"),
    advice="a recipe is copied as it is: leave these options out, or give your corpora instead of --recipe",
)
EXAMPLES = (
    ("A configuration for the corpora in a folder", "neuronspec init corpora -o my.yaml"),
    ("A copy of a built-in recipe", "neuronspec init --recipe iwslt"),
)


def init(
    context: typer.Context,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILES...",
            help="Corpora: files, folders, zip archives, or templates with {lang}, {src} and {tgt}.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="File to write.", show_default="my.yaml, or RECIPE.yaml")
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0.05, max=1_000_000, help="Time that the run should take on this machine, in minutes.")
    ] = 10.0,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME_OR_DIR", help="Pretrained model to start from; without it, one is trained."),
    ] = None,
    pivot: Annotated[
        str | None,
        typer.Option(metavar="CODE", help="Language that the others are paired with; English, if it is there."),
    ] = None,
    languages: Annotated[
        str | None, typer.Option(metavar="CODE,CODE", help="The other languages; by default all that are found.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME", help="Copy this shipped recipe instead, such as iwslt.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a commented configuration for your corpora: neuronspec init corpora -o my.yaml

    It finds the languages, the validation and the test text, and chooses settings that fit the amount of text, this
    machine and the time. Then: neuronspec run my.yaml
    """
    work_alone()
    path = out or (DEFAULT if recipe is None else Path(f"{recipe}.yaml"))
    _check_arguments(files, recipe, path, force)
    if recipe is not None:
        OF_A_RECIPE.check(context)
        _copy(recipe, path, as_json)
        return

    # Imported after the checks, since it takes seconds
    from neuronspec.proposal import propose

    wanted = [code.strip() for code in languages.split(",") if code.strip()] if languages else []
    proposal = propose(files or [], minutes=minutes, model=model, pivot=pivot, languages=wanted)
    _write(path, proposal.format_yaml(path))
    if as_json:
        print_json(_summarize(proposal, path))
    else:
        _report(proposal, path)


def _check_arguments(files: list[str] | None, recipe: str | None, path: Path, force: bool) -> None:
    if bool(files) == (recipe is not None):
        raise NeuronspecError("give your corpora, as in neuronspec init corpora -o my.yaml, or --recipe NAME, not both")
    if path.exists() and not force:
        raise NeuronspecError(f"{path} exists: choose another -o, or give --force to replace it")
    if path.is_dir():
        raise NeuronspecError(f"{path} is a folder: give the name of a file to -o, such as {path / 'my.yaml'}")
    if not path.parent.is_dir():
        raise NeuronspecError(f"the folder {path.parent} does not exist: create it, or choose another -o")


def _write(path: Path, text: str) -> None:
    """Write a configuration, if it is one that a run accepts."""
    from neuronspec.config import load_config
    from neuronspec.methods import method_options

    with publish(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        try:
            load_config(temporary, (), method_options())
        except NeuronspecError as error:
            raise NeuronspecError(str(error).replace(str(temporary), str(path))) from error


def _copy(recipe: str, path: Path, as_json: bool) -> None:
    from neuronspec.proposal import copy_recipe

    write_text(path, copy_recipe(recipe, path))
    if as_json:
        print_json({"path": str(path), "recipe": recipe})
    else:
        note(f"{path} is a copy of the recipe {recipe}: change what you like, then: neuronspec run {path}")


def _summarize(proposal: Proposal, path: Path) -> dict[str, Any]:
    found = proposal.discovery
    return {
        "path": str(path),
        "pivot": found.pivot,
        "languages": list(found.languages),
        "pairs": {part: found.count_pairs(part) for part in ("train", "valid", "test")},
        "settings": proposal.settings.values,
        "assumed": list(found.notes),
        "left_out": [{"path": one.path, "reason": one.reason} for one in found.left_out],
    }


def _report(proposal: Proposal, path: Path) -> None:
    """Say what was found, what was assumed and left out, and what to do next."""
    from neuronspec.proposal import NEXT_VERBS

    found = proposal.discovery
    for pair, count in found.count_pairs("train").items():
        say(f"{pair}: {count:,} sentence pairs")
    for assumption in found.notes:
        complain(f"assumed: {assumption}")
    for one in found.left_out:
        complain(f"not used: {one.path}: {one.reason}")
    note(f"{path} is written, for a run of about {proposal.minutes:g} minutes. Next:")
    note(*(f"  neuronspec {verb} {path}" for verb in NEXT_VERBS))
