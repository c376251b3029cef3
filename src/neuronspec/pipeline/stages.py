"""Stages: work that is done once for the same inputs, and redone, with the reason said, when one changes."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from neuronspec.errors import NeuronspecError
from neuronspec.files import explained, hash_json, hash_path, read_json, write_json
from neuronspec.pipeline.layout import Layout
from neuronspec.version import __version__

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """A step of the pipeline.

    Args:
        name: `prepare`, `train`, `translate.pretrained`.
        run: does the work, and writes every output whole.
        settings: the part of the configuration that decides the result, as JSON values.
        inputs: files and directories that decide the result.
        outputs: files and directories that `run` writes.
        workspace: where unfinished work is kept, to go on with: emptied when the inputs change.
        parallel: whether all processes run it together (`accelerate launch`); the first one alone otherwise.
    """

    name: str
    run: Callable[[], None]
    settings: dict[str, Any]
    inputs: Sequence[Path]
    outputs: Sequence[Path]
    workspace: Sequence[Path] = field(default=())
    parallel: bool = False


def run_stages(
    stages: Iterable[Stage], layout: Layout, force: Iterable[str] = (), processes: PartialState | None = None
) -> None:
    """Run stages in order, leaving out those that are done.

    A stage is done when it finished from the same settings, the same content of its inputs and the same version of
    this package, and its outputs are still there as it left them.

    Args:
        stages: in an order in which inputs come before what needs them.
        layout: where they keep their records.
        force: names of stages to do again in any case.
        processes: the others that run the same command, where there are any.
    """
    forced = set(force)
    for stage in stages:
        if processes is None:
            with _watched(stage, layout, stage.name in forced) as must_run:
                if must_run:
                    stage.run()
        else:
            _run_together(stage, layout, stage.name in forced, processes)


@contextlib.contextmanager
def _watched(stage: Stage, layout: Layout, forced: bool) -> Iterator[bool]:
    """Yield whether a stage must run, clear what it must not go on from, and record that it has run."""
    record = layout.record(stage.name)
    before = _read_record(record)
    now = {
        "settings": stage.settings,
        "inputs": {_name(path, layout): fingerprint(path, before) for path in stage.inputs},
        "version": __version__,
    }
    reason = "asked to" if forced else _reason(stage, before, now, layout)
    if reason is None:
        logger.info("%s: done before", stage.name)
        yield False
        return
    same_work = before is not None and not forced and not _changes(before["made_from"], now)
    logger.info("%s%s", stage.name, f" again: {reason}" if before and reason != "unfinished" else "")
    # Only unfinished work is gone on with: a changed output must not pass for a finished part of it.
    stale = [*(() if same_work else stage.workspace), *(() if reason == "unfinished" else stage.outputs)]
    if before is None:
        _refuse_strangers(stale)
    with explained(layout.out):
        for path in stale:
            _remove(path)
    spent = before["seconds"] if before is not None and same_work else 0.0
    started, outputs = time.monotonic(), None
    write_json(record, {"made_from": now, "outputs": outputs, "seconds": spent})
    try:
        yield True
        outputs = {_name(path, layout): fingerprint(path, None) for path in stage.outputs}
    finally:
        seconds = round(spent + time.monotonic() - started, 2)
        write_json(record, {"made_from": now, "outputs": outputs, "seconds": seconds})


def _read_record(path: Path) -> dict[str, Any] | None:
    """Return the record of a stage; of a damaged one, a record of which nothing is true, so that it is redone."""
    if not path.is_file():
        return None
    try:
        record = read_json(path)
        if {"made_from", "outputs", "seconds"} <= record.keys() and {"settings", "inputs"} <= record[
            "made_from"
        ].keys():
            return dict(record)
    except (NeuronspecError, AttributeError):
        pass
    return {"made_from": {"settings": {}, "inputs": {}, "version": "?"}, "outputs": None, "seconds": 0.0}


def _refuse_strangers(paths: Iterable[Path]) -> None:
    """Refuse to replace what no stage has made: it may be the user's own."""
    for path in paths:
        if path.exists():
            raise NeuronspecError(f"{path} exists and was not made by this run: choose another --out, or move it away")


def _run_together(stage: Stage, layout: Layout, forced: bool, processes: PartialState) -> None:
    """Run a stage on several processes: the first one decides, and works alone where the stage is not parallel."""
    first = processes.is_main_process
    with _watched(stage, layout, forced) if first else contextlib.nullcontext(False) as decided:
        must_run = broadcast_object_list([decided])[0]
        if must_run and (first or stage.parallel):
            stage.run()
        processes.wait_for_everyone()


def fingerprint(path: Path, record: dict[str, Any] | None) -> dict[str, Any]:
    """Return what tells whether a file or directory has changed: its content's hash, and its files' sizes and times.

    Args:
        path: what to look at.
        record: of an earlier time; a hash in it is believed where sizes and times are the same.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
    stamp = hash_json(stats)
    for known in (*_mapping(record, "made_from", "inputs"), *_mapping(record, "outputs")):
        if known["stamp"] == stamp:
            return known
    return {"hash": hash_path(path) if path.exists() else None, "stamp": stamp}


def _reason(stage: Stage, before: dict[str, Any] | None, now: dict[str, Any], layout: Layout) -> str | None:
    """Return why a stage must run, or None where it is done."""
    if before is None:
        return "not done yet"
    changes = _changes(before["made_from"], now)
    if changes:
        return "; ".join(changes)
    if before["outputs"] is None:
        return "unfinished"
    for path in stage.outputs:
        known = before["outputs"].get(_name(path, layout))
        if not path.exists() or known is None:
            return f"{path} is missing"
        if fingerprint(path, before)["hash"] != known["hash"]:
            return f"{path} was changed"
    return None


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say what differs between what a stage was made from and what it would be made from now."""
    settings = _differences(before["settings"], now["settings"])
    changes = list(settings)
    for name in sorted({*before["inputs"], *now["inputs"]}):
        hashes = [(side["inputs"].get(name) or {}).get("hash") for side in (before, now)]
        known = [name in side["inputs"] for side in (before, now)]
        if all(known) and hashes[0] != hashes[1]:
            changes.append(f"{name} has changed")
        elif not all(known) and not settings:  # else it is a setting that asks for it, or no longer does
            changes.append(f"{name} is {'new' if known[1] else 'gone'}")
    if before["version"] != now["version"]:
        changes.append(f"neuronspec {before['version']} -> {now['version']}")
    return changes


def _differences(before: Any, now: Any, key: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for name in {**before, **now}
            for line in _differences(before.get(name), now.get(name), f"{key}.{name}".lstrip("."))
        ]
    return [] if before == now else [f"{key}: {before} -> {now}"]


def _mapping(record: dict[str, Any] | None, *keys: str) -> list[dict[str, Any]]:
    value: Any = record
    for key in keys:
        value = (value or {}).get(key)
    return list((value or {}).values())


def _name(path: Path, layout: Layout) -> str:
    return str(path.relative_to(layout.out)) if path.is_relative_to(layout.out) else str(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
