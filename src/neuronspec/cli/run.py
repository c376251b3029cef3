"""`neuronspec run`: a whole configuration, from corpora to report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from neuronspec.cli.console import AsJson, ConfigFile, Force, Out, Overrides, Seed, Threads, load, print_table

if TYPE_CHECKING:
    from neuronspec.config import Config
    from neuronspec.pipeline.layout import Layout


def run(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Out = None,
    seed: Seed = None,
    threads: Threads = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Run every stage of a configuration; what is done already is left alone."""
    loaded = load(config, overrides, out, seed, threads)
    from neuronspec.pipeline.plan import run as run_pipeline

    layout = run_pipeline(loaded, force=force)
    print_results(loaded, layout, as_json)


def print_results(config: Config, layout: Layout, as_json: bool) -> None:
    """Print the table of averages and the findings of a finished run."""
    from neuronspec.pipeline import report
    from neuronspec.pipeline.plan import list_systems

    results = report.load_results(config, layout, list_systems(config))
    averages, costs = report.tabulate_averages(results), report.tabulate_costs(results)
    quality = report.tabulate_quality(results)
    if as_json:
        typer.echo(
            json.dumps(
                {"averages": averages.to_json(), "cost": costs.to_json(), "quality": quality.to_json()}, indent=2
            )
        )
        return
    print_table(report.tabulate_directions(results))
    print_table(averages)
    print_table(costs)
    print_table(quality)
    for finding in report.describe_findings(results, layout):
        typer.echo(f"- {finding}")
    typer.echo(f"Everything is in {layout.out}; read {layout.report / report.SUMMARY_FILE} first.")
