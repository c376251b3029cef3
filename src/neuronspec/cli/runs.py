"""Runs as the command line names them: a configuration, changes to it, and the stages to run."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from neuronspec.cli.printing import quiet_libraries, say

if TYPE_CHECKING:
    from neuronspec.config.schema import Config
    from neuronspec.config.sections import Section
    from neuronspec.pipeline.layout import Layout
    from neuronspec.pipeline.status import StageState


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options that name a run and change its configuration.

    Attributes:
        source: YAML file, name of a recipe, or directory of an earlier run.
        overrides: `key=value` changes of the command line.
        out: Directory of the run; the configuration's if not given.
        seed: Seed of the run; the configuration's if not given.
        threads: Number of CPU threads; the configuration's if not given.
        changes: Changes that other options make, by dotted key, after the overrides.
        force: Whether stages that are done are run again.
        share_from: Directories of runs whose finished stages are shared where they are the same.
        dry_run: Whether only to print what would run.
    """

    source: str
    overrides: Sequence[str] | None = None
    out: Path | None = None
    seed: int | None = None
    threads: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    force: bool = False
    share_from: Sequence[Path] | None = None
    dry_run: bool = False

    def load(self) -> Config:
        """Return the configuration with all changes.

        Raises:
            NeuronspecError: If there is none, or it has problems.
        """
        from neuronspec.config.loading import load_config

        quiet_libraries()

        # Options of the command line are changes to the configuration; those that are not given leave it alone.
        options = {"out": None if self.out is None else str(self.out), "seed": self.seed, "threads": self.threads}
        given = {key: value for key, value in options.items() if value is not None}
        return load_config(self.source, self.overrides or (), _MethodOptions(), {**given, **self.changes})

    def run(self, stage: str | None = None, *, only: str | None = None) -> tuple[Config, Layout]:
        """Run one stage after what it needs, or every stage; return the configuration and where everything is.

        Args:
            stage: Name of the last stage to run; all of them if not given.
            only: Member of a group of stages: a method of `train`.

        Raises:
            NeuronspecError: If the configuration has problems, there is no such stage, or a stage fails.
            typer.Exit: After a dry run, which changes nothing.
        """
        config = self.load()  # before the pipeline is imported, which takes seconds
        from neuronspec.pipeline.plan import examine_run, execute_stages
        from neuronspec.pipeline.run import Run
        from neuronspec.pipeline.sharing import list_sources

        run = Run(config)
        sources = list_sources(self.share_from or (), self.source, run.layout)
        if self.dry_run:
            print_plan(examine_run(run, until=stage, only=only, force=self.force, share_from=sources))
            raise typer.Exit

        return config, execute_stages(run, until=stage, only=only, force=self.force, share_from=sources)


def print_plan(states: Sequence[StageState]) -> None:
    """Print which stages would run, and why."""
    words = {
        "done": "done",
        "unfinished": "resumes",
        "not done": "runs",
        "to be redone": "runs again",
        "to be shared": "is shared",
    }
    width = max(len(state.name) for state in states)
    for state in states:
        reason = f": {state.reason}" if state.reason else ""
        say(f"{state.name:{width}}  {words[state.state]}{reason}")


class _MethodOptions(Mapping[str, "type[Section]"]):
    """The options of every method, whose modules are imported only when a configuration with methods is checked."""

    @functools.cached_property
    def _options(self) -> Mapping[str, type[Section]]:
        from neuronspec.methods import method_options

        return method_options()

    def __getitem__(self, name: str) -> type[Section]:
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)
