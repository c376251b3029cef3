"""What must be equal after an attack: the hash of everything that a run has computed, and that nothing is left over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neuronspec.files import hash_json, hash_path
from neuronspec.pipeline.layout import Layout
from neuronspec.training.journal import LOG_FILE, read_log

# Kinds of evidence -> patterns of files
KINDS = {
    "weights": ("train/*/model/*.safetensors",),
    "models": ("train/*/model/*",),
    "moments": ("train/*/checkpoints/*/training_state/optimizer.safetensors",),
    "checkpoints": ("train/*/checkpoints/*/*.safetensors",),
    "counts": ("record/*.safetensors",),
    "masks": ("select/*.safetensors", "search/*/*.safetensors"),
    "text": ("prepare/**/*",),
    "translations": ("translate/*/*.txt",),
    "scores": ("score/**/*",),
    "analysis": ("analyze/**/*.csv", "analyze/*.json", "ablate/**/*", "examples/**/*"),
    "tables": ("report/tables/*",),
}
# Tables of times, which differ from run to run
TIMED = ("efficiency",)
LEFTOVERS = (".tmp", ".old", ".del", ".part", ".lock")


def collect(out: Path) -> dict[str, dict[str, str]]:
    """Return the hash of every file of a run by kind and path; logs and states without their times."""
    found: dict[str, dict[str, str]] = {}
    for kind, patterns in KINDS.items():
        files = {file for pattern in patterns for file in out.glob(pattern) if file.is_file()}
        kept = [file for file in files if not file.stem.startswith(TIMED)]
        found[kind] = {file.relative_to(out).as_posix(): hash_path(file) for file in sorted(kept)}

    found["states"] = {
        file.relative_to(out).as_posix(): hash_json(_without_times(json.loads(file.read_text(encoding="utf-8"))))
        for file in sorted(out.glob("train/*/checkpoints/*/training_state/state.json"))
    }
    found["logs"] = {
        file.relative_to(out).as_posix(): hash_json([_without_times(entry) for entry in read_log(file)])
        for file in sorted(out.glob(f"train/*/{LOG_FILE}"))
    }
    hidden = [path for path in out.rglob(".*") if path.name.endswith(LEFTOVERS) or path.parent == out]
    found["left over"] = {path.relative_to(out).as_posix(): "" for path in sorted(hidden)}
    return found


def compare(found: dict[str, dict[str, str]], expected: dict[str, dict[str, str]]) -> list[str]:
    """Return what differs between two runs, a line for each file."""
    problems = []
    for kind, files in expected.items():
        for name in sorted({*files, *found[kind]}):
            one, other = found[kind].get(name), files.get(name)
            if one != other:
                what = "missing" if one is None else "too much" if other is None else "different"
                problems.append(f"{kind}: {name} is {what}")
    return problems


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        timed = ("seconds", "target_tokens_per_second")
        return {key: _without_times(inner) for key, inner in value.items() if key not in timed}
    return value


def list_systems(out: Path) -> list[str]:
    """Return the names of the trained models."""
    return sorted(path.name for path in Layout(out).training("x").parent.iterdir())
