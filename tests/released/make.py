"""What this version writes, kept for all later ones: a small run with every method, and a run that adds a language.

    python -m tests.released.make [--check]

writes `tests/fixtures/VERSION/runs.tar.xz`, and the numbers in it to `numbers.json` next to it. With `--check`, makes
the runs again and compares their numbers with those that are there, instead.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.released.numbers import READERS, list_systems, read_last_losses
from tests.released.project import GREEK_RUN, RUN, keep_what_matters, register_preset, write_recipes

import neuronspec as ns

FIXTURES = Path(__file__).parents[1] / "fixtures"
ARCHIVE, NUMBERS = "runs.tar.xz", "numbers.json"
PLACE = Path(tempfile.gettempdir()) / "neuronspec-released"  # the same each time: configurations hold absolute paths
TOLERANCE = 1e-4
"""Largest relative difference of losses: other versions of torch and other processors round in other ways."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep what this version writes, for the tests of later ones.")
    parser.add_argument("--check", action="store_true", help="compare with what is there instead")
    check = parser.parse_args().check

    folder = FIXTURES / ".".join(ns.__version__.split(".")[:2])
    shutil.rmtree(PLACE, ignore_errors=True)
    try:
        make_runs(PLACE)
        numbers = read_numbers(PLACE)
        if check:
            report(compare(json.loads((folder / NUMBERS).read_text(encoding="utf-8")), numbers))
            return

        folder.mkdir(parents=True, exist_ok=True)
        pack(PLACE, folder / ARCHIVE)
        text = json.dumps(numbers, indent=1, ensure_ascii=False)
        (folder / NUMBERS).write_text(f"{text}\n", encoding="utf-8")
        print(f"{folder / ARCHIVE}: {(folder / ARCHIVE).stat().st_size:,} bytes")
    finally:
        shutil.rmtree(PLACE, ignore_errors=True)


def make_runs(folder: Path) -> None:
    """Make both runs in a new folder."""
    folder.mkdir()
    os.chdir(folder)
    torch.set_num_threads(1)
    register_preset()
    write_recipes(folder)
    for recipe in ("toy.yaml", "greek.yaml"):
        ns.run(folder / recipe)


def read_numbers(folder: Path) -> dict[str, Any]:
    """Return all numbers of the runs; those of a continued training are the run's own, from its log (R1)."""
    trainings = {f"{run}.{system}": folder / run / "train" / system for run, system in list_systems(folder)}
    losses = {name: read_last_losses(path) for name, path in trainings.items() if (path / "checkpoints").exists()}
    return {kind: read(folder) for kind, read in READERS.items() if kind != "continued"} | {"continued": losses}


def pack(folder: Path, archive: Path) -> None:
    """Write the runs of a folder into an archive, without what nobody reads back, times and owners."""
    keep_what_matters(folder)

    def forget(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.mtime = entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(archive, "w:xz", preset=9) as file:
        for run in (RUN, GREEK_RUN):
            file.add(folder / run, run, filter=forget)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the runs of an archive into a folder."""
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as file:
        file.extractall(folder, filter="data")


def compare(expected: Any, found: Any, place: str = "") -> list[str]:
    """Return where two structures of numbers differ; numbers with a point may differ by rounding."""
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = [*expected, *(key for key in found if key not in expected)]
        return [line for key in keys for line in compare(expected.get(key), found.get(key), f"{place}/{key}")]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [line for number, pair in pairs for line in compare(*pair, f"{place}/{number}")]

    equal = found == pytest.approx(expected, rel=TOLERANCE) if isinstance(expected, float) else found == expected
    return [] if equal else [f"{place}: {found!r:.200} instead of {expected!r:.200}"]


def report(differences: list[str]) -> None:
    """Print the differences, and end with exit code 1 if there are any."""
    print("\n".join(differences) or "the same numbers as before")
    sys.exit(bool(differences))


if __name__ == "__main__":
    main()
