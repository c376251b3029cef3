"""The verbs that are one stage of a run: `prepare`, `train`, `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuronspec.cli.console import AsJson, ConfigFile, Force, Out, Overrides, Seed, Threads, load
from neuronspec.cli.printing import note


def run_stage(
    config: str,
    overrides: list[str] | None,
    out: Path | None,
    seed: int | None,
    force: bool,
    stage: str,
    only: str | None = None,
    threads: int | None = None,
) -> Path:
    """Run one stage of a configuration, and before it what it needs; return the output directory."""
    loaded = load(config, overrides, out, seed, threads)
    from neuronspec.pipeline.plan import execute_stages
    from neuronspec.pipeline.run import Run

    return execute_stages(Run(loaded), until=stage, only=only, force=force).out


def prepare(
    config: ConfigFile, overrides: Overrides = None, out: Out = None, seed: Seed = None, force: Force = False
) -> None:
    """Read the text, learn the vocabulary, encode."""
    directory = run_stage(config, overrides, out, seed, force, "prepare")
    note(f"text, vocabulary and tokens are in {directory}")


def train(
    config: ConfigFile,
    overrides: Overrides = None,
    method: Annotated[
        str | None,
        typer.Option("-m", "--method", help="Continue training with this method of the configuration."),
    ] = None,
    out: Out = None,
    seed: Seed = None,
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Train the model, or with --method continue to train it."""
    from neuronspec.pipeline.layout import PRETRAINED, Layout

    directory = run_stage(config, overrides, out, seed, force, "train", method, threads)
    note(f"the model is in {Layout(directory).model(method or PRETRAINED)}")


def report(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Out = None,
    seed: Seed = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make the tables and the summary of a run from its scores."""
    from neuronspec.cli.run import print_results
    from neuronspec.pipeline.layout import Layout

    directory = run_stage(config, overrides, out, seed, force, "report")
    print_results(load(config, overrides, out, seed), Layout(directory), as_json)
