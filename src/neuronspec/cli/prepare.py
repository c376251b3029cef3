"""`neuronspec prepare`: text, vocabulary and tokens of a run."""

from __future__ import annotations

from neuronspec.cli.options import (
    ClusterOption,
    ConfigFile,
    DryRun,
    Force,
    Out,
    Overrides,
    Seed,
    ShareFrom,
    WorkersOption,
)
from neuronspec.cli.printing import note
from neuronspec.cli.runs import RunOptions

EXAMPLES = (
    ("Text, vocabulary and tokens of a run", "neuronspec prepare my.yaml"),
    ("A larger vocabulary", "neuronspec prepare my.yaml prepare.vocabulary.size=32000"),
)


def prepare(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Out = None,
    share_from: ShareFrom = None,
    seed: Seed = None,
    force: Force = False,
    dry_run: DryRun = False,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
) -> None:
    """Read the text, learn the vocabulary, and encode the text."""
    options = RunOptions(
        source=config,
        overrides=overrides,
        out=out,
        share_from=share_from,
        seed=seed,
        force=force,
        dry_run=dry_run,
        workers=workers,
        cluster=cluster,
    )
    _, layout = options.run("prepare")
    note(f"text, vocabulary and tokens are in {layout.out}")
