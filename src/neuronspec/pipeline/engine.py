"""The engine of stages: each is done once for the same inputs, and redone, with the reason said, when one changes."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from neuronspec.config.schema import Config
from neuronspec.durability import remove
from neuronspec.errors import NeuronspecError
from neuronspec.files import explained, write_json
from neuronspec.interruption import explained_interruption
from neuronspec.pipeline.content_hashes import ContentHashes
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.records import (
    UNFINISHED,
    Record,
    describe_origin,
    find_reason,
    list_changes,
    read_record,
)
from neuronspec.pipeline.sharing import find_finished, share_outputs
from neuronspec.statistics.numbers import show_seconds

logger = logging.getLogger(__name__)

# Message of an interrupted stage that has no better one
STARTS_AGAIN = "{stage} was not finished; the same command keeps the stages that are done and starts {stage} again"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A step of the pipeline.

    Attributes:
        name: Name of the stage: `prepare`, `train`, `translate.pretrained`.
        execute: Function that does the work, and writes every output whole.
        settings: Part of the configuration that decides the result, as JSON values.
        inputs: Files and directories that decide the result.
        outputs: Files and directories that `execute` writes.
        workspace: Files and directories of unfinished work, from which it resumes; emptied when the inputs change.
        logs: Files next to the outputs that are appended to while it works; a run that shares the outputs copies them.
        parallel: Whether all processes run it together (`accelerate launch`); the first one alone otherwise.
        describe: Function that says in a few words what the outputs hold, once they are there.
    """

    name: str
    execute: Callable[[], None]
    settings: Mapping[str, Any]
    inputs: Sequence[Path]
    outputs: Sequence[Path]
    workspace: Sequence[Path] = ()
    logs: Sequence[Path] = ()
    parallel: bool = False
    describe: Callable[[], str] = lambda: "done"


def choose_settings(config: Config, *keys: str) -> dict[str, Any]:
    """Return sections or single keys of a configuration, as JSON, without the keys that do not change the result.

    Args:
        config: The configuration.
        keys: Names of sections (`train`) or dotted keys (`data.too_long`).
    """
    # Keys without an effect on results are gone here, so that changing one redoes nothing.
    values = config.effective()
    settings = {}
    for key in keys:
        # A dotted key leads from section to section down to its value.
        value: Any = values
        for part in key.split("."):
            value = value[part]
        settings[key] = value
    return settings


def run_stages(
    stages: Iterable[Stage],
    layout: Layout,
    force: Iterable[str] = (),
    processes: PartialState | None = None,
    *,
    share_from: Sequence[Path] = (),
    announce: Callable[[], bool] = lambda: False,
) -> None:
    """Run stages in order, leaving out those that are done, and sharing those that another run has done.

    A stage is done when it finished from the same settings, the same content of its inputs and the same version of
    this package, and its outputs are still there as it left them.

    Args:
        stages: Stages in an order in which inputs come before what needs them.
        layout: Paths of the run, where stages keep their records.
        force: Names of stages to do again in any case.
        processes: The processes that run the same command together, where there are several.
        share_from: Directories of runs whose finished stages are taken where they were made from the same.
        announce: Function that is called before a stage changes anything, by the process that decides. It returns
            whether others could change the directory up to now, so that the decision has to be made again.
    """
    hashes = ContentHashes(layout, share_from)
    watched = functools.partial(_watched, layout=layout, hashes=hashes, sources=share_from, announce=announce)
    forced, stages = set(force), list(stages)
    for number, stage in enumerate(stages, 1):
        label = f"stage {number} of {len(stages)}, {stage.name}"
        watch = functools.partial(watched, stage, label=label, forced=stage.name in forced)

        # The first process decides for all of them, since all write to one directory.
        if processes is not None:
            _run_together(stage, watch, processes)
            continue

        # A single process decides and works in the same step.
        with watch() as must_run:
            if must_run:
                _execute(stage)


def _run_together(stage: Stage, watch: Callable[[], AbstractContextManager[bool]], processes: PartialState) -> None:
    """Run a stage on several processes: the first one decides, and works alone where the stage is not parallel."""
    first = processes.is_main_process
    with watch() if first else contextlib.nullcontext(False) as decided:
        # Every process learns what the first one decided; the others yield `False` to themselves.
        must_run = broadcast_object_list([decided])[0]
        if must_run and (first or stage.parallel):
            _execute(stage)

        # The record is written only after all processes have finished their part.
        processes.wait_for_everyone()


