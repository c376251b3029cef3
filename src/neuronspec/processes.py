"""The processes that run one command together (`torchrun`, `accelerate launch`, `mpirun`)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from neuronspec.errors import NeuronspecError

if TYPE_CHECKING:
    from accelerate import PartialState

# Variables in which launchers give the number of processes and the rank of this one: those that accelerate reads.
_COUNT = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_RANK = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
_LOCAL = ("LOCAL_RANK", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK")
_LONGEST_WAIT = timedelta(days=7)  # a process may translate or score for much longer than the usual half hour


def join_processes(cpu: bool = False) -> PartialState:
    """Join the processes that were launched together, or continue alone.

    Everything that divides work among processes, or chooses a device, starts here. accelerate joins processes only if
    it is asked to stay on the CPU or finds a device whose backend it supports. Otherwise each process would behave as
    if it were alone, and all would write the same files; such processes are joined on the CPU.

    Args:
        cpu: Whether to stay on the CPU even if there is a GPU; `accelerate launch --cpu` has the same effect.

    Returns:
        The shared state of accelerate: the device, the rank of this process, and the number of processes.

    Raises:
        NeuronspecError: If the launcher gives the number of processes but not the rank of this one, or if they cannot
            be joined.
    """
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    if PartialState._shared_state:  # joined before, by us or by the program that calls us
        return PartialState()

    launched = count_processes()
    if launched == 1:
        return _continue_alone(cpu or parse_flag_from_env("ACCELERATE_USE_CPU"))

    _check_launch(launched)

    # accelerate ignores the launcher where it finds no device that it can join: then the CPU serves.
    state = _join_launched(cpu or parse_flag_from_env("ACCELERATE_USE_CPU"))
    if state.num_processes == 1:
        PartialState._reset_state()
        state = _join_launched(cpu=True)

    # Better no run than several processes that write the same files.
    if state.num_processes != launched:
        raise NeuronspecError(
            f"{launched} processes were launched, but {state.num_processes} could be joined: launch them with "
            "torchrun or accelerate launch, or run one alone"
        )
    return state


def count_processes() -> int:
    """Return the number of processes that were launched together, according to the launcher.

    Raises:
        NeuronspecError: If the launcher's value is not a number.
    """
    return max(1, _read_variable(_COUNT, 1))


def is_first_process() -> bool:
    """Return whether this is the first of the processes that were launched together, or the only one."""
    return count_processes() == 1 or _read_variable(_RANK, 0) == 0


def work_alone() -> None:
    """Leave work that cannot be divided to the first process; the others exit here, successfully.

    Raises:
        SystemExit: If this is not the first process.
    """
    if count_processes() == 1:
        return
    _check_launch(count_processes())

    # The others end without an error, or the launcher would stop the first one as well.
    if not is_first_process():
        raise SystemExit(0)

    forget_launcher()  # from now on, nothing waits for the others


def forget_launcher() -> None:
    """Let the rest of this process behave as if it had been started alone."""
    for name in (*_COUNT, *_RANK, *_LOCAL):
        os.environ.pop(name, None)


def count_cpus() -> int:
    """Return the number of CPU cores that this process may use: what the machine grants, not what it has.

    A scheduler or a container grants cores by the set of CPUs on which a process may run, by a quota of time (control
    groups of Linux), or both.
    """
    pinned = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = list(_read_quotas(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")))
    return max(1, min(pinned, *map(math.ceil, quotas))) if quotas else pinned


def _read_quotas(membership: Path, root: Path) -> Iterator[float]:
    """Yield the numbers of cores that the control groups of this process grant, those around them included."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return

    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue

        # A container sees its own group as the root, or a name that it does not see; each limit on the way counts.
        top = root if not controllers else root / "cpu"
        innermost = top / group.lstrip("/")
        for folder in (innermost, *(outer for outer in innermost.parents if outer.is_relative_to(top))):
            quota = _read_quota(folder)
            if quota is not None:
                yield quota


def _read_quota(group: Path) -> float | None:
    """Return the number of cores that one control group grants; None without a limit."""
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (group / "cpu.cfs_period_us").read_text(encoding="ascii")
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # no such group, or `max`
        return None


def _continue_alone(cpu: bool) -> PartialState:
    """Return the state of a single process, even if a launcher has started it."""
    from accelerate import PartialState

    # accelerate takes a local rank for a sign of several processes, so it is hidden for a moment.
    kept = {name: os.environ.pop(name) for name in _LOCAL if name in os.environ}
    try:
        return PartialState(cpu=cpu)
    finally:
        os.environ.update(kept)


def _join_launched(cpu: bool) -> PartialState:
    from accelerate import PartialState

    try:
        return PartialState(cpu=cpu, timeout=_LONGEST_WAIT)
    except (RuntimeError, ValueError, OSError) as error:
        raise NeuronspecError(
            f"the {count_processes()} processes that were launched together cannot be joined: {error}"
        ) from error


def _check_launch(launched: int) -> None:
    """Refuse to wait for processes that were never launched."""
    if not any(name in os.environ for name in _RANK):
        raise NeuronspecError(
            f"{_COUNT[0]}={launched} says that {launched} processes run together, but {_RANK[0]} is not set: launch "
            f"them with torchrun or accelerate launch, or unset {_COUNT[0]}"
        )


def _read_variable(names: tuple[str, ...], default: int) -> int:
    """Return the number in the first of these environment variables that is set."""
    for name in names:
        if text := os.environ.get(name):
            if not text.lstrip("-").isdecimal():
                raise NeuronspecError(f"the environment variable {name} is {text!r}; expected a whole number")

            # A negative number counts as not set.
            if int(text) >= 0:
                return int(text)

    return default
