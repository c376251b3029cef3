"""`neuronspec report`: the tables and findings of a run."""

from __future__ import annotations

from neuronspec.cli.options import AsJson, ConfigFile, DryRun, Force, Out, Overrides, Seed, ShareFrom
from neuronspec.cli.run import print_results
from neuronspec.cli.runs import RunOptions

EXAMPLES = (("The tables and the summary of a run", "neuronspec report runs/demo"),)


def report(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Out = None,
    share_from: ShareFrom = None,
    seed: Seed = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make the tables and the summary of a run from its scores."""
    options = RunOptions(
        source=config, overrides=overrides, out=out, share_from=share_from, seed=seed, force=force, dry_run=dry_run
    )
    loaded, layout = options.run("report")
    print_results(loaded, layout, as_json)
