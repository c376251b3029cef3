"""`neuronspec run`: a whole configuration, from corpora to report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronspec.cli.console import print_table
from neuronspec.cli.options import (
    AsJson,
    ClusterOption,
    ConfigFile,
    DryRun,
    Force,
    Out,
    Overrides,
    Seed,
    ShareFrom,
    Threads,
    WorkersOption,
)
from neuronspec.cli.printing import note, print_json, say
from neuronspec.cli.runs import RunOptions, print_plan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from neuronspec.config.schema import Config
    from neuronspec.pipeline.layout import Layout
    from neuronspec.pipeline.sweeps import Sweep

EXAMPLES = (
    ("A configuration of yours, from corpora to report", "neuronspec run my.yaml"),
    ("A built-in recipe with changes", "neuronspec run iwslt train.updates=20000 --out runs/short"),
)


def run(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Out = None,
    share_from: ShareFrom = None,
    seed: Seed = None,
    threads: Threads = None,
    force: Force = False,
    dry_run: DryRun = False,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    as_json: AsJson = False,
) -> None:
    """Run every stage of a configuration, skipping those already done.

    A key with several values, such as select.k=[0.7,0.8], is a sweep: a run for each of them.
    """
    options = RunOptions(
        source=config,
        overrides=overrides,
        out=out,
        share_from=share_from,
        seed=seed,
        threads=threads,
        force=force,
        dry_run=dry_run,
        workers=workers,
        cluster=cluster,
    )
    if options.has_several_values():
        _run_sweep(options, as_json)
        return

    loaded, layout = options.run()
    print_results(loaded, layout, as_json)


def _run_sweep(options: RunOptions, as_json: bool) -> None:
    """Run every point of a sweep, and print the tables of all of them."""
    sweep = options.open_sweep()
    from neuronspec.pipeline.sharing import list_sources
    from neuronspec.pipeline.sweep_report import load_sweep, tabulate_sweep
    from neuronspec.pipeline.sweeps import execute_sweep, raise_failures

    sources = list_sources(options.share_from or (), options.source, sweep.out)
    if options.dry_run:
        _print_plans(sweep, sources, force=options.force)
        return

    with options.use_workers(sweep.out):
        failures = execute_sweep(sweep, sources, force=options.force)

    tables = tabulate_sweep(load_sweep(sweep, failures), failures)
    if as_json:
        points = {point.name: str(point.run.layout.out) for point in sweep.points if point.name not in failures}
        failed = {"failed": {name: str(error) for name, error in failures.items()}} if failures else {}
        print_json({"runs": points, **failed, **{name: table.to_json() for name, table in tables.items()}})
    else:
        # On a terminal, what comes last is read first.
        for table in reversed(tables.values()):
            print_table(table)
        note(f"Tables and figures of all points are in {sweep.report}; each point is a run in {sweep.out}.")

    # Points that failed end the command with an error after the results of the others.
    raise_failures(sweep, failures)


def _print_plans(sweep: Sweep, sources: Sequence[Path], *, force: bool) -> None:
    """Print which stages of each point would run, and why."""
    from neuronspec.pipeline.plan import examine_run
    from neuronspec.pipeline.sweeps import list_siblings

    # Points that are not there yet cannot share, although they will.
    for point in sweep.points:
        say(f"{point.name}:")
        siblings = list_siblings(sweep, point)
        print_plan(examine_run(point.run, force=force, share_from=[*sources, *siblings]))


def print_results(config: Config, layout: Layout, as_json: bool) -> None:
    """Print the main tables and the findings of a finished run."""
    from neuronspec.pipeline import summary
    from neuronspec.pipeline.neuron_analysis import REPORT_FILE
    from neuronspec.pipeline.run_results import load_results, tabulate

    # The same tables and findings as in the summary of the run
    report = load_results(config, layout)
    tables = tabulate(report) | summary.mark_alike(report)
    shown = summary.choose_shown(tables)
    if as_json:
        print_json({name: table.to_json() for name, table in shown.items()})
        return

    # On a terminal, what comes last is read first: averages and findings after the long table.
    for table in (tables["directions"], *shown.values()):
        print_table(table)
    for finding in summary.describe_scores(report):
        say(f"- {finding}")
    note(f"Everything is in {layout.out}: open {layout.report / REPORT_FILE} in a browser to explore the neurons.")
