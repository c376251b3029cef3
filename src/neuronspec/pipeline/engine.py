"""The engine of stages: each is done once for the same inputs, and redone, with the reason said, when one changes."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from neuronspec.config.schema import Config
from neuronspec.errors import NeuronspecError
from neuronspec.files import explained, hash_json, hash_path, read_json, write_json
from neuronspec.pipeline.layout import Layout
from neuronspec.version import __version__

logger = logging.getLogger(__name__)

# Reason of a stage that was interrupted; it resumes instead of starting again
UNFINISHED = "unfinished"


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
        parallel: Whether all processes run it together (`accelerate launch`); the first one alone otherwise.
    """

    name: str
    execute: Callable[[], None]
    settings: Mapping[str, Any]
    inputs: Sequence[Path]
    outputs: Sequence[Path]
    workspace: Sequence[Path] = ()
    parallel: bool = False


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
    stages: Iterable[Stage], layout: Layout, force: Iterable[str] = (), processes: PartialState | None = None
) -> None:
    """Run stages in order, leaving out those that are done.

    A stage is done when it finished from the same settings, the same content of its inputs and the same version of
    this package, and its outputs are still there as it left them.

    Args:
        stages: Stages in an order in which inputs come before what needs them.
        layout: Paths of the run, where stages keep their records.
        force: Names of stages to do again in any case.
        processes: The processes that run the same command together, where there are several.
    """
    forced = set(force)
    for stage in stages:
        # The first process decides for all of them, since all write to one directory.
        if processes is not None:
            _run_together(stage, layout, stage.name in forced, processes)
            continue

        # A single process decides and works in the same step.
        with _watched(stage, layout, stage.name in forced) as must_run:
            if must_run:
                stage.execute()


def _run_together(stage: Stage, layout: Layout, forced: bool, processes: PartialState) -> None:
    """Run a stage on several processes: the first one decides, and works alone where the stage is not parallel."""
    first = processes.is_main_process
    with _watched(stage, layout, forced) if first else contextlib.nullcontext(False) as decided:
        # Every process learns what the first one decided; the others yield `False` to themselves.
        must_run = broadcast_object_list([decided])[0]
        if must_run and (first or stage.parallel):
            stage.execute()

        # The record is written only after all processes have finished their part.
        processes.wait_for_everyone()


@contextlib.contextmanager
def _watched(stage: Stage, layout: Layout, forced: bool) -> Iterator[bool]:
    """Yield whether a stage must run; clear what it must not resume from, and record that it has run."""
    # What the stage was made from last time, and what it would be made from now, are compared.
    place = layout.record(stage.name)
    before = _read_record(place)
    now = {
        "settings": stage.settings,
        "inputs": {_name(path, layout): fingerprint(path, before) for path in stage.inputs},
        "version": __version__,
    }

    reason = "asked to" if forced else _find_reason(stage, before, now, layout)
    if reason is None:
        logger.info("%s: done before", stage.name)
        yield False
        return

    # A stage that runs for the first time, or resumes, needs no reason on the terminal.
    logger.info("%s%s", stage.name, f" again: {reason}" if before and reason != UNFINISHED else "")

    # Unfinished work is used only where it was made from the same, and nobody asked to start again.
    same_work = before is not None and not forced and not _list_changes(before["made_from"], now)
    _clear(stage, layout, resumes=same_work, keeps_outputs=reason == UNFINISHED, is_new=before is None)

    # The time of an interrupted run counts, too, if this one resumes from its work.
    spent = before["seconds"] if before is not None and same_work else 0.0
    started, outputs = time.monotonic(), None

    # Recorded as unfinished first, so that a killed stage is known as such.
    write_json(place, {"made_from": now, "outputs": outputs, "seconds": spent})
    try:
        # The caller does the work here. If it fails, the outputs stay None, and the stage is unfinished.
        yield True
        outputs = {_name(path, layout): fingerprint(path, None) for path in stage.outputs}
    finally:
        seconds = round(spent + time.monotonic() - started, 2)
        write_json(place, {"made_from": now, "outputs": outputs, "seconds": seconds})


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
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _read_record(path: Path) -> dict[str, Any] | None:
    """Return the record of a stage; an empty one if the file is damaged, so that the stage is redone."""
    if not path.is_file():
        return None
    try:
        # A record that lacks a key was cut short or edited: it is not trusted.
        record = dict(read_json(path))
        whole = {"made_from", "outputs", "seconds"} <= record.keys()
        if whole and {"settings", "inputs"} <= record["made_from"].keys():
            return record
    except (NeuronspecError, AttributeError, TypeError, ValueError):
        # It is as good as no record, but other than None: the outputs do belong to this run.
        pass

    return {"made_from": {"settings": {}, "inputs": {}, "version": "?"}, "outputs": None, "seconds": 0.0}


def fingerprint(path: Path, record: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what shows whether a file or directory has changed: a hash of its content, and sizes and times.

    Args:
        path: File or directory.
        record: Record of an earlier time, whose hash is trusted where sizes and times are the same.
    """
    # The stamp is cheap, and changes with any file's name, size or time.
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
    stamp = hash_json(stats)

    # Hashing large files is slow: where the stamp is known, the hash that went with it is reused.
    known = [] if record is None else [*record["made_from"]["inputs"].values(), *(record["outputs"] or {}).values()]
    for earlier in known:
        if earlier["stamp"] == stamp:
            return dict(earlier)

    return {"hash": hash_path(path) if path.exists() else None, "stamp": stamp}


def _find_reason(stage: Stage, before: dict[str, Any] | None, now: dict[str, Any], layout: Layout) -> str | None:
    """Return why a stage must run, or None if it is done."""
    if before is None:
        return "not done yet"
    if changes := _list_changes(before["made_from"], now):
        return "; ".join(changes)
    if before["outputs"] is None:
        return UNFINISHED

    # Everything it was made from is the same; the outputs may still be gone or edited.
    for path in stage.outputs:
        known = before["outputs"].get(_name(path, layout))
        if not path.exists() or known is None:
            return f"{path} is missing"
        if fingerprint(path, before)["hash"] != known["hash"]:
            return f"{path} was changed"
    return None


def _list_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differences between what a stage was made from and what it would be made from now, in words."""
    # Settings are compared key by key, so that the message names the key that changed.
    settings = _list_differences(before["settings"], now["settings"])
    changes = list(settings)

    for name in sorted({*before["inputs"], *now["inputs"]}):
        was, is_now = name in before["inputs"], name in now["inputs"]
        if was and is_now:
            if before["inputs"][name].get("hash") != now["inputs"][name].get("hash"):
                changes.append(f"{name} has changed")
        elif not settings:  # else it is a setting that asks for it, or no longer does
            changes.append(f"{name} is {'new' if is_now else 'gone'}")

    # Another version of the package may compute other results.
    if before["version"] != now["version"]:
        changes.append(f"neuronspec {before['version']} -> {now['version']}")
    return changes


def _list_differences(before: Any, now: Any, key: str = "") -> list[str]:
    # At a single value, or where one side is no section, the two are compared directly.
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        return [] if before == now else [f"{key}: {before} -> {now}"]

    lines = []
    for name in {**before, **now}:
        lines += _list_differences(before.get(name), now.get(name), f"{key}.{name}".lstrip("."))
    return lines


def _name(path: Path, layout: Layout) -> str:
    # Paths within the run are relative, so that a run that was moved stays done.
    return str(path.relative_to(layout.out)) if path.is_relative_to(layout.out) else str(path)
