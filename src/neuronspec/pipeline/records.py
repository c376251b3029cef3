"""The record of a stage: what it was made from and what it left, and from that, why it would have to run again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from neuronspec.artifacts.typed_json import Stored, check_typed
from neuronspec.errors import NeuronspecError
from neuronspec.files import read_json
from neuronspec.pipeline.content_hashes import ContentHashes, name_path
from neuronspec.pipeline.layout import Layout
from neuronspec.version import __version__

if TYPE_CHECKING:
    from neuronspec.pipeline.engine import Stage

Record = dict[str, Any]
"""`made_from` (settings, inputs with their fingerprints, version), `outputs` (their fingerprints, or None while the
stage is unfinished), `seconds`, and the time at which it `finished`."""


class _Fingerprint(Stored):
    hash: str | None


class _Origin(Stored):
    settings: dict[str, Any]
    inputs: dict[str, _Fingerprint]
    version: str


class _StoredRecord(Stored):
    made_from: _Origin
    outputs: dict[str, _Fingerprint] | None
    seconds: float = Field(ge=0, lt=1e12)
    finished: str | None = None


# Reason of a stage that was interrupted; it resumes instead of starting again
UNFINISHED = "unfinished"


def read_record(path: Path) -> Record | None:
    """Return the record of a stage, None if it never ran.

    A damaged file gives an empty record, so that the stage is redone.
    """
    if not path.is_file():
        return None
    try:
        # A record that lacks a key or has another value in its place was cut short or edited: it is not trusted.
        record: Record = read_json(path)
        check_typed(record, _StoredRecord, path, "the stage is done again")
        return record
    except NeuronspecError:
        # It is as good as no record, but other than None: the outputs do belong to this run.
        pass

    return {"made_from": {"settings": {}, "inputs": {}, "version": "?"}, "outputs": None, "seconds": 0.0}


def describe_origin(stage: Stage, hashes: ContentHashes) -> dict[str, Any]:
    """Return what a stage would be made from now: settings, fingerprints of its inputs, and version.

    Args:
        stage: The stage.
        hashes: Hashes of the contents of files.
    """
    return {"settings": stage.settings, "inputs": hashes.take(stage.inputs), "version": __version__}


def find_reason(
    stage: Stage, before: Record | None, now: Mapping[str, Any], layout: Layout, hashes: ContentHashes
) -> str | None:
    """Return why a stage must run, or None if it is done.

    Args:
        stage: The stage.
        before: Its record.
        now: Result of `describe_origin`.
        layout: Paths of the run.
        hashes: Hashes of the contents of files.
    """
    if before is None:
        return "not done yet"
    if changes := list_changes(before["made_from"], now):
        return "; ".join(changes)
    if before["outputs"] is None:
        return UNFINISHED

    # Everything it was made from is the same; the outputs may still be gone or edited.
    for path in stage.outputs:
        known = before["outputs"].get(name_path(path, layout))
        if not path.exists() or known is None:
            return f"{path} is missing"
        if hashes.hash(path) != known["hash"]:
            return f"{path} was changed"
    return None


def list_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differences between what a stage was made from and what it would be made from now, in words."""
    # Settings are compared key by key, so that the message names the key that changed.
    settings = list_differences(before["settings"], now["settings"])
    changes = [f"{key}: {was} -> {is_now}" for key, (was, is_now) in settings.items()]

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


def list_differences(before: Any, now: Any, key: str = "") -> dict[str, tuple[Any, Any]]:
    """Return the values that differ between two sections, by dotted key: as they were, and as they are now."""
    # At a single value, or where one side is no section, the two are compared directly.
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        return {} if before == now else {key: (before, now)}

    found: dict[str, tuple[Any, Any]] = {}
    for name in {**before, **now}:
        found |= list_differences(before.get(name), now.get(name), f"{key}.{name}".lstrip("."))
    return found
