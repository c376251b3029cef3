"""Interruptions: Ctrl-C, and the signals by which schedulers and closing terminals ask a process to end."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

logger = logging.getLogger(__name__)

# Requests to end that leave time to finish something. Slurm, torchrun, systemd and `kill` send SIGTERM, a terminal that
# is closed SIGHUP, and `sbatch --signal` whatever it is given, usually SIGUSR1. Not every system has all of them.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
REQUESTS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))

# Seconds in which further signals count as the same request: `timeout` and launchers send one twice.
ONE_REQUEST = 1.0


class Interrupted(KeyboardInterrupt):
    """An interruption by a signal; the message says what is kept, and what the same command does next.

    Args:
        message: Sentence about what is kept and what the same command does next; may be empty.
        signal_number: Number of the signal.
    """

    def __init__(self, message: str = "", signal_number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.signal_number = int(signal_number)


class _Ending:
    """The end of this process that a signal has asked for.

    Attributes:
        asked_at: Time of the latest request, in seconds.
        explained: Whether the end is being explained: no further signal matters.
    """

    asked_at = -math.inf
    explained = False


def raise_interrupted(number: int, _: FrameType | None) -> None:
    """Handle a signal as Python handles Ctrl-C: by an exception, so that nothing half-written stays behind.

    Signals that follow within `ONE_REQUEST` seconds are the same request, and would interrupt its handling.
    """
    now = time.monotonic()
    if _Ending.explained or now - _Ending.asked_at <= ONE_REQUEST:
        return
    _Ending.asked_at = now
    raise Interrupted(signal_number=number)


def ignore_more_signals() -> None:
    """Let no further signal interrupt the end of a command, in `raising_signals`."""
    _Ending.explained = True


@contextlib.contextmanager
def raising_signals() -> Iterator[None]:
    """Let every signal of `REQUESTS` raise `Interrupted`; those that are ignored or handled otherwise stay so."""
    _Ending.asked_at, _Ending.explained = -math.inf, False
    changed = [number for number in REQUESTS if _find_handler(number) in (signal.SIG_DFL, signal.default_int_handler)]
    with _handled(changed, raise_interrupted):
        yield


@contextlib.contextmanager
def explained_interruption(message: str) -> Iterator[None]:
    """Give an interruption within the block a message, unless it has one already: the innermost block knows best."""
    try:
        yield
    except KeyboardInterrupt as error:
        if str(error):
            raise
        raise Interrupted(message, find_signal(error)) from error


def find_signal(error: KeyboardInterrupt) -> int:
    """Return the number of the signal that caused an interruption."""
    return error.signal_number if isinstance(error, Interrupted) else int(signal.SIGINT)


class StopRequest:
    """Whether a signal has asked to stop, and which one.

    Attributes:
        signal_number: The signal; None while there was none.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._noticed_at = 0.0


@contextlib.contextmanager
def postponed_signals(announcement: str) -> Iterator[StopRequest]:
    """Note signals of `REQUESTS` instead of being stopped by them, so that the block can end at a good moment.

    A second request stops at once. Outside of the main thread nothing changes, because only that thread may handle
    signals. Signals that are ignored (as by `nohup`), or that the calling program handles itself, are left alone.

    Args:
        announcement: Message that is logged when the first request comes.

    Yields:
        The request, to look at now and then. If nobody acts on it, `Interrupted` is raised at the end of the block.
    """
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if request.signal_number is None:
            request.signal_number, request._noticed_at = number, now
            _Ending.asked_at = now
            logger.warning(announcement)
        elif now - request._noticed_at > ONE_REQUEST:
            _Ending.asked_at = request._noticed_at = now
            raise Interrupted(signal_number=number)

    ours = (signal.SIG_DFL, signal.default_int_handler, raise_interrupted)
    changed = [number for number in REQUESTS if _find_handler(number) in ours]
    with _handled(changed, note):
        yield request

    if request.signal_number is not None:
        _Ending.asked_at = time.monotonic()
        raise Interrupted(signal_number=request.signal_number)


def _find_handler(number: int) -> object:
    """Return the handler of a signal; None where this thread must not change it."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return signal.getsignal(number) if in_main_thread else None


@contextlib.contextmanager
def _handled(numbers: list[int], handler: signal._HANDLER) -> Iterator[None]:
    """Handle some signals in the block, and as before after it."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
