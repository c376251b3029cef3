"""`neuronspec train`: the model of a run, or one of its methods."""

from __future__ import annotations

from typing import Annotated

import typer

from neuronspec.cli.options import ConfigFile, DryRun, Force, Out, Overrides, Seed, ShareFrom, Threads
from neuronspec.cli.printing import note
from neuronspec.cli.runs import RunOptions

EXAMPLES = (
    ("The model that is specialized later", "neuronspec train my.yaml"),
    ("The continued training with one method", "neuronspec train my.yaml --method neuron_specialization"),
)


def train(
    config: ConfigFile,
    overrides: Overrides = None,
    method: Annotated[
        str | None,
        typer.Option("-m", "--method", help="Continue training with this method of the configuration."),
    ] = None,
    out: Out = None,
    share_from: ShareFrom = None,
    seed: Seed = None,
    threads: Threads = None,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Train the model, or with --method continue to train it."""
    options = RunOptions(
        source=config,
        overrides=overrides,
        out=out,
        share_from=share_from,
        seed=seed,
        threads=threads,
        force=force,
        dry_run=dry_run,
    )

    # Without --method, the model that is specialized; with it, that model is trained first where it is missing.
    _, layout = options.run("train", only=method)
    from neuronspec.pipeline.layout import PRETRAINED

    note(f"the model is in {layout.model(method or PRETRAINED)}")
