"""Printing: results on stdout, the rest on stderr, and no foreign control character on a terminal."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any, TextIO

from neuronspec.errors import NeuronspecWarning
from neuronspec.progress import is_quiet
from neuronspec.terminal import escape, escape_json, escape_lines, escape_text


def say(*lines: str, err: bool = False) -> None:
    """Print lines for people, with the control characters of names and texts escaped.

    Args:
        lines: Lines without line breaks of their own.
        err: Whether to print on stderr instead of stdout.
    """
    stream = sys.stderr if err else sys.stdout
    stream.write("".join(f"{escape(line)}\n" for line in lines))
    stream.flush()


def fit(text: str) -> str:
    """Return text as stdout shows it, so that its width is known: letters that its encoding lacks are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    return escape(text).encode(encoding, errors="backslashreplace").decode(encoding)


def note(*lines: str, err: bool = False) -> None:
    """Print lines that no result needs, such as where something was written; `--quiet` leaves them out."""
    if not is_quiet():
        say(*lines, err=err)


def complain(message: str) -> None:
    """Print a message of one or more lines on stderr; all but its first line are indented."""
    sys.stderr.write(f"{escape_lines(message)}\n")
    sys.stderr.flush()


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a JSON value: letters of all scripts as they are, control characters as JSON escapes."""
    print_data(escape_json(json.dumps(value, indent=indent, ensure_ascii=False)))


def print_data(text: str) -> None:
    """Print text that programs read: in UTF-8 whatever the locale, unchanged unless a terminal shows it."""
    if sys.stdout.isatty():
        text = escape_text(text)

    # The text layer would use the encoding of the locale: bytes go around it, after what it still holds.
    raw = getattr(sys.stdout, "buffer", None)
    if raw is None:  # a stream that somebody put in place of stdout
        sys.stdout.write(f"{text}\n")
        return
    sys.stdout.flush()
    raw.write(f"{text}\n".encode(errors="backslashreplace"))
    raw.flush()


def prepare_streams() -> None:
    """Open stdout and stderr where they are closed, and let them escape letters that their encoding lacks."""
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:  # closed by whoever started the command
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
            setattr(sys, name, nowhere)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def drop_output_if_gone() -> None:
    """Stop writing to a stream that cannot be written: a pipe without a reader, a full disk."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # otherwise Python would complain at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def start_logging(quiet: bool, *, silent: bool = False) -> None:
    """Send logs and warnings to stderr, one line each.

    Args:
        quiet: Whether to leave out all but warnings, and progress.
        silent: Whether to leave out warnings as well: a process that was launched with others would repeat them.
    """
    # Other libraries may warn; our own reports of progress are logs, too.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    level = logging.ERROR if silent else logging.WARNING if quiet else logging.INFO
    logging.getLogger("neuronspec").setLevel(level)
    warnings.showwarning = _show_warning


def quiet_libraries() -> None:
    """Keep the progress bars and notices of other libraries off the terminal: ours is the only one."""
    # Libraries that are imported later read these variables.
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    if "transformers" not in sys.modules:  # it will see them; importing it would take seconds
        return

    # It is imported already, and no longer reads the variables.
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    logging.disable_default_handler()  # ours prints what is left
    logging.enable_propagation()


class _OneLine(logging.Formatter):
    """Formats a record so that nothing in it passes for another record."""

    def format(self, record: logging.LogRecord) -> str:
        return escape_lines(super().format(record))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as Python does, or one of ours as a sentence."""
    # Our warnings are advice to users; others show where in the code they come from.
    own = issubclass(category, NeuronspecWarning)
    complain(f"warning: {message}" if own else f"{filename}:{lineno}: {category.__name__}: {message}")
