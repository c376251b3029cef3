"""The entry point: `neuronspec VERB`."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

import neuronspec
from neuronspec.cli import analyze, compare, demo, record, run, score, select, stages, translate
from neuronspec.errors import NeuronspecError

app = typer.Typer(
    name="neuronspec",
    help="Find the language-specific neurons of a multilingual Transformer, and put them to work.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("run")(run.run)
app.command("prepare")(stages.prepare)
app.command("train")(stages.train)
app.command("record")(record.record)
app.command("select")(select.select)
app.command("analyze")(analyze.analyze)
app.command("evaluate")(stages.evaluate)
app.command("translate")(translate.translate)
app.command("score")(score.score)
app.command("compare")(compare.compare)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"neuronspec {neuronspec.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what went wrong.")] = False,
) -> None:
    """Take the options that every verb has."""
    # Logs and progress on stderr, results on stdout; of several processes the first one speaks.
    if os.environ.get("RANK", "0") != "0":
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    logging.getLogger("neuronspec").setLevel(logging.WARNING if quiet else logging.INFO)


# What the operating system refuses and the user can mend: a full disk, a place that may not be written to.
_MENDABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}


def main() -> None:
    """Run the command line: exit 0 fine, 2 for what the user can mend, 130 when interrupted, 1 for our bugs."""
    # Threads that wait must not spin for long: beside a busy neighbour, two would be slower than one.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    code: int | str | None = 0
    try:
        app()
    except SystemExit as left:  # typer explains a wrong command line itself, and makes 130 of Ctrl-C
        code = left.code
    except KeyboardInterrupt:
        code = 130
    except NeuronspecError as error:
        typer.echo(f"error: {error}", err=True)
        code = 2
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _MENDABLE:
            typer.echo(f"error: {(error.strerror or '').lower()}: {error.filename or 'while writing'}", err=True)
            code = 2
        elif type(error).__name__ == "OutOfMemoryError":
            typer.echo("error: the device is out of memory: lower sampling.tokens_per_batch", err=True)
            code = 2
        else:
            traceback.print_exc()
            typer.echo("error: this is a bug in neuronspec; please report it with the lines above", err=True)
            code = 1
    if code == 130:
        typer.echo("\ninterrupted: the same command goes on from here", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
