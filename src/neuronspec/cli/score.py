"""`neuronspec score`: a file of translations, those of a grid of directions, or every system of a run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuronspec.cli.choices import choose_identifier, list_metrics
from neuronspec.cli.modes import Mode, reading
from neuronspec.cli.options import (
    ONLY_RUNS,
    AsJson,
    ClusterOption,
    DryRun,
    Force,
    Out,
    Overrides,
    ShareFrom,
    WorkersOption,
    check_place,
)
from neuronspec.cli.printing import note, print_json, say
from neuronspec.cli.runs import RunOptions
from neuronspec.cli.text_options import IdentifierOption
from neuronspec.errors import NeuronspecError
from neuronspec.executors import use_workers
from neuronspec.processes import work_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neuronspec.evaluation.output_scoring import ScoringOptions
    from neuronspec.evaluation.quality import Quality
    from neuronspec.evaluation.results import Results
    from neuronspec.evaluation.scoring import Score

# Metrics of files and grids; those of a run are in its configuration.
DEFAULT_METRICS = ("bleu", "chrf")
DEFAULT_SYSTEM = "system"

OF_A_RUN = Mode(
    reads=reading(
        *("config", "overrides", "out", "share_from", "force", "dry_run", "workers", "cluster", "as_json"),
    ),
    advice="these options need --translations; for a run, override the configuration: score.metrics=[bleu, ter]",
    own_advice={
        "hypotheses": "give a configuration, whose systems are scored, or --translations FILE, not both",
        "language": "--language needs --translations: a run knows the languages of its directions",
        "pivot": "--pivot is for a grid; for a run, override the configuration: pivot=en",
        "no_quality": "--no-quality needs --translations: the report of a run shows broken translations",
    },
)
_SCORED = reading(
    *("hypotheses", "references", "sources", "metric", "sentencepiece", "comet_model", "detokenize", "identifier"),
    "no_quality",
)
OF_A_FILE = Mode(
    reads=_SCORED | {"language", "as_json"},
    advice="these options are for a grid: name files with {{task}}, {{src}}, {{tgt}}",
    own_advice={
        "out": "--out keeps the results of a grid: name files with {{task}}, {{src}}, {{tgt}}",
        **ONLY_RUNS,
    },
)
OF_A_GRID = Mode(
    reads=_SCORED | {"system", "pivot", "out", "force", "workers", "cluster", "as_json"},
    own_advice={
        "language": "--language is for a single file: of a grid, the names say it",
        **ONLY_RUNS,
    },
    needs={"force": "out"},
)

PANELS = {"For a run": OF_A_RUN, "For translations": OF_A_FILE | OF_A_GRID}
EXAMPLES = (
    ("A file of translations", "neuronspec score -t news.en -r reference.en -l en -s news.de"),
    ("A grid, with results for compare", "neuronspec score -t 'out/{task}.txt' -r 'flores.{tgt}' --out scores"),
    ("Several systems, scores only", "neuronspec score -t '{system}/{task}.txt' -r 'flores.{tgt}' --no-quality"),
    ("All systems of a run", "neuronspec score my.yaml"),
)


def score(
    context: typer.Context,
    config: Annotated[
        str | None, typer.Argument(help="Configuration, recipe or directory of a run, whose systems are scored.")
    ] = None,
    overrides: Overrides = None,
    hypotheses: Annotated[
        Path | None,
        typer.Option(
            "-t",
            "--translations",
            help="File of translations: text or a fairseq log. For a grid: out/{task}.txt, or {system}/{task}.txt.",
        ),
    ] = None,
    references: Annotated[
        Path | None, typer.Option("-r", "--references", help="File of references, raw text. For a grid: flores.{tgt}.")
    ] = None,
    language: Annotated[
        str,
        typer.Option(
            "-l", "--language", help="Code of the language of the translations, which decides how BLEU splits words."
        ),
    ] = "",
    sources: Annotated[
        Path | None,
        typer.Option(
            "-s", "--sources", help="File of source sentences, to count copies and for COMET. For a grid: flores.{src}."
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("-m", "--metric", help="Metrics: {metrics}. Repeatable.", autocompletion=list_metrics),
    ] = None,
    sentencepiece: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="SentencePiece model of the metric spbleu.")
    ] = None,
    comet_model: Annotated[
        str | None, typer.Option(help="Another model of the metric comet: a name or a checkpoint.")
    ] = None,
    detokenize: Annotated[
        bool, typer.Option("--detokenize", help="Undo Moses tokenization in the translations, and a log's references.")
    ] = False,
    identifier: IdentifierOption = None,
    no_quality: Annotated[
        bool,
        typer.Option("--no-quality", help="Only score: do not count translations that are broken or off-target."),
    ] = False,
    system: Annotated[
        str, typer.Option(help="Name of the system, in the results of a grid without {system} in its files.")
    ] = DEFAULT_SYSTEM,
    pivot: Annotated[
        str, typer.Option(help="Language of all trained directions; other directions of a grid are zero-shot.")
    ] = "en",
    out: Out = None,
    share_from: ShareFrom = None,
    force: Force = False,
    dry_run: DryRun = False,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    as_json: AsJson = False,
) -> None:
    """Score translations (text or fairseq logs) against references, or every system of a run."""
    # A configuration names all that is scored; without one, the options do.
    if config is not None:
        OF_A_RUN.check(context)
        _score_run(
            RunOptions(
                source=config,
                overrides=overrides,
                out=out,
                share_from=share_from,
                force=force,
                dry_run=dry_run,
                workers=workers,
                cluster=cluster,
            ),
            as_json,
        )
        return

    work_alone()
    if hypotheses is None:
        raise NeuronspecError("give a configuration, or --translations FILE --references FILE --language CODE")

    # A placeholder in the name of the translations stands for the directions of a grid.
    is_grid = "{" in str(hypotheses)
    (OF_A_GRID if is_grid else OF_A_FILE).check(context)
    if not is_grid and "{" in str(references):
        raise NeuronspecError(
            f"--references {references} is for a grid: write {{task}} in --translations, too: -t 'out/{{task}}.txt'"
        )
    if not is_grid and not language:
        raise NeuronspecError("missing --language CODE, the language of the translations (for example de)")

    from neuronspec.evaluation.output_scoring import ScoringOptions

    # What a file and a grid have in common
    options = ScoringOptions(
        references=references,
        sources=sources,
        metrics=_split_metrics(metric or ()) or DEFAULT_METRICS,
        sentencepiece=sentencepiece,
        comet_model=comet_model,
        detokenize=detokenize,
        identifier=None if no_quality else choose_identifier(identifier),
    )
    if is_grid:
        with use_workers(workers, cluster=cluster):
            results = _score_grid(hypotheses, options, system=system, pivot=pivot, out=out, force=force)
        _print_results(results, out, as_json)
    else:
        _score_file(hypotheses, options, language, as_json)


def _split_metrics(options: Sequence[str]) -> list[str]:
    """Return the metrics of all options, of which each may list several: `bleu,chrf`."""
    names = [name.strip() for option in options for name in option.split(",")]
    return list(filter(None, names))


def _score_run(options: RunOptions, as_json: bool) -> None:
    """Score the translations of every system of a run."""
    _, layout = options.run("score")
    from neuronspec.evaluation.results import Results

    _print_results(Results.load(layout.scores), layout.scores, as_json)


def _score_grid(
    hypotheses: Path, options: ScoringOptions, *, system: str, pivot: str, out: Path | None, force: bool
) -> Results:
    """Score the translations of a grid, and keep the results if the user says where."""
    from neuronspec.evaluation.grid_scoring import find_grid, score_grid
    from neuronspec.evaluation.results import QUALITY_FILE, SCORES_FILE, STATISTICS, TRANSLATIONS
    from neuronspec.files import publish

    # Everything that can be wrong with names and places is found before the scoring, which takes long.
    if "{system}" in str(hypotheses) and system != DEFAULT_SYSTEM:
        raise NeuronspecError("--system names the only system of a grid; {system} in --translations names them all")
    grid = find_grid(hypotheses, options.references, system)
    if out is not None:
        check_place(out, force, lambda entry: entry.name in (SCORES_FILE, QUALITY_FILE, STATISTICS, TRANSLATIONS))

    results = score_grid(grid, options, pivot=pivot)
    if out is not None:
        with publish(out) as temporary:
            temporary.mkdir()
            results.save(temporary)
    return results


def _print_results(results: Results, directory: Path | None, as_json: bool) -> None:
    """Print the scores of a grid as JSON, or their signatures and averages."""
    # All scores for programs; for people, the signatures and the mean over the directions
    if as_json:
        print_json([asdict(score) for score in results.scores])
        return

    from neuronspec.statistics.numbers import show_decimals

    for signature in results.signatures:
        say(signature)
    for name in results.metrics:
        for system in results.systems:
            tasks = [task for task in results.tasks if results.has(system, name, task)]
            mean = results.score(system, name, tasks)
            say(f"{system}: {name} {show_decimals(mean)}, the mean over {len(tasks)} directions")
    if directory is not None:
        note(f"the results are in {directory}; neuronspec compare makes tables of them")


def _score_file(hypotheses: Path, options: ScoringOptions, language: str, as_json: bool) -> None:
    """Score a file of translations, and print its scores and what metrics miss."""
    from neuronspec.evaluation.output_scoring import score_file

    scores, quality = score_file(hypotheses, options, language)
    if as_json:
        counted = [] if quality is None else [{"quality": asdict(quality)}]
        print_json([*(asdict(score) for score in scores), *counted])
        return

    _print_scores(scores)
    if quality is not None:
        _print_quality(quality)


def _print_scores(scores: Sequence[Score]) -> None:
    from neuronspec.statistics.numbers import show_decimals

    for score in scores:
        say(f"{score.metric} {show_decimals(score.value)}  {score.signature}")


def _print_quality(quality: Quality) -> None:
    """Print the shares of translations that are broken in a way that metrics miss."""
    # A share is None where it cannot be counted, as copies without sources.
    for name in ("empty", "copied", "repeated", "over_long"):
        share = getattr(quality, name)
        if share is not None:
            say(f"{name.replace('_', '-')} {100 * share:.1f} %")

    # Translations into another language, where languages could be identified
    if quality.off_target is None:
        say(f"off-target: unknown ({quality.off_target_note})")
        return

    # What the share must be read with: short sentences are left out, and references are misjudged, too.
    details = [f"of {quality.identified} long enough to identify"]
    if quality.off_target_references is not None:
        details.append(f"the references: {100 * quality.off_target_references:.1f} %")
    if quality.off_target_note:
        details.append(quality.off_target_note)
    say(f"off-target {100 * quality.off_target:.1f} % ({'; '.join(details)})")
