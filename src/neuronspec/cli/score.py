"""`neuronspec score`: a file of translations, those of a grid of directions, or every system of a run."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuronspec.cli.console import AsJson, Force, Out, Overrides, check_place, load
from neuronspec.cli.printing import note, print_json, say
from neuronspec.errors import NeuronspecError
from neuronspec.names import check_names
from neuronspec.processes import work_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neuronspec.evaluation.metric import Metric
    from neuronspec.evaluation.outputs import Outputs
    from neuronspec.evaluation.quality import Quality
    from neuronspec.evaluation.results import Results
    from neuronspec.evaluation.scoring import Score

logger = logging.getLogger(__name__)


def score(
    config: Annotated[str | None, typer.Argument(help="A configuration whose systems to score.")] = None,
    overrides: Overrides = None,
    hypotheses: Annotated[
        Path | None,
        typer.Option("-t", "--translations", help="Text, or a fairseq log; of a grid: out/{task}.txt"),
    ] = None,
    references: Annotated[
        Path | None, typer.Option("-r", "--references", help="Raw text; of a grid: flores.{tgt}")
    ] = None,
    language: Annotated[
        str, typer.Option("-l", "--language", help="Of the translations: decides how BLEU splits words.")
    ] = "",
    sources: Annotated[
        Path | None,
        typer.Option("-s", "--sources", help="Tells copied ones; COMET needs them. Of a grid: flores.{src}"),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("-m", "--metric", help="bleu, chrf, ter, spbleu, tokenized_bleu or comet; repeatable."),
    ] = None,
    sentencepiece: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The model of spbleu.")
    ] = None,
    comet_model: Annotated[str | None, typer.Option(help="Another model of comet: a name or a checkpoint.")] = None,
    detokenize: Annotated[
        bool, typer.Option("--detokenize", help="Undo Moses tokenization in the translations, and a log's references.")
    ] = False,
    system: Annotated[str, typer.Option(help="What to call the system of a grid.")] = "system",
    pivot: Annotated[str, typer.Option(help="Directions of a grid without it count as zero-shot.")] = "en",
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Score translations (text or fairseq logs) against references, or every system of a run."""
    if config is not None:
        if hypotheses or references or sources or metric or sentencepiece or comet_model or detokenize or language:
            raise NeuronspecError(
                "these options need --translations; for a run, change its configuration: score.metrics=[bleu, ter]"
            )
        from neuronspec.evaluation.results import Results
        from neuronspec.pipeline.plan import execute_stages
        from neuronspec.pipeline.run import Run

        directory = execute_stages(Run(load(config, overrides, out)), until="score", force=force).scores
        _report(Results.load(directory), directory, as_json)
        return

    work_alone()
    if hypotheses is None:
        raise NeuronspecError("give a configuration, or --translations FILE --references FILE --language CODE")
    how = How(references, sources, metric or ["bleu", "chrf"], sentencepiece, comet_model, detokenize)
    if "{" in str(hypotheses):
        if language:
            raise NeuronspecError("--language is for a single file: of a grid, the names say it")
        _score_grid(hypotheses, how, system, pivot, out, force, as_json)
        return
    if not language:
        raise NeuronspecError("say of what language the translations are: --language CODE")
    if out is not None:
        raise NeuronspecError("--out keeps the results of a grid: name files with {task}, {src}, {tgt}")
    _score_file(hypotheses, how, language, as_json)


@dataclass(frozen=True)
class How:
    """What translations are scored against, and with what."""

    references: Path | None
    sources: Path | None
    metrics: list[str]
    sentencepiece: Path | None
    comet_model: str | None
    detokenize: bool

    def open(self) -> AbstractContextManager[list[Metric]]:
        """Return the metrics, loaded as long as the context is open."""
        from neuronspec.evaluation.metric import MetricOptions
        from neuronspec.evaluation.scoring import open_metrics

        return open_metrics(self.metrics, MetricOptions(sentencepiece=self.sentencepiece, comet_model=self.comet_model))


def _score_file(hypotheses: Path, how: How, language: str, as_json: bool) -> None:
    from neuronspec.evaluation.quality import assess
    from neuronspec.evaluation.scoring import score
    from neuronspec.evaluation.tokenizers import warn_of_words
    from neuronspec.languages import expect_language

    expect_language(language)  # a misspelt code would choose the wrong tokenizer
    read = _read(hypotheses, how.references, how.sources, language if how.detokenize else None)
    references = read.references or ()
    with how.open() as metrics:
        scores = score(read.hypotheses, references, language, metrics, sources=read.sources)
    for warning in filter(None, (warn_of_words(one.metric, one.signature, language) for one in scores)):
        logger.warning(warning)
    _show(scores, assess(read.hypotheses, read.sources, references, language), as_json)


