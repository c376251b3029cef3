"""Sweeps: a configuration in which keys have several values, and one ordinary run for each point of their grid."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from neuronspec.checking.problem import Problem, announce_problems
from neuronspec.config.loading import SWEEP_CONFIG, apply_change, holds_run, load_config, read_sweeps
from neuronspec.config.schema import Config
from neuronspec.config.sweeps import list_points, name_point
from neuronspec.directory_lock import DirectoryLock
from neuronspec.errors import NeuronspecError
from neuronspec.files import refuse_links, write_text
from neuronspec.methods import method_options
from neuronspec.names import child
from neuronspec.pipeline.plan import execute_stages, plan_stages
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.run_check import check_plan
from neuronspec.pipeline.sharing import check_sources, is_same_place, list_runs, list_sources
from neuronspec.processes import count_processes, is_first_process

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Point:
    """A point of a sweep: a value of each key, and the run with these values.

    Attributes:
        name: Name of the point, and of its directory: `select.k=0.7`.
        values: Value of each key, by dotted key.
        run: Ordinary run, which every verb can open.
    """

    name: str
    values: Mapping[str, Any]
    run: Run


@dataclass(frozen=True)
class Sweep:
    """Runs that differ in the values of some keys, in one directory.

    Attributes:
        out: Directory of the sweep, with the directory of each run, and with its report.
        points: Points in ascending order of their values.
        written: Values of the configuration as they are written, with all values of each key.
    """

    out: Path
    points: Sequence[Point]
    written: Mapping[str, Any]

    @property
    def keys(self) -> list[str]:
        """The keys that have several values."""
        return list(self.points[0].values)

    @property
    def runs(self) -> dict[str, Run]:
        """The run of each point, by the name of the point."""
        return {point.name: point.run for point in self.points}

    @property
    def report(self) -> Path:
        """Directory of the tables and figures of all points together."""
        return self.out / "report"


def sweep(
    source: str | Path,
    changes: Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    force: bool = False,
    share_from: str | Path | Sequence[str | Path] = (),
) -> Sweep:
    """Run a configuration in which keys have several values: a run for each point of the grid, and a joint report.

    The runs share every stage that does not depend on these keys. An interrupted sweep resumes with the same call, and
    a call with another value more makes only the run of that value.

    Args:
        source: YAML file, name of a shipped recipe (`demo`), or directory of an earlier run or sweep.
        changes: Changes to the configuration by dotted key: `{"select.k": [0.7, 0.8]}`.
        out: Directory of the sweep; by default the one that the configuration names.
        force: Whether to do everything again, without sharing.
        share_from: Directory, or directories, of other runs to share finished stages from.

    Returns:
        The sweep: `sweep.runs["select.k=0.7"]` opens its own model, masks, counts and text; tables and figures are in
        `sweep.report`.

    Raises:
        NeuronspecError: If no key has several values, the configuration has problems, or a stage of a point fails; the
            other points and the joint report are made before.

    Example:
        >>> ks = ns.sweep("my.yaml", {"select.k": [0.7, 0.8, 0.9]}, out="runs/ks")  # doctest: +SKIP
        >>> ks.runs["select.k=0.7"].load_masks().mean_sparsity()  # doctest: +SKIP
    """
    opened = open_sweep(source, out=out, changes=changes)
    given = [share_from] if isinstance(share_from, str | Path) else share_from
    failures = execute_sweep(opened, list_sources(given, source, opened.out), force=force)
    raise_failures(opened, failures)
    return opened


def open_sweep(
    source: str | Path,
    overrides: Iterable[str] = (),
    *,
    out: str | Path | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Sweep:
    """Open the runs of a configuration in which keys have several values.

    Args:
        source: YAML file, name of a shipped recipe, or directory of an earlier run or sweep.
        overrides: Changes to the configuration, `section.key=value` each.
        out: Directory of the sweep; by default the one that the configuration or `source` names.
        changes: Changes by dotted key, applied after the overrides.

    Raises:
        NeuronspecError: If no key has several values, the directory is that of a run, or a point has problems.
    """
    overrides, changes = list(overrides), dict(changes or {})
    if out is not None:
        changes["out"] = str(out)

    options = method_options()
    sweeps, written = read_sweeps(source, overrides, options, changes)
    if not sweeps:
        raise NeuronspecError(f"no key of {source} has several values: write them as a list, as in select.k=[0.7,0.8]")

    # A run and a sweep in one directory would mix their reports.
    directory = Path(str(written.get("out", Config.model_fields["out"].default))).expanduser()
    if holds_run(directory):
        raise NeuronspecError(
            f"{directory} holds a run: choose another --out for the sweep; --from {directory} shares its stages"
        )

    points: list[Point] = []
    for values in list_points(sweeps):
        # Each point is the configuration with one value of each key, in a directory of its own.
        name = name_point(values)
        place = {"out": str(child(directory, name))}
        config = load_config(source, overrides, options, {**changes, **values, **place}, warns=not points)
        points.append(Point(name, values, Run(config)))
    return Sweep(directory, points, written)


def execute_sweep(
    sweep: Sweep, share_from: Sequence[Path] = (), *, force: bool = False
) -> Mapping[str, NeuronspecError]:
    """Run every point that is not done, and write the tables and figures of all of them.

    A point that fails, such as one whose learning rate lets the training diverge, does not stop the others; the report
    says what it lacks. Several processes stop at the first failure, since not all of them may know of it.

    Args:
        sweep: The sweep.
        share_from: Directories of other runs to share finished stages from.
        force: Whether to do everything again, without sharing.

    Returns:
        The error of each point that failed, by the name of the point.

    Raises:
        NeuronspecError: If a point cannot be run here, another command works in the directory, or all points fail.
    """
    # What one point cannot do is refused before the work of another one; each point warns for itself.
    refuse_links(sweep.out)
    sources = {point.name: _list_others(share_from, point) for point in sweep.points}
    for point in sweep.points:
        check_sources(sources[point.name], point.run.layout)
    announce_problems(problem for problem in _check_points(sweep) if problem.level == "error")

    # The directory of each point has a lock of its own, so that a single one can be looked at and continued.
    with DirectoryLock(sweep.out) as lock:
        lock.acquire_together(sweep.points[0].run.processes)
        return _execute_points(sweep, sources, force=force)


def _execute_points(
    sweep: Sweep, sources: Mapping[str, Sequence[Path]], *, force: bool
) -> Mapping[str, NeuronspecError]:
    """Run every point, and write the tables and figures of all of them; return the error of each that failed."""
    if is_first_process():
        write_text(sweep.out / SWEEP_CONFIG, yaml.safe_dump(_describe(sweep), sort_keys=False, allow_unicode=True))

    failures: dict[str, NeuronspecError] = {}
    for number, point in enumerate(sweep.points, 1):
        logger.info("%s (%d of %d)", point.name, number, len(sweep.points))
        try:
            execute_stages(point.run, force=force, share_from=[*sources[point.name], *list_siblings(sweep, point)])
        except NeuronspecError as error:
            if count_processes() > 1:
                raise
            logger.warning("%s failed: %s", point.name, error)
            failures[point.name] = error

    # Without a single result, there is nothing to report.
    if len(failures) == len(sweep.points):
        raise_failures(sweep, failures)

    # Tables and figures take seconds: they are made anew each time.
    from neuronspec.pipeline.sweep_report import write_sweep_report

    if is_first_process():
        write_sweep_report(sweep, failures)
    return failures


def raise_failures(sweep: Sweep, failures: Mapping[str, NeuronspecError]) -> None:
    """Raise an error that names the points that failed, and what the same call does next; nothing if there are none.

    Raises:
        NeuronspecError: If there are some.
    """
    if not failures:
        return
    listed = "\n".join(f"  - {name}: {error}" for name, error in failures.items())
    others = f"the report of the others is in {sweep.report}; " if len(failures) < len(sweep.points) else ""
    raise NeuronspecError(
        f"{len(failures)} of {len(sweep.points)} points failed; {others}the same command keeps what is done and tries "
        f"them again:\n{listed}"
    )


def _list_others(share_from: Sequence[Path], point: Point) -> list[Path]:
    """Return the runs to share from without the point itself, from which a sweep may have been extended."""
    return [place for place in share_from if not is_same_place(place, point.run.layout.out)]


def _check_points(sweep: Sweep) -> Iterator[Problem]:
    """Yield the problems that stand in the way of the points."""
    for point in sweep.points:
        yield from check_plan(point.run, plan_stages(point.run))


def list_siblings(sweep: Sweep, point: Point) -> list[Path]:
    """Return the directories of the other points that have been started, of this call or an earlier one."""
    own = point.run.layout.out
    return [place for place in list_runs(sweep.out) if not is_same_place(place, own)]


def _describe(sweep: Sweep) -> dict[str, Any]:
    """Return the configuration of a sweep, which is the same from wherever it is read."""
    # Paths of corpora are relative to the file that names them: the configurations of points have them in full.
    dumps = [point.run.config.model_dump(mode="json") for point in sweep.points]
    described = {**sweep.written, "out": str(sweep.out), "data": dumps[0]["data"]}

    # Several corpora to choose from are written out in full as well.
    for key in sweep.keys:
        if key.split(".")[0] == "data":
            found = [_find_value(dump, key) for dump in dumps]
            apply_change(described, key, [value for number, value in enumerate(found) if value not in found[:number]])
    return described


def _find_value(values: Mapping[str, Any], key: str) -> Any:
    value: Any = values
    for part in key.split("."):
        value = value[part]
    return copy.deepcopy(value)
