"""`neuronspec compare`: the paper's tables from the results of runs, and of other systems' outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuronspec.cli.choices import TERMINAL, list_corrections, list_table_formats
from neuronspec.cli.compare_page import check_page, write_page
from neuronspec.cli.console import print_table
from neuronspec.cli.modes import Mode, reading
from neuronspec.cli.options import Force, check_place
from neuronspec.cli.printing import note, print_data, print_json
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.processes import work_alone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from neuronspec.comparison.study import Study
    from neuronspec.comparison.tables import Table

# Name of the folder of figures, next to the tables
FIGURES = "figures"

# The tables that the terminal shows unless others are asked for
MAIN_TABLES = ("averages", "outcomes", "interference")

_SHOWN = reading("sets", "table", "format", "out", "force")
OF_A_STUDY = Mode(
    reads=_SHOWN
    | {"baseline", "bilingual", "pivot", "level", "trials", "significance", "correction", "p_values", "seed"}
    | {"html", "show_all"},
    needs_any={"force": ("out", "html")},
)
OF_MODELS = Mode(
    reads=_SHOWN | {"models"},
    advice="--models shows scores side by side: it takes no baseline, pivot, level or test, and has no page",
    needs={"force": "out"},
)
EXAMPLES = (
    ("The systems of a run", "neuronspec compare runs/demo"),
    ("A page with every translation side by side", "neuronspec compare runs/demo --html compare.html"),
    ("Two runs, in every format with figures", "neuronspec compare base=runs/a ours=runs/b --out tables"),
    ("The quality of every system for a paper", "neuronspec compare runs/demo --table quality --format latex"),
)


def compare(
    context: typer.Context,
    sets: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]DIRECTORY[:SYSTEM]...",
            help="Output directories of runs, or directories that score made; the first system is the baseline.",
        ),
    ],
    baseline: Annotated[str | None, typer.Option(help="Another system as the baseline.")] = None,
    bilingual: Annotated[
        str | None, typer.Option(help="System of bilingual models, to show gains and losses against it.")
    ] = None,
    models: Annotated[
        bool, typer.Option("--models", help="Show one table with a column for each NAME=DIRECTORY: sizes, activations.")
    ] = False,
    pivot: Annotated[str | None, typer.Option(help="Language that most directions share.")] = None,
    level: Annotated[
        list[str] | None, typer.Option(help="Languages of a resource level: high=de,fr. Repeatable.")
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option(help="Name of a table to show: levels.bleu, quality. Repeatable.")
    ] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every table on the terminal, not only averages and outcomes.")
    ] = False,
    format: Annotated[
        str, typer.Option("-f", "--format", help="Format: {table_formats}.", autocompletion=list_table_formats)
    ] = TERMINAL,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Directory to write every table to, in every format, with the figures."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Page to write, with tables, figures and all translations."),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Number of trials of the significance tests.")] = None,
    significance: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Largest p-value, after correction, that is marked as significant."),
    ] = None,
    correction: Annotated[
        str | None,
        typer.Option(
            help="Correction of p-values for the number of tests: {corrections}. [default: holm]",
            autocompletion=list_corrections,
        ),
    ] = None,
    p_values: Annotated[
        bool, typer.Option("--p-values", help="Show p-values on the terminal; files always hold them.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the significance tests; tests that a run made are repeated.")
    ] = None,
    force: Force = False,
) -> None:
    """Compare systems as the paper does: by language, resource level, direction and cost, with significance tests."""
    (OF_MODELS if models else OF_A_STUDY).check(context)
    work_alone()
    _check_output(format, out=out, html=html, force=force)
    from neuronspec.pipeline.collection import load_set

    options = StudyOptions(
        baseline=baseline,
        bilingual=bilingual,
        pivot=pivot,
        level=level,
        trials=trials,
        significance=significance,
        correction=correction,
        seed=seed,
    )

    # Either a column for each model, without tests, or every table of one study
    loaded = [load_set(text) for text in sets]
    study = None
    if models:
        tables = _tabulate_models(loaded)
    else:
        study = options.make_study(loaded)
        tables = _tabulate_study(study, bilingual)

    # Files come before the terminal: a reader that stops, such as head, must not prevent them.
    chosen = _choose_tables(tables, table or [])
    if out is not None:
        _write(chosen, study, sets, out)
    if html is not None and study is not None:
        write_page(study, chosen if table else _leave_out_tests(chosen), sets, html)

    # On the terminal a few tables say what was found; others are shown when asked for.
    everything = models or show_all or table or p_values or format != TERMINAL
    printed = chosen if everything else _choose_main(chosen)
    _print_tables(printed, format, p_values)
    _print_notes([name for name in chosen if name not in printed], len(chosen), out=out, html=html)


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Options of a comparison of systems, None where not given."""

    baseline: str | None
    bilingual: str | None
    pivot: str | None
    level: list[str] | None
    trials: int | None
    significance: float | None
    correction: str | None
    seed: int | None

    def make_study(self, loaded: Sequence[tuple[str, Study]]) -> Study:
        """Return one study of all results, with all comparisons that its tables show."""
        from neuronspec.comparison.completion import complete_comparisons
        from neuronspec.pipeline.collection import gather, read_levels

        # One study, with the comparisons that a run has stored where they still apply
        study = gather(
            loaded,
            baseline=self.baseline,
            pivot=self.pivot,
            levels=read_levels(self.level or ()),
            trials=self.trials,
            significance=self.significance,
            correction=self.correction,
        )

        # Missing tests are made; all of them again where seed or number of trials is another one.
        return complete_comparisons(
            study,
            baseline=self.baseline,
            bilingual=self.bilingual,
            seed=self.seed,
            anew=self.seed is not None or self.trials is not None,
        )