def _score_grid(
    hypotheses: Path, how: How, system: str, pivot: str, out: Path | None, force: bool, as_json: bool
) -> None:
    from neuronspec.data.templates import fill_template, find_tasks
    from neuronspec.evaluation.results import QUALITY_FILE, SCORES_FILE, STATISTICS, merge_results
    from neuronspec.evaluation.scoring import score_task
    from neuronspec.files import publish
    from neuronspec.languages import spell_pivot, split_direction
    from neuronspec.progress import show_progress

    check_names([system], "system")
    tasks = find_tasks(hypotheses)
    check_names(tasks)
    if how.references is not None:
        _check_references(how.references, tasks)
    if out is not None:
        check_place(out, force, lambda entry: entry.name in (SCORES_FILE, QUALITY_FILE, STATISTICS))
    pivot = spell_pivot(tasks, pivot)
    parts = []
    with show_progress("scoring", len(tasks)) as advance, how.open() as metrics:
        for task in tasks:
            sides = split_direction(task)
            read = _read(
                fill_template(hypotheses, task, "tgt"),
                None if how.references is None else fill_template(how.references, task, "tgt"),
                None if how.sources is None else fill_template(how.sources, task, "src"),
                sides[1] if how.detokenize else None,
            )
            references, unseen = read.references or (), pivot not in sides
            parts.append(
                score_task(system, task, read.hypotheses, references, metrics, sources=read.sources, zero_shot=unseen)
            )
            advance()
    results = merge_results(parts)
    for warning in results.warnings:
        logger.warning(warning)
    if out is not None:
        with publish(out) as temporary:
            temporary.mkdir()
            results.save(temporary)
    _report(results, out, as_json)


def _check_references(references: Path, tasks: list[str]) -> None:
    """Refuse a name that gives translations into different languages the same references."""
    from neuronspec.data.templates import fill_template
    from neuronspec.languages import split_direction

    targets: dict[Path, str] = {}
    for task in tasks:
        place, target = fill_template(references, task, "tgt"), split_direction(task)[1]
        if targets.setdefault(place, target) != target:
            raise NeuronspecError(
                f"--references {references} gives translations into {targets[place]} and {target} the same file: "
                "write {tgt} in it"
            )


def _read(hypotheses: Path, references: Path | None, sources: Path | None, detokenize: str | None) -> Outputs:
    """Read translations with their references, and warn of references that were taken apart."""
    from neuronspec.data.normalization import is_empty
    from neuronspec.evaluation.outputs import read_outputs
    from neuronspec.evaluation.quality import looks_tokenized

    read = read_outputs(hypotheses, references=references, sources=sources, detokenize=detokenize)
    if read.references is None:
        raise NeuronspecError(f"{hypotheses} holds no references: give a configuration, or --references FILE")
    if empty := sum(map(is_empty, read.references)):
        logger.warning(
            f"{empty} of the {len(read.references)} references of {hypotheses} are empty: any translation of those "
            "sentences counts as wrong"
        )
    if looks_tokenized(read.references):
        logger.warning(
            f"the references of {hypotheses} look tokenised: their scores cannot be compared with others'; "
            "give raw text"
        )
    return read


def _report(results: Results, directory: Path | None, as_json: bool) -> None:
    """Print the scores of a grid as JSON, or their signatures and averages."""
    if as_json:
        print_json([asdict(score) for score in results.scores])
        return
    for signature in results.signatures:
        say(signature)
    for name in results.metrics:
        for system in results.systems:
            mean = results.score(system, name, results.tasks)
            say(f"{system}: {name} {mean:.1f}, the mean over {len(results.tasks)} directions")
    if directory is not None:
        note(f"the results are in {directory}; neuronspec compare makes tables of them")


def _show(scores: Sequence[Score], quality: Quality, as_json: bool) -> None:
    """Print the scores of a file, and what no metric shows."""
    if as_json:
        print_json([*(asdict(score) for score in scores), {"quality": asdict(quality)}])
        return
    for one in scores:
        say(f"{one.metric} {one.value:.1f}  {one.signature}")
    for name in ("empty", "copied", "repeated", "over_long"):
        if (share := getattr(quality, name)) is not None:
            say(f"{name.replace('_', '-')} {100 * share:.1f} %")
    if quality.off_target is None:
        say(f"off-target: cannot be told ({quality.off_target_note})")
        return
    details = [f"of {quality.identified} long enough to tell"]
    if quality.off_target_references is not None:
        details.append(f"the references: {100 * quality.off_target_references:.1f} %")
    if quality.off_target_note:
        details.append(quality.off_target_note)
    say(f"off-target {100 * quality.off_target:.1f} % ({'; '.join(details)})")
