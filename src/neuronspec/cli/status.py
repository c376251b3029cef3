"""`neuronspec status`: which stages of a run are done, since when, and which would run, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronspec.cli.console import print_table
from neuronspec.cli.options import AsJson, ConfigFile, Out, Overrides, Seed
from neuronspec.cli.printing import note, print_json
from neuronspec.cli.runs import RunOptions
from neuronspec.processes import work_alone

if TYPE_CHECKING:
    from neuronspec.comparison.tables import Table
    from neuronspec.pipeline.run import Run
    from neuronspec.pipeline.status import StageState

EXAMPLES = (
    ("The stages of a run", "neuronspec status runs/demo"),
    ("What a change would redo", "neuronspec status my.yaml select.k=0.9"),
)


def status(
    config: ConfigFile, overrides: Overrides = None, out: Out = None, seed: Seed = None, as_json: AsJson = False
) -> None:
    """Show which stages of a run are done and which would run, and why."""
    work_alone()
    options = RunOptions(source=config, overrides=overrides, out=out, seed=seed)
    runs = _open_runs(options)  # before the stages are planned, which takes seconds
    from neuronspec.pipeline.plan import examine_run

    states = {name: examine_run(run) for name, run in runs.items()}
    if as_json:
        values = {name: [state.as_dict() for state in found] for name, found in states.items()}
        print_json(values if len(values) > 1 else next(iter(values.values())))
        return

    for name, run in runs.items():
        print_table(_tabulate(states[name], f"Stages of {name} in {run.config.out}"))
    every = [state for found in states.values() for state in found]
    done = sum(not state.runs for state in every)
    rest = f"; neuronspec run {config} runs the others" if done < len(every) else ""
    note(f"{done} of {len(every)} stages are done{rest}")


def _open_runs(options: RunOptions) -> dict[str, Run]:
    """Return the run of a configuration by its name, or those of a sweep by theirs."""
    if options.has_several_values():
        return options.open_sweep().runs

    loaded = options.load()
    from neuronspec.pipeline.run import Run

    return {loaded.name: Run(loaded)}


def _tabulate(states: list[StageState], title: str) -> Table:
    """Return a table with a row for each stage."""
    from neuronspec.comparison.cells import Cell
    from neuronspec.comparison.tables import Table
    from neuronspec.statistics.numbers import show_seconds

    rows = []
    for state in states:
        taken = "" if state.seconds is None else show_seconds(state.seconds)
        texts = (state.name, state.state, state.finished or "", taken, state.reason)
        rows.append([Cell(text) for text in texts])
    return Table(title, ["stage", "state", "finished", "time", "why"], rows)
