"""Where the files of tests lie: in memory if there is room, because what is written safely waits for the disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil

MEMORY = Path("/dev/shm")
ROOM = 6 * 2**30
"""Bytes that must be free: several times as much as the tests have at any moment."""


def prefer_memory() -> None:
    """Let pytest make its temporary directories in memory, unless the user or the machine says otherwise."""
    if "PYTEST_DEBUG_TEMPROOT" in os.environ or not os.access(MEMORY, os.W_OK):
        return

    free = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available)
    if free >= ROOM:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)
