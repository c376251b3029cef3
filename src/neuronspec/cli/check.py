"""`neuronspec check`: everything that can be known before work, of a run, a model, masks, counts or files of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from neuronspec.cli.choices import choose_identifier
from neuronspec.cli.console import print_table
from neuronspec.cli.modes import Mode, reading
from neuronspec.cli.options import AsJson, Out, Overrides, Seed
from neuronspec.cli.printing import print_json, quiet_libraries, say
from neuronspec.cli.runs import RunOptions
from neuronspec.cli.text_options import ColumnsOption, FormatOption, IdentifierOption, TextOptions
from neuronspec.processes import work_alone

if TYPE_CHECKING:
    from neuronspec.comparison.tables import Table
    from neuronspec.pipeline.checkup import Checkup

SIGNS = {"error": "x", "warning": "!", "note": "-"}
DEFAULT_SECONDS = 20.0
_NO_CONFIGURATION = "{source} is no configuration: {overrides[0]} changes nothing in it"
LISTED = 12  # values of a fact that are shown


OF_A_RUN = Mode(
    reads=reading("source", "overrides", "sample", "measure", "seconds", "out", "seed", "as_json"),
    advice="{source} is a configuration, which names its model, languages and text itself: leave these options out",
    own_advice={"identifier": "--identifier is for text: a configuration has its own, score.identifier={identifier}"},
)
OF_A_MODEL = Mode(
    reads=reading("source", "text", "columns", "format", "languages", "sample", "identifier", "as_json"),
    needs={"columns": "text", "format": "text", "identifier": "text"},
    advice="{source} is a model: these options change nothing",
    own_advice={"overrides": _NO_CONFIGURATION},
)
OF_NEURONS = Mode(
    reads=reading("source", "model", "as_json"),
    advice="{source} holds masks or counts: these options change nothing",
    own_advice={"overrides": _NO_CONFIGURATION},
)
OF_TEXT = Mode(
    reads=reading("source", "model", "languages", "sample", "identifier", "as_json"),
    advice="{source} is text: these options change nothing",
    own_advice={"overrides": _NO_CONFIGURATION},
)
MODES = {"configuration": OF_A_RUN, "model": OF_A_MODEL, "neurons": OF_NEURONS, "text": OF_TEXT}
PANELS = {"For a run": OF_A_RUN, "For a model": OF_A_MODEL}
EXAMPLES = (
    ("A configuration, before it is run", "neuronspec check my.yaml"),
    ("A model, with languages and text", "neuronspec check facebook/nllb-200-distilled-600M --languages de,lb"),
    ("Masks with their model", "neuronspec check runs/mine/select --model runs/mine/train/pretrained/model"),
    ("Files of text", "neuronspec check corpora/"),
)


def check(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="Configuration, recipe or directory of a run; model; masks or counts; or file or folder of text."
        ),
    ],
    overrides: Overrides = None,
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", help="Model of masks, counts or text: a directory or a name on the hub."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="TASK=FILE", help="Text for a model: de-en=news.tsv. Repeatable."),
    ] = None,
    columns: ColumnsOption = None,
    format: FormatOption = None,
    languages: Annotated[
        str | None,
        typer.Option(
            "--languages", metavar="CODES", help="Languages or directions whose tags a model must have: de,fr."
        ),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Number of sentence pairs to read of each part of each pair of languages.")
    ] = None,
    identifier: IdentifierOption = None,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Whether to measure the speed of training.")
    ] = True,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="Seconds to measure for.")] = DEFAULT_SECONDS,
    out: Out = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Check a run, a model, masks or text before any work, with a fix for each problem."""
    work_alone()
    quiet_libraries()
    from neuronspec.pipeline.source_kinds import find_source_kind

    kind = find_source_kind(source)
    MODES[kind].check(context)

    # A configuration first: problems of its keys are found without libraries that take seconds.
    if kind == "configuration":
        options = RunOptions(source=source, overrides=overrides, out=out, seed=seed)
        result = _check_configuration(options, limit=sample, seconds=seconds if measure else 0.0)
    else:
        from neuronspec.pipeline.source_checkup import SourceOptions, check_source

        texts = TextOptions(texts=text or (), columns=columns or (), formats=format or ())
        if text:
            texts.check()
        given = SourceOptions(
            model=model,
            texts=texts.files if text else {},
            columns=texts.columns_by_task if text else {},
            formats=texts.formats_by_task if text else {},
            languages=languages,
            limit=sample,
            identifier=choose_identifier(identifier),
        )
        result = check_source(source, given)

    if as_json:
        print_json(result.as_dict())
    else:
        _print_checkup(result)
    if result.has_errors:
        raise typer.Exit(2)


def _check_configuration(options: RunOptions, *, limit: int | None, seconds: float) -> Checkup:
    """Check a run; of a sweep, its first run thoroughly, and the settings of all of them."""
    if options.has_several_values():
        from neuronspec.pipeline.run_checkup import check_runs

        return check_runs(options.open_sweep().runs, options.source, limit=limit, seconds=seconds)

    loaded = options.load()
    from neuronspec.pipeline.run import Run
    from neuronspec.pipeline.run_checkup import check_run

    return check_run(Run(loaded), options.source, limit=limit, seconds=seconds)


def _print_checkup(result: Checkup) -> None:
    """Print the facts, then the problems, then what the run takes."""
    say(f"{result.kind} {result.name}")
    for name, value in result.facts.items():
        say(f"  {name}: {_format_fact(value)}")
    if result.texts:
        print_table(_tabulate(result))

    # Several keys may have the same problem, such as corpora in one folder that is missing.
    lines = dict.fromkeys((problem.level, problem.message, problem.fix) for problem in result.problems)
    for level, message, fix in lines:
        say(f"{SIGNS[level]} {level}: {message}")
        if fix:
            say(f"    fix: {fix}")
    if not result.problems:
        say("no problems found")
    if result.estimate is not None:
        say(result.estimate.describe())


def _format_fact(value: object) -> str:
    """Return a fact in one line.

    Example:
        >>> _format_fact(12345), _format_fact(["de-en", "en-de"]), _format_fact({"de": "__de__"}), _format_fact([])
        ('12,345', 'de-en, en-de', 'de __de__', 'none')
    """
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        value = [f"{key} {one}" for key, one in value.items()]
    if isinstance(value, list | tuple):
        more = f" and {len(value) - LISTED} more" if len(value) > LISTED else ""
        return ", ".join(map(str, value[:LISTED])) + more or "none"
    return str(value)


def _tabulate(result: Checkup) -> Table:
    """Return a table of the numbers of sentence pairs."""
    from neuronspec.comparison.cells import Cell
    from neuronspec.comparison.tables import Table

    counts = result.count_sentences()
    parts = list(dict.fromkeys(part for numbers in counts.values() for part in numbers))
    rows = [[Cell(pair), *(Cell(numbers.get(part, "")) for part in parts)] for pair, numbers in counts.items()]
    return Table("Sentence pairs", ["pair", *parts], rows)
