"""Results of one run that are taken over by another: linked, not made again, where both make them from the same."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronspec.artifacts.cards import CARD_FILE
from neuronspec.config.loading import holds_run, holds_sweep
from neuronspec.errors import NeuronspecError
from neuronspec.files import publish, publish_link
from neuronspec.models.directories import GENERATION_FILE
from neuronspec.pipeline.content_hashes import ContentHashes, State, list_files, name_path
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.records import Record, list_changes, read_record

if TYPE_CHECKING:
    from neuronspec.pipeline.engine import Stage

logger = logging.getLogger(__name__)

# Files of models that people and other programs edit in place: the other run must not change with them.
_EDITED = (CARD_FILE, GENERATION_FILE)


@dataclass(frozen=True)
class Finished:
    """A stage that another run has finished.

    Attributes:
        layout: Paths of that run.
        record: Its record of the stage.
        hashes: The hashes of its files.
    """

    layout: Layout
    record: Record
    hashes: ContentHashes

    def place(self, path: Path, layout: Layout) -> Path:
        """Return where that run has what this run, with its own layout, has at a path."""
        return self.layout.out / name_path(path, layout)


def list_sources(share_from: Iterable[str | Path], source: str | Path, out: Path) -> list[Path]:
    """Return the directories of the runs to share from: those that were named, and those of the source.

    Args:
        share_from: Directories of runs, or of sweeps, whose runs all count.
        source: Source of the configuration: where it is another directory of results, its runs count as well.
        out: Directory of this run or sweep.
    """
    places = [Path(place) for place in share_from]
    if list_runs(Path(source)) and not is_same_place(Path(source), out):
        places.append(Path(source))
    return [run for place in places for run in list_runs(place) or [place]]


def list_runs(place: Path) -> list[Path]:
    """Return the directories of the runs in a place: of a run itself, or of the points of a sweep."""
    if holds_run(place):
        return [place]
    return [path for path in sorted(place.iterdir()) if holds_run(path)] if holds_sweep(place) else []


def check_sources(sources: Iterable[Path], layout: Layout) -> None:
    """Refuse to share from what is no run, or from the run itself.

    Raises:
        NeuronspecError: If there is such a source.
    """
    for place in sources:
        if not holds_run(place):
            raise NeuronspecError(f"{place} holds no run to share from: give the directory of a run")
        if is_same_place(place, layout.out):
            raise NeuronspecError(f"{place} cannot share from itself: choose another --out")


def is_same_place(one: Path, other: Path) -> bool:
    """Return whether two paths, which need not exist, name the same directory."""
    return one.resolve() == other.resolve()


def find_finished(stage: Stage, layout: Layout, now: Mapping[str, Any], sources: Sequence[Path]) -> Finished | None:
    """Return the first of several runs that has finished a stage from the same, with what it left intact.

    Args:
        stage: Stage of this run.
        layout: Paths of this run.
        now: Result of `describe_origin` for this run.
        sources: Directories of the other runs.
    """
    for source in sources:
        theirs = Layout(source)
        record = read_record(theirs.record(stage.name))

        # The same settings, version and content of the inputs, under the same names
        if record is None or record["outputs"] is None or list_changes(record["made_from"], now):
            continue

        found = Finished(theirs, record, ContentHashes(theirs))
        if all(_is_intact(path, layout, found) for path in stage.outputs):
            return found
    return None


def _is_intact(path: Path, layout: Layout, found: Finished) -> bool:
    """Return whether the other run still has what its record says."""
    known, place = found.record["outputs"].get(name_path(path, layout)), found.place(path, layout)
    if known is None or not place.exists():
        return False
    return bool(found.hashes.hash(place) == known["hash"])


def share_outputs(
    stage: Stage, layout: Layout, found: Finished, hashes: ContentHashes, *, label: str
) -> dict[str, Any] | None:
    """Take over what another run made: its files get a second name here; its log and notes about models are copied.

    Args:
        stage: Stage of this run, whose outputs are not there.
        layout: Paths of this run.
        found: The stage of the other run, which is not changed.
        hashes: Hashes of the contents of this run's files.
        label: Name of the stage, with its number, for the terminal.

    Returns:
        What is new in the record of the stage; None if the other run was changed meanwhile.
    """
    # Everything that a reader needs is there before the outputs are.
    try:
        for log in stage.logs:
            _copy_log(found.place(log, layout), log)
        known_files = [_find_known(found.place(path, layout), path, found) for path in stage.outputs]
        linked = [publish_link(found.place(path, layout), path, copied=_EDITED) for path in stage.outputs]
        for path, state, content in itertools.chain(*known_files):
            hashes.adopt(path, state, content)
    except FileNotFoundError:
        return None

    # What was linked is not hashed again; what was copied is.
    outputs = hashes.take(stage.outputs)
    known = found.record["outputs"]
    if any(outputs[name]["hash"] != known[name]["hash"] for name in outputs):
        return None

    copied = "" if all(linked) else " (copied: they cannot be linked here)"
    logger.info("%s: shared from %s%s", label, found.layout.out, copied)
    times = {"seconds": found.record["seconds"], "finished": found.record.get("finished")}
    return {"outputs": outputs, **times, "shared_from": str(found.layout.out)}


def _find_known(place: Path, path: Path, found: Finished) -> list[tuple[Path, State, str]]:
    """Return the files of an output: where this run will have them, and their states and hashes in the other run."""
    files = list_files(place, found.layout) if place.is_dir() else [place]
    known = [(file, found.hashes.find(file)) for file in files]
    return [(path / file.relative_to(place), *entry) for file, entry in known if entry is not None]


def _copy_log(source: Path, target: Path) -> None:
    """Copy a log, if there is one: it may be appended to, so that both runs need their own."""
    if source.is_file():
        with publish(target) as temporary:
            shutil.copy2(source, temporary)