def _execute(stage: Stage) -> None:
    with explained_interruption(STARTS_AGAIN.format(stage=stage.name)):
        stage.execute()


@contextlib.contextmanager
def _watched(
    stage: Stage,
    *,
    label: str,
    layout: Layout,
    hashes: ContentHashes,
    forced: bool,
    sources: Sequence[Path],
    announce: Callable[[], bool],
) -> Iterator[bool]:
    """Yield whether a stage must run; clear what it must not resume from, and record that it has run.

    One line says what became of the stage; another one says before the work why a finished stage runs again.
    """
    # Another command may have done the stage until the directory became ours.
    before, now, reason = _decide(stage, layout, hashes, forced=forced)
    if reason is not None and announce():
        before, now, reason = _decide(stage, layout, hashes, forced=forced)

    if reason is None:
        hashes.save()
        logger.info("%s: done before", label)
        yield False
        return

    # What another run has made from the same need not be made again.
    place = layout.record(stage.name)
    if not forced and _share(stage, layout, before, now, sources, hashes, label=label):
        yield False
        return

    # A stage that runs for the first time, or resumes, needs no reason on the terminal.
    if before and reason != UNFINISHED:
        logger.info("%s again: %s", label, reason)

    # Unfinished work is used only where it was made from the same, and nobody asked to start again.
    same_work = before is not None and not forced and not list_changes(before["made_from"], now)
    _clear(stage, layout, resumes=same_work, keeps_outputs=reason == UNFINISHED, is_new=before is None)

    # The time of an interrupted run counts, too, if this one resumes from its work.
    spent = before["seconds"] if before is not None and same_work else 0.0
    started, outputs = time.monotonic(), None

    # Recorded as unfinished first, so that a killed stage is known as such.
    write_json(place, {"made_from": now, "outputs": outputs, "seconds": spent})
    try:
        # The caller does the work here. If it fails, the outputs stay None, and the stage is unfinished.
        yield True
        outputs = hashes.take(stage.outputs)
    finally:
        seconds = round(spent + time.monotonic() - started, 2)
        finished = None if outputs is None else datetime.now(UTC).isoformat(timespec="seconds")
        write_json(place, {"made_from": now, "outputs": outputs, "seconds": seconds, "finished": finished})

    # Only a stage that did not fail comes here.
    hashes.save()
    logger.info("%s: %s (%s)", label, stage.describe(), show_seconds(seconds))


def _decide(
    stage: Stage, layout: Layout, hashes: ContentHashes, *, forced: bool
) -> tuple[Record | None, dict[str, Any], str | None]:
    """Return the record of a stage, what it would be made from now, and why it must run; no reason if it is done."""
    before = read_record(layout.record(stage.name))
    now = describe_origin(stage, hashes)
    return before, now, "asked to" if forced else find_reason(stage, before, now, layout, hashes)


def _share(
    stage: Stage,
    layout: Layout,
    before: Record | None,
    now: dict[str, Any],
    sources: Sequence[Path],
    hashes: ContentHashes,
    *,
    label: str,
) -> bool:
    """Take the results of a stage from another run that made them from the same; return whether there is one."""
    found = find_finished(stage, layout, now, sources)
    if found is None:
        return False

    # As before a stage runs: what was there is cleared, and the record says that nothing is finished.
    _clear(stage, layout, resumes=False, keeps_outputs=False, is_new=before is None)
    place = layout.record(stage.name)
    write_json(place, {"made_from": now, "outputs": None, "seconds": 0.0})

    shared = share_outputs(stage, layout, found, hashes, label=label)
    if shared is None:  # the other run was changed meanwhile
        _clear(stage, layout, resumes=False, keeps_outputs=False, is_new=False)
        return False
    write_json(place, {"made_from": now, **shared})
    hashes.save()
    return True


def _clear(stage: Stage, layout: Layout, *, resumes: bool, keeps_outputs: bool, is_new: bool) -> None:
    """Remove what a stage must not resume from: only unfinished work of the same settings and inputs is used.

    Raises:
        NeuronspecError: If a stage that never ran would replace something; it may be the user's own.
    """
    # Work from other settings or inputs would end in a mixture of two results.
    workspace = () if resumes else stage.workspace
    outputs = () if keeps_outputs else stage.outputs  # a changed output must not pass for a finished part
    stale = [*workspace, *outputs]

    # The whole list is checked before anything is removed.
    for path in stale:
        if is_new and path.exists():
            raise NeuronspecError(f"{path} exists and was not made by this run: choose another --out, or move it away")

    with explained(layout.out):
        for path in stale:
            remove(path)
