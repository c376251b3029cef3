"""A program that publishes, replaces, removes and locks, and says what is done; its system calls are recorded.

`python publishing.py DIRECTORY ROUNDS`: without torch, so that it takes a fraction of a second.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from neuronspec import durability
from neuronspec.artifacts.tensor_files import write_tensors
from neuronspec.directory_lock import DirectoryLock
from neuronspec.durability import remove
from neuronspec.files import publish, write_json


def main(directory: Path, rounds: int) -> None:
    if "NO_EXCHANGE" in os.environ:
        durability.exchange = lambda one, other: False
    with DirectoryLock(directory) as lock:
        lock.acquire()
        for number in range(1, rounds + 1):
            work(directory, number)


def work(directory: Path, number: int) -> None:
    # A directory that replaces an earlier one, with a file that a library writes
    with publish(directory / "deep" / "thing") as temporary:
        (temporary / "inner").mkdir(parents=True)
        write_tensors(temporary / "inner" / "numbers.safetensors", {"numbers": np.full(100, number)})
        write_json(temporary / "number.json", number)
    say(f"thing {number}")

    # A file that replaces an earlier one
    write_json(directory / "file.json", number)
    say(f"file {number}")

    # One that comes and goes, as checkpoints do
    with publish(directory / f"old-{number}") as temporary:
        temporary.mkdir()
        write_json(temporary / "one.json", 1)
        write_json(temporary / "two.json", 2)
    say(f"made {number}")
    remove(directory / f"old-{number}")
    say(f"removed {number}")


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
