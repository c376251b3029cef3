"""The processes that run one command together (`torchrun`, `accelerate launch`, `mpirun`)."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from neuronspec.errors import NeuronspecError

if TYPE_CHECKING:
    from accelerate import PartialState

# The variables by which launchers say how many processes there are, and which one this is: those that accelerate reads.
_COUNT = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_RANK = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
_LOCAL = ("LOCAL_RANK", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK")
_LONGEST_WAIT = timedelta(days=7)  # one process may translate or score much longer than the usual half hour


def join_processes(cpu: bool = False) -> PartialState:
    """Join the processes that were launched together, or be alone.

    Everything that divides work among processes, or picks a device, asks here. accelerate joins processes only where
    it is told to stay on the CPU or finds a device whose backend it knows; elsewhere each process would believe that
    it is alone, and all would write the same files. There they are joined on the CPU.

    Args:
        cpu: Whether to stay on the CPU even where there is a GPU; `accelerate launch --cpu` asks for it as well.

    Returns:
        The state that accelerate shares: the device, this process' number, and the number of processes.

    Raises:
        NeuronspecError: The launcher says how many processes there are but not which one this is, or they cannot be
            joined.
    """
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    if PartialState._shared_state:  # joined before, by us or by the program that calls us
        return PartialState()

    launched = count_processes()
    if launched == 1:
        return _be_alone(cpu or parse_flag_from_env("ACCELERATE_USE_CPU"))

    _check_launch(launched)
    state = _join(cpu or parse_flag_from_env("ACCELERATE_USE_CPU"))
    if state.num_processes == 1:
        PartialState._reset_state()
        state = _join(cpu=True)
    if state.num_processes != launched:
        raise NeuronspecError(
            f"{launched} processes were launched, but {state.num_processes} could be joined: launch them with "
            "torchrun or accelerate launch, or run one alone"
        )
    return state


def count_processes() -> int:
    """Return how many processes were launched together, as the launcher says.

    Raises:
        NeuronspecError: What it says is no number.
    """
    return max(1, _read(_COUNT, 1))


def is_first_process() -> bool:
    """Return whether this is the first of the processes that were launched together, or alone."""
    return count_processes() == 1 or _read(_RANK, 0) == 0


def work_alone() -> None:
    """Let the first process do alone what cannot be divided; the others end here, successfully.

    Raises:
        SystemExit: This is not the first process.
    """
    if count_processes() == 1:
        return
    _check_launch(count_processes())
    if not is_first_process():
        raise SystemExit(0)
    for name in (*_COUNT, *_RANK, *_LOCAL):  # from now on nobody must wait for the others
        os.environ.pop(name, None)


def _be_alone(cpu: bool) -> PartialState:
    """Return the state of a single process, which needs no other even where a launcher has started it."""
    from accelerate import PartialState

    kept = {name: os.environ.pop(name) for name in _LOCAL if name in os.environ}
    try:
        return PartialState(cpu=cpu)
    finally:
        os.environ.update(kept)


def _join(cpu: bool) -> PartialState:
    from accelerate import PartialState

    try:
        return PartialState(cpu=cpu, timeout=_LONGEST_WAIT)
    except (RuntimeError, ValueError, OSError) as error:
        raise NeuronspecError(
            f"the {count_processes()} processes that were launched together cannot be joined: {error}"
        ) from error


def _check_launch(launched: int) -> None:
    """Refuse to wait for processes that nobody launched."""
    if not any(name in os.environ for name in _RANK):
        raise NeuronspecError(
            f"{_COUNT[0]}={launched} says that {launched} processes run together, but {_RANK[0]} is not set: launch "
            f"them with torchrun or accelerate launch, or unset {_COUNT[0]}"
        )


def _read(names: tuple[str, ...], default: int) -> int:
    """Return the number that the first of these variables holds."""
    for name in names:
        if text := os.environ.get(name):
            if not text.lstrip("-").isdecimal():
                raise NeuronspecError(f"the environment variable {name} is {text!r}; expected a whole number")
            if int(text) >= 0:
                return int(text)
    return default
