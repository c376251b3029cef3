"""`neuronspec demo`: the whole idea on real text in a few minutes; the recipe `demo`, run by `neuronspec run`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuronspec.cli.options import AsJson, Force, Out, Overrides, Seed, Threads
from neuronspec.cli.printing import note
from neuronspec.cli.run import print_results
from neuronspec.cli.runs import RunOptions
from neuronspec.processes import work_alone

if TYPE_CHECKING:
    from neuronspec.config.schema import Config

# Duration that the numbers of updates in the recipe were chosen for
DEFAULT_MINUTES = 5.0

EXAMPLES = (
    ("Everything in about five minutes", "neuronspec demo"),
    ("A longer training, in another directory", "neuronspec demo --minutes 20 --out runs/demo-20"),
)


def demo(
    overrides: Overrides = None,
    out: Out = None,
    minutes: Annotated[
        float,
        typer.Option(
            min=0.1, max=100_000, help="Length of the training in minutes, as on the machine that 5 was measured on."
        ),
    ] = DEFAULT_MINUTES,
    text: Annotated[
        Path | None,
        typer.Option(help="File of the text, if it cannot be downloaded.", exists=True, dir_okay=False),
    ] = None,
    seed: Seed = None,
    threads: Threads = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Pretrain a small multilingual model, find its neurons, specialize it, and compare: about 5 minutes."""
    work_alone()

    # The recipe is loaded twice: its numbers of updates, with the overrides, are what is scaled.
    options = RunOptions(source="demo", overrides=overrides, out=out, seed=seed, threads=threads)
    recipe = options.load()
    config = replace(options, changes=_scale(recipe, minutes) | _choose_text(text)).load()
    if not as_json:
        _announce(config)

    # Imported after the checks and the announcement, since it takes seconds
    from neuronspec.pipeline.plan import execute_stages
    from neuronspec.pipeline.run import Run

    # From text to report, without the stages that are done
    layout = execute_stages(Run(config), force=force)
    print_results(config, layout, as_json)
    if not as_json:
        _print_outlook(layout.model("neuron_specialization"), config.out)


def _scale(recipe: Config, minutes: float) -> dict[str, Any]:
    """Return the recipe's numbers of updates for a training of about so many minutes."""
    # The time of a training grows with its number of updates; at least one is left.
    changes = {}
    for key, section in (("train", recipe.train), ("continued", recipe.continued)):
        updates = round(section.updates * minutes / DEFAULT_MINUTES)
        changes[f"{key}.updates"] = max(1, updates)
    return changes


def _choose_text(text: Path | None) -> dict[str, Any]:
    """Return the corpus of the demo: a file of the user's, or the one that is downloaded."""
    from neuronspec.data.quickstart import MEMBERS, fetch_text

    # `archive!members`: the catalogs are read from within the wheel.
    archive = (text or fetch_text()).absolute()
    return {"data.train": [{"path": f"{archive}!{MEMBERS}", "format": "catalog"}]}


def _announce(config: Config) -> None:
    """Say on stderr what will happen, and where."""
    languages = ", ".join([config.pivot, *config.languages])
    note(
        f"Pretraining on {languages}; then the same training twice more, plain and with specialized neurons. You "
        f"can interrupt it: the same command resumes. -> {config.out}",
        err=True,
    )


def _print_outlook(model: Path, out: Path) -> None:
    """Say what the demo shows, and what to try next."""
    note(
        *f"""
What this was: a model of a few million parameters, a few minutes of training, the short texts of one program's
interface. It shows that the parts work and fit together, and whether the selected neurons are the ones that matter: '+
specialized masks' against '+ random masks'. It does not show how large the gain of the method is on a real task: the
paper trained for days on 60 million sentence pairs.

Try next:
  neuronspec translate --model {model} en-de "The device could not be found."
  neuronspec demo --minutes 20 --out {out}-20
  neuronspec run {out} select.k=0.8 --out {out}-k80   # fewer neurons; all else is shared
  neuronspec run {out} "select.k=[0.7,0.8,0.9]" --out {out}-ks   # the gain for each k""".split("\n")
    )
