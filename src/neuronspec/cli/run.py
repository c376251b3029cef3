"""`neuronspec run`: a whole configuration, from corpora to report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronspec.cli.console import print_table
from neuronspec.cli.options import AsJson, ConfigFile, DryRun, Force, Out, Overrides, Seed, ShareFrom, Threads
from neuronspec.cli.printing import note, print_json, say
from neuronspec.cli.runs import RunOptions

if TYPE_CHECKING:
    from neuronspec.config.schema import Config
    from neuronspec.pipeline.layout import Layout


def run(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Out = None,
    share_from: ShareFrom = None,
    seed: Seed = None,
    threads: Threads = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run every stage of a configuration, skipping those already done."""
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
    loaded, layout = options.run()
    print_results(loaded, layout, as_json)


def print_results(config: Config, layout: Layout, as_json: bool) -> None:
    """Print the main tables and the findings of a finished run."""
    from neuronspec.pipeline import summary
    from neuronspec.pipeline.neuron_analysis import REPORT_FILE
    from neuronspec.pipeline.run_results import load_results, tabulate

    # The same tables and findings as in the summary of the run
    report = load_results(config, layout)
    tables = tabulate(report)
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
