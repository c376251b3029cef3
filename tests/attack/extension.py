"""Imported by the commands under attack (`--import`): a very small model, and an end at a chosen disk call.

Variables of the environment: `ATTACK_OUT`, the directory whose disk calls count; `ATTACK_IN`, the stage whose calls
count; `ATTACK_AT`, the number of the call before which the process is killed, 0 for none; `ATTACK_STAGE`, a file to
which the name of every stage is added when it begins, and the number of its calls when it ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neuronspec import durability
from neuronspec.models.presets import PRESETS, Preset
from neuronspec.pipeline import engine

CALLS = {"os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"}
OUT, IN = os.environ.get("ATTACK_OUT", ""), os.environ.get("ATTACK_IN", "")
AT, STAGE = int(os.environ.get("ATTACK_AT", "0")), Path(os.environ.get("ATTACK_STAGE", os.devnull))
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Calls:
    """The disk calls of the stage at work so far."""

    number = 0
    stage = ""


def count() -> None:
    """Count a disk call that is about to be made; it may be the last one."""
    Calls.number += 1
    if Calls.number == AT and Calls.stage == IN:
        os.kill(os.getpid(), signal.SIGKILL)


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Count what changes names or contents in the directory."""
    if event in CALLS or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING):
        place = str(arguments[0])
        # What is deleted with its folder has no path of its own.
        if place.startswith(OUT) or (event in ("os.remove", "os.rmdir") and "/" not in place):
            count()


def note(text: str) -> None:
    """Add a line to the file of the stages."""
    with STAGE.open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def follow_stages() -> None:
    """Let the number of calls begin again with each stage of the engine."""
    watched = engine._watched

    @contextlib.contextmanager
    def follow(stage: Any, **options: Any) -> Iterator[bool]:
        Calls.stage, Calls.number = stage.name, 0
        note(f"begun {stage.name}")
        with watched(stage, **options) as must_run:
            yield must_run
        note(f"ended {stage.name} {Calls.number}")

    engine._watched = follow


def count_function(owner: Any, name: str) -> None:
    """Count the calls of a function that the interpreter does not announce."""
    function = getattr(owner, name)

    def counted(*arguments: Any) -> Any:
        count()
        return function(*arguments)

    setattr(owner, name, counted)


def attack() -> None:
    """Prepare this process for its end."""
    # A training of a few updates, with checkpoints of some kilobytes, takes a fraction of a second.
    PRESETS.register("attacked")(Preset(layers=1, heads=2, d_model=16, d_ff=32, dropout=0.1))
    follow_stages()
    count_function(os, "fsync")
    count_function(durability, "exchange")
    sys.addaudithook(watch)


if OUT:  # not where the tests are merely collected
    attack()