def _check_output(format: str, *, out: Path | None, html: Path | None, force: bool) -> None:
    """Refuse an unknown format, and a directory or page that holds something other than was written here before."""
    from neuronspec.comparison.tables import TABLE_FORMATS

    if format != TERMINAL:
        TABLE_FORMATS[format]  # which says so where it is unknown
    if out is not None:
        # With --force, only a folder of tables and figures is replaced.
        endings = {one.suffix for one in TABLE_FORMATS.values()}
        check_place(out, force, lambda entry: entry.suffix in endings or entry.name == FIGURES)
    if html is not None:
        check_page(html, force)


def _tabulate_models(loaded: Sequence[tuple[str, Study]]) -> dict[str, Table]:
    """Return the table that shows models side by side."""
    from neuronspec.comparison.paper_tables import tabulate_models
    from neuronspec.pipeline.collection import check_alike

    # Names are the headings of the columns, so that each directory needs one of its own.
    named = {name: study for name, study in loaded if name}
    if len(named) < len(loaded):
        raise NeuronspecError("--models needs a name of its own for each directory: big=runs/big wide=runs/wide")

    # Columns are compared by eye: they must have been scored alike.
    check_alike(loaded)
    _, first = loaded[0]
    return {"models": tabulate_models(named, first.results.metrics)}


def _tabulate_study(study: Study, bilingual: str | None) -> dict[str, Table]:
    """Return every table of a comparison, by name."""
    from neuronspec.comparison.all_tables import name_table, tabulate_all, tabulate_tests
    from neuronspec.comparison.averages import tabulate_averages
    from neuronspec.comparison.paper_tables import tabulate_interference

    tables = {"averages": tabulate_averages(study)} | tabulate_all(study) | tabulate_tests(study)
    if bilingual is None:
        return tables

    # Gains and losses against bilingual models, a table for each metric
    for metric in study.results.metrics:
        tables[name_table("interference", metric)] = tabulate_interference(study, metric, bilingual)
    return tables


def _choose_tables(tables: Mapping[str, Table], names: Sequence[str]) -> dict[str, Table]:
    """Return the tables that were asked for, all of them if none was."""
    for name in names:
        if name not in tables:
            raise NeuronspecError(f"no table {name!r}{did_you_mean(name, tables)}; there are {', '.join(tables)}")

    # The order is that of the tables, not that of the options.
    return {name: one for name, one in tables.items() if not names or name in names}


def _leave_out_tests(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Return tables without those that list every test, which are too long to read on a page."""
    from neuronspec.comparison.all_tables import SIGNIFICANCE

    return {name: one for name, one in tables.items() if name.partition(".")[0] != SIGNIFICANCE}


def _choose_main(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Return the tables that say what was found: averages, and how many directions are better or worse."""
    # Gains and losses against bilingual models are there only if they were asked for.
    return {name: one for name, one in tables.items() if name.partition(".")[0] in MAIN_TABLES} or dict(tables)


def _write(tables: Mapping[str, Table], study: Study | None, sets: list[str], out: Path) -> None:
    """Write tables in every format, and the figures of a study."""
    from neuronspec.comparison.tables import write_tables
    from neuronspec.files import publish

    with publish(out) as temporary:
        temporary.mkdir()
        write_tables(tables, temporary)
        # A table of models has no figures.
        if study is not None:
            _draw(study, sets, temporary / FIGURES)


def _draw(study: Study, sets: list[str], directory: Path) -> None:
    """Draw gains and zero-shot scores, and, for runs with different k, the gain over k."""
    from neuronspec.figures.score_figures import draw_score_figures
    from neuronspec.figures.shares import draw_shares
    from neuronspec.pipeline.collection import collect_shares
    from neuronspec.pipeline.systems import COPY

    # Every system against the baseline; copying the source would only compress the axes.
    others = [one for one in study.results.systems if one not in (study.baseline, COPY)]
    draw_score_figures(study, directory, dict.fromkeys(others, study.baseline))

    metric = study.results.metrics[0]
    points = collect_shares(sets, metric)
    # A single k is no curve.
    if len(points) > 1:
        draw_shares(points, directory / "shares", metric=metric, title="Gain and sparsity by k")


def _print_tables(tables: dict[str, Table], format: str, p_values: bool) -> None:
    """Print tables: JSON as one object, by name."""
    from neuronspec.comparison.tables import TABLE_FORMATS

    # One JSON value, since several in a row could not be parsed as one
    if format == "json":
        print_json({name: one.to_json() for name, one in tables.items()})
        return

    for one in tables.values():
        if format == TERMINAL:
            print_table(one, p_values=p_values)
        else:
            print_data(TABLE_FORMATS[format].write(one))


def _print_notes(hidden: Sequence[str], tables: int, *, out: Path | None, html: Path | None) -> None:
    """Print which tables the terminal does not show, and where files are; on stderr, so that tables can be piped."""
    if hidden:
        note(f"{len(hidden)} more with --all, or one with --table: {', '.join(hidden)}", err=True)
    if out is not None:
        from neuronspec.comparison.tables import TABLE_FORMATS

        note(f"{tables} tables are in {out}, as {', '.join(TABLE_FORMATS)}", err=True)
    if html is not None:
        note(f"the page is {html}", err=True)
