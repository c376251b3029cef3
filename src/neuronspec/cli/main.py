"""The entry point: `neuronspec VERB`."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

import neuronspec
from neuronspec.cli import (
    analyze,
    check,
    compare,
    demo,
    export,
    import_,
    init,
    prepare,
    record,
    report,
    run,
    score,
    select,
    serve,
    status,
    train,
    translate,
)
from neuronspec.cli.printing import complain, drop_output_if_gone, prepare_streams, say, start_logging
from neuronspec.cli.verb import VerbCommand, VerbGroup, VerbInterruptedError
from neuronspec.errors import NeuronspecError, first_line
from neuronspec.extensions import import_extension
from neuronspec.interruption import find_signal, ignore_more_signals, raising_signals
from neuronspec.processes import count_processes, is_first_process
from neuronspec.terminal import escape

# Errors are explained by `_run`, so that typer must not format tracebacks of its own.
app = typer.Typer(
    name="neuronspec",
    cls=VerbGroup,
    help="Find the language-specific neurons of a multilingual Transformer, and put them to work.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Verbs in the order of the help: the demo, a whole run, its stages, the comparison of runs, and their use elsewhere
app.command("demo", cls=VerbCommand)(demo.demo)
app.command("init", cls=VerbCommand)(init.init)
app.command("run", cls=VerbCommand)(run.run)
app.command("check", cls=VerbCommand)(check.check)
app.command("status", cls=VerbCommand)(status.status)
app.command("prepare", cls=VerbCommand)(prepare.prepare)
app.command("train", cls=VerbCommand)(train.train)
app.command("record", cls=VerbCommand)(record.record)
app.command("select", cls=VerbCommand)(select.select)
app.command("analyze", cls=VerbCommand)(analyze.analyze)
app.command("translate", cls=VerbCommand)(translate.translate)
app.command("score", cls=VerbCommand)(score.score)
app.command("report", cls=VerbCommand)(report.report)
app.command("compare", cls=VerbCommand)(compare.compare)
app.command("export", cls=VerbCommand)(export.export)
app.command("serve", cls=VerbCommand)(serve.serve)
app.command("import", cls=VerbCommand)(import_.import_)


def _print_version(asked: bool) -> None:
    if asked:
        say(f"neuronspec {neuronspec.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Print only results and errors: no logs, progress bars and notes.")
    ] = False,
    imports: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="MODULE",
            help="Python module that registers formats, metrics, rules, methods ... of your own. Repeatable.",
        ),
    ] = None,
) -> None:
    """Take the options that every verb has."""
    # Logs and progress on stderr, results on stdout; of several processes the first one speaks.
    speaks = is_first_process()
    if not speaks:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    start_logging(quiet, silent=not speaks)
    for name in imports or []:
        import_extension(name)


# Refusals of the operating system that users can resolve: a full disk, a directory without write permission.
_USER_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}
_OUT_OF_MEMORY = re.compile(r"out of memory|allocate memory|DefaultCPUAllocator|bad_alloc", re.IGNORECASE)
# What gloo and NCCL raise in a process whose connection to another one breaks
_PROCESS_LOST = re.compile(r"gloo|nccl|remote (worker|process)|closed by peer|reset by peer", re.IGNORECASE)
_LESS_MEMORY = (
    "lower tokens_per_batch of the section at work (sampling, record or translate) or the beam size, or take a "
    "smaller model"
)
UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # typer exports only the class below it
SIGNALED = 128  # shells add the number of a signal to it
READER_GONE = 141  # as shells report SIGPIPE


def main() -> None:
    """Run the command line.

    Exit 0 if all is fine, 2 for what users can fix, 1 for our bugs, 130 after Ctrl-C, 143 after SIGTERM.
    """
    # Waiting threads must not spin for long: next to another busy process, two threads would be slower than one.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    prepare_streams()
    try:
        with raising_signals():
            code = _run()
            ignore_more_signals()
    except BrokenPipeError:
        code = READER_GONE
    drop_output_if_gone()
    sys.exit(code)


def _run() -> int:
    """Run the command that the arguments name and return the exit code, with every error explained."""
    try:
        # Without standalone mode, errors come here instead of ending the process.
        code = app(prog_name="neuronspec", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader is gone; `main` ends quietly.
        raise
    except SystemExit as left:
        if isinstance(left.__context__, BrokenPipeError):  # rich makes this of it
            return READER_GONE
        return left.code if isinstance(left.code, int) else 1
    except VerbInterruptedError as error:
        return _explain_interruption(error.interruption)
    except (KeyboardInterrupt, typer.Abort) as error:  # outside of a verb; typer forgets the signal
        return _explain_interruption(error if isinstance(error, KeyboardInterrupt) else KeyboardInterrupt())
    except UsageError as error:
        return _explain_usage(error)
    except Exception as error:
        # What users can fix gets advice; anything else is a bug, with its traceback.
        if (message := _find_advice(error)) is not None:
            complain(f"error: {message}")
            return 2
        complain(traceback.format_exc())
        complain("error: this is a bug in neuronspec; please report it with the lines above")
        return 1

    # Verbs return nothing; typer returns a code if it is interrupted before one begins.
    if code == SIGNALED + signal.SIGINT:
        return _explain_interruption(KeyboardInterrupt())
    return code if isinstance(code, int) else 0


def _explain_interruption(error: KeyboardInterrupt) -> int:
    """Print what an interruption leaves and what the same command does next, and return the exit code."""
    ignore_more_signals()
    complain(f"interrupted: {str(error) or 'the same command starts again'}")
    return SIGNALED + find_signal(error)


def _find_advice(error: Exception) -> str | None:
    """Return advice about an error that the user can fix; None for a bug."""
    if isinstance(error, NeuronspecError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _USER_ERRORS:
        return f"{(error.strerror or '').lower()}: {error.filename or 'while writing'}"

    # By name: importing torch for its class would take seconds.
    if type(error).__name__ == "OutOfMemoryError":
        return f"the device is out of memory: {_LESS_MEMORY}"

    # Libraries report the same with errors of their own kinds.
    of_a_library = isinstance(error, RuntimeError | OSError) and _OUT_OF_MEMORY.search(str(error))
    if isinstance(error, MemoryError) or of_a_library:
        return f"out of memory ({first_line(error)}): {_LESS_MEMORY}"
    if isinstance(error, RuntimeError) and count_processes() > 1 and _PROCESS_LOST.search(str(error)):
        return (
            f"another one of the {count_processes()} processes of this command has ended: its own message or the log "
            "of the launcher says why; start all of them again, and what is saved is kept"
        )

    return None


def _explain_usage(error: Any) -> int:
    """Print what is wrong with a command line as typer does, and return the exit code."""
    from typer import rich_utils

    # The message quotes the command line, which may hold control characters.
    message = escape(error.format_message())
    error.format_message = lambda: message
    rich_utils.rich_format_error(error)
    return int(error.exit_code)


if __name__ == "__main__":
    main()
