"""Runs as the command line names them: a configuration, changes to it, and the stages to run."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from neuronspec.cli.printing import quiet_libraries, say
from neuronspec.errors import NeuronspecError

if TYPE_CHECKING:
    from neuronspec.config.schema import Config
    from neuronspec.config.sections import Section
    from neuronspec.pipeline.layout import Layout
    from neuronspec.pipeline.looks import Differences
    from neuronspec.pipeline.status import StageState
    from neuronspec.pipeline.sweeps import Sweep


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
        workers: Number of processes that share the work of stages that can be divided.
        cluster: Address or file of a Dask scheduler whose workers do that work.
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
    workers: int | None = None
    cluster: str | None = None

    def use_workers(self, out: Path) -> AbstractContextManager[None]:
        """Let the stages of the block have the workers that the user chose, which share the directory `out`."""
        from neuronspec.executors import use_workers

        return use_workers(self.workers, cluster=self.cluster, folders=[out])

    def load(self) -> Config:
        """Return the configuration with all changes.

        Raises:
            NeuronspecError: If there is none, or it has problems.
        """
        from neuronspec.config.loading import load_config

        quiet_libraries()
        return load_config(self.source, self.overrides or (), _MethodOptions(), self._list_changes())

    def has_several_values(self) -> bool:
        """Return whether keys of the configuration have several values, each of which is a run.

        Raises:
            NeuronspecError: If there is no configuration.
        """
        from neuronspec.config.loading import read_sweeps

        quiet_libraries()
        sweeps, _ = read_sweeps(self.source, self.overrides or (), _MethodOptions(), self._list_changes())
        return bool(sweeps)

    def open_sweep(self) -> Sweep:
        """Return the runs of a configuration whose keys have several values.

        Raises:
            NeuronspecError: If the configuration has problems.
        """
        from neuronspec.pipeline.sweeps import open_sweep

        return open_sweep(self.source, self.overrides or (), changes=self._list_changes())

    def _list_changes(self) -> dict[str, Any]:
        """Return the changes that options make; those that are not given leave the configuration alone."""
        options = {"out": None if self.out is None else str(self.out), "seed": self.seed, "threads": self.threads}
        given = {key: value for key, value in options.items() if value is not None}
        return {**given, **self.changes}

    @property
    def _makes_changes(self) -> bool:
        """Whether the command line changes the configuration, its place apart."""
        return bool(self.overrides or self.changes or self.seed is not None)

    def list_replaced(self, config: Config, stage: str | None, *, only: str | None = None) -> Mapping[str, Differences]:
        """Return the finished stages that nobody asked to replace, with what would make them differ.

        A change of the command line is no such wish, and neither is a configuration file that lacks what an earlier
        command line has added; an edit of that file is.

        Args:
            config: The configuration with all changes.
            stage: Last stage to run; all of them if not given.
            only: Member of a group of stages.
        """
        from neuronspec.config.loading import holds_run

        if self.force or not holds_run(config.out):
            return {}

        # Nothing was changed, or in the file alone
        is_same = Path(self.source).resolve() == config.out.resolve()
        if not self._makes_changes and (is_same or self._is_edited(config.out)):
            return {}

        from neuronspec.pipeline.looks import list_replaced
        from neuronspec.pipeline.run import Run

        base = self._load_base(config.out)
        return list_replaced(Run(config), None if base is None else Run(base), stage, only=only)

    def _is_edited(self, out: Path) -> bool:
        """Return whether the configuration file was written after a run has stored its configuration."""
        from neuronspec.config.loading import STORED_CONFIG, find_config, holds_run

        # The configuration of another run is not edited by hand.
        if holds_run(Path(self.source)):
            return False
        written, stored = find_config(self.source), out / STORED_CONFIG
        return written.stat().st_mtime_ns > stored.stat().st_mtime_ns

    def _load_base(self, out: Path) -> Config | None:
        """Return the configuration of a directory without changes of the command line; None if it lacks something."""
        from neuronspec.config.loading import load_config

        # A run knows best what it was made from, unless its file has been edited since.
        source = self.source if self._is_edited(out) else out
        try:
            return load_config(source, (), _MethodOptions(), {"out": str(out)}, warns=False)
        except NeuronspecError:
            return None

    def run(self, stage: str | None = None, *, only: str | None = None) -> tuple[Config, Layout]:
        """Run one stage after what it needs, or every stage; return the configuration and where everything is.

        Args:
            stage: Name of the last stage to run; all of them if not given.
            only: Member of a group of stages: a method of `train`.

        Raises:
            NeuronspecError: If the configuration has problems, there is no such stage, a change of the command line
                would replace finished results, or a stage fails.
            typer.Exit: After a dry run, which changes nothing.
        """
        config = self.load()  # before the pipeline is imported, which takes seconds
        return self.run_loaded(config, stage, only=only)

    def run_loaded(self, config: Config, stage: str | None = None, *, only: str | None = None) -> tuple[Config, Layout]:
        """Do as `run` does with a configuration that is loaded already."""
        from neuronspec.config.loading import holds_run
        from neuronspec.pipeline.looks import refuse_replacing
        from neuronspec.pipeline.plan import examine_run, execute_stages
        from neuronspec.pipeline.run import Run
        from neuronspec.pipeline.sharing import list_sources

        # A dry run shows what would run even where the command itself would be refused.
        run = Run(config)
        sources = list_sources(self.share_from or (), self.source, run.layout.out)
        if self.dry_run:
            print_plan(examine_run(run, until=stage, only=only, force=self.force, share_from=sources))

        # Whoever asks for one stage, or names a run by its directory, must not lose its results by a word too much.
        if stage is not None or holds_run(Path(self.source)):
            replaced = self.list_replaced(config, stage, only=only)
            refuse_replacing(replaced, run, "" if self._makes_changes else f"give {config.out} to keep them, ")
        if self.dry_run:
            raise typer.Exit

        with self.use_workers(run.layout.out):
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
