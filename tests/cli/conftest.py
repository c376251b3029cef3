"""The command line in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.processes import COMMAND, Completed, call

Start = Callable[..., Completed]


@pytest.fixture(scope="session")
def start() -> Start:
    """Call `neuronspec` with some arguments in a folder, as a user does; return what came of it."""

    def run(folder: Path, *arguments: str) -> Completed:
        return call([*COMMAND, *arguments], folder)

    return run
