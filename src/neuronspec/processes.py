"""The processes that run one command together (`accelerate launch`)."""

from __future__ import annotations

from datetime import timedelta

from accelerate import PartialState


def join_processes(cpu: bool = False) -> PartialState:
    """Join the processes that were launched together, or be alone.

    They may wait for each other for days: one of them translates or scores longer than the usual half hour.

    Args:
        cpu: stay on the CPU even where there is a GPU.
    """
    return PartialState(cpu=cpu, timeout=timedelta(days=7))
