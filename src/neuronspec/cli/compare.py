"""`neuronspec compare`: the paper's tables from the results of runs, and of other systems' outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuronspec.cli.console import Force, check_place, print_table
from neuronspec.cli.printing import note, print_data, print_json
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.processes import work_alone

if TYPE_CHECKING:
    from neuronspec.comparison.study import Study
    from neuronspec.comparison.tables import Table

TERMINAL = "terminal"
FIGURES = "figures"


def compare(
    sets: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]DIRECTORY[:SYSTEM]...",
            help="Output directories of runs, or directories that score made; the first system is the baseline.",
        ),
    ],
    baseline: Annotated[str | None, typer.Option(help="Another system as the baseline.")] = None,
    bilingual: Annotated[
        str | None, typer.Option(help="The system of bilingual models: what is gained and lost against it.")
    ] = None,
    models: Annotated[
        bool, typer.Option("--models", help="One table with a column for each NAME=DIRECTORY: sizes, activations.")
    ] = False,
    pivot: Annotated[str | None, typer.Option(help="The language that most directions share.")] = None,
    level: Annotated[
        list[str] | None, typer.Option(help="Languages of a resource level: high=de,fr. Repeatable.")
    ] = None,
    table: Annotated[list[str] | None, typer.Option(help="Only this table, by name. Repeatable.")] = None,
    format: Annotated[str, typer.Option("-f", "--format", help="terminal, markdown, csv, latex or json.")] = TERMINAL,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write every table here in every format, and the figures.")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Of the significance tests.")] = None,
    significance: Annotated[
        float | None, typer.Option(min=0, max=1, help="Mark p-values up to this, after correction.")
    ] = None,
    correction: Annotated[
        str | None, typer.Option(help="Of p-values for the number of tests: none, holm (the default) or bh.")
    ] = None,
    p_values: Annotated[
        bool, typer.Option("--p-values", help="Show p-values on the terminal; files always hold them.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the significance tests; tests that a run made are made again.")
    ] = None,
    force: Force = False,
) -> None:
    """Compare systems as the paper does: by language, resource level, direction, cost; what is more than chance."""
    work_alone()
    from neuronspec.comparison.all_tables import name_table, tabulate_all, tabulate_tests
    from neuronspec.comparison.paper_tables import tabulate_interference, tabulate_models
    from neuronspec.comparison.tables import TABLE_FORMATS, write_tables
    from neuronspec.pipeline.collection import check_alike, gather, load_set, read_levels

    if format != TERMINAL:
        TABLE_FORMATS[format]  # which says so where it is unknown
    if out is not None:
        endings = {one.suffix for one in TABLE_FORMATS.values()}
        check_place(out, force, lambda entry: entry.suffix in endings or entry.name == FIGURES)
    loaded = [load_set(text) for text in sets]
    if models:
        if not all(name for name, _ in loaded) or len(dict(loaded)) < len(loaded):
            raise NeuronspecError("--models needs a name of its own for each directory: big=runs/big wide=runs/wide")
        if any(one is not None for one in (baseline, bilingual, pivot, level, trials, significance, correction, seed)):
            raise NeuronspecError("--models shows scores side by side: it takes no baseline, pivot, level or test")
        check_alike(loaded)
        tables = {"models": tabulate_models(dict(loaded), loaded[0][1].results.metrics)}
    else:
        study = gather(loaded, baseline, pivot, read_levels(level or ()), trials, significance, correction)
        study = _test(study, baseline, bilingual, seed, anew=seed is not None or trials is not None)
        tables = tabulate_all(study) | tabulate_tests(study)
        if bilingual is not None:
            tables |= {
                name_table("interference", metric): tabulate_interference(study, metric, bilingual)
                for metric in study.results.metrics
            }
    unknown = [name for name in table or () if name not in tables]
    if unknown:
        raise NeuronspecError(
            f"no table {unknown[0]!r}{did_you_mean(unknown[0], tables)}; there are {', '.join(tables)}"
        )
    chosen = {name: one for name, one in tables.items() if not table or name in table}
    shown = chosen if table or p_values or format != TERMINAL else _leave_out_tests(chosen)
    if out is not None:
        from neuronspec.files import publish

        with publish(out) as temporary:
            temporary.mkdir()
            write_tables(chosen, temporary)
            if not models:
                _draw(study, sets, temporary / FIGURES)
    _print(shown, format, p_values)
    if out is not None:
        note(f"{len(chosen)} tables are in {out}, as {', '.join(TABLE_FORMATS)}", err=True)


def _draw(study: Study, sets: list[str], directory: Path) -> None:
    """Draw gains and zero-shot scores, and of runs with different k the gain over k."""
    from neuronspec.figures.score_figures import draw_score_figures
    from neuronspec.figures.shares import draw_shares
    from neuronspec.pipeline.collection import collect_shares
    from neuronspec.pipeline.systems import COPY

    others = [one for one in study.results.systems if one not in (study.baseline, COPY)]
    draw_score_figures(study, directory, dict.fromkeys(others, study.baseline))
    metric = study.results.metrics[0]
    points = collect_shares(sets, metric)
    if len(points) > 1:
        draw_shares(points, directory / "shares", metric=metric, title="Gain and sparsity by k")


def _test(study: Study, baseline: str | None, bilingual: str | None, seed: int | None, *, anew: bool) -> Study:
    """Return a study with all comparisons that its tables show: those that are known, unless they are made anew."""
    from neuronspec.comparison import study as studies
    from neuronspec.progress import show_progress

    known = () if anew else study.comparisons
    pairs = _list_pairs(study, baseline, bilingual)
    missing = [pair for pair in pairs if pair not in {(one.baseline, one.system) for one in known}]
    if not missing:
        return study

    if seed is None:
        seed = next((one.seed for one in known if one.seed is not None), 0)
    with show_progress("testing differences", len(missing) * len(study.results.metrics)) as advance:
        found = studies.compare_study(study, missing, seed=seed, advance=advance)
    return replace(found, comparisons=(*known, *found.comparisons))


def _list_pairs(study: Study, baseline: str | None, bilingual: str | None) -> list[tuple[str, str]]:
    """Return the pairs to compare: those of the run, or the baseline and every other system; the bilingual models'."""
    systems = study.results.systems
    pairs = [] if baseline else [(one.baseline, one.system) for one in study.comparisons]
    pairs = pairs or [(study.baseline, system) for system in systems if system != study.baseline]
    if bilingual in systems:
        others = dict.fromkeys(system for pair in pairs for system in pair if system != bilingual)
        pairs += [(bilingual, system) for system in others]
    return list(dict.fromkeys(pairs))


def _leave_out_tests(tables: dict[str, Table]) -> dict[str, Table]:
    """Return tables without those that list every test."""
    from neuronspec.comparison.all_tables import SIGNIFICANCE

    return {name: one for name, one in tables.items() if name.partition(".")[0] != SIGNIFICANCE}


def _print(tables: dict[str, Table], format: str, p_values: bool) -> None:
    """Print tables: JSON as one object, by name."""
    from neuronspec.comparison.tables import TABLE_FORMATS

    if format == "json":
        print_json({name: one.to_json() for name, one in tables.items()})
        return
    for one in tables.values():
        if format == TERMINAL:
            print_table(one, p_values=p_values)
        else:
            print_data(TABLE_FORMATS[format].write(one))
