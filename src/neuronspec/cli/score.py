"""`neuronspec score`: a file of translations, or every system of a run."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuronspec.cli.console import AsJson, Force, Out, Overrides, load
from neuronspec.errors import NeuronspecError

if TYPE_CHECKING:
    from neuronspec.evaluation.quality import Quality

logger = logging.getLogger(__name__)


def score(
    config: Annotated[str | None, typer.Argument(help="A configuration whose systems to score.")] = None,
    overrides: Overrides = None,
    hypotheses: Annotated[Path | None, typer.Option("-t", "--translations", exists=True, dir_okay=False)] = None,
    references: Annotated[Path | None, typer.Option("-r", "--references", exists=True, dir_okay=False)] = None,
    language: Annotated[
        str, typer.Option("-l", "--language", help="Of the translations: decides how BLEU splits words.")
    ] = "",
    sources: Annotated[
        Path | None,
        typer.Option(
            "-s", "--sources", exists=True, dir_okay=False, help="Also count copied and otherwise broken ones."
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("-m", "--metric", help="bleu, chrf, ter, spbleu or tokenized_bleu; repeatable."),
    ] = None,
    sentencepiece: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The model of spbleu.")
    ] = None,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Score a file of translations (or a fairseq log) against references, or every system of a run."""
    if config is not None:
        from neuronspec.pipeline.plan import run

        directory = run(load(config, overrides, out), until="score", force=force).out
        typer.echo(f"the scores are in {directory / 'scores'}")
        return
    if hypotheses is None or not language:
        raise NeuronspecError("give a configuration, or --translations FILE --references FILE --language CODE")
    from neuronspec.evaluation.metrics import evaluate
    from neuronspec.evaluation.outputs import read_outputs
    from neuronspec.evaluation.quality import assess, looks_tokenized
    from neuronspec.languages import find_language

    find_language(re.split("[-_]", language)[0])  # a misspelt code would be scored with the wrong tokenizer
    read = read_outputs(hypotheses, references=references, sources=sources)
    if read.references is None:
        raise NeuronspecError(f"{hypotheses} holds no references: give a configuration, or --references FILE")
    if looks_tokenized(read.references):
        logger.warning("the references look tokenised: their scores cannot be compared with others'; give raw text")
    scores = evaluate(
        read.hypotheses, read.references, language, metric or ("bleu", "chrf"), sentencepiece=sentencepiece
    )
    quality = None if read.sources is None else assess(read.hypotheses, read.sources, read.references, language)
    if as_json:
        found = [asdict(score) for score in scores]
        typer.echo(json.dumps(found if quality is None else [*found, {"quality": asdict(quality)}], indent=2))
        return
    for one in scores:
        typer.echo(f"{one.metric} {one.value:.1f}  {one.signature}")
    if quality is not None:
        _show_quality(quality)


def _show_quality(quality: Quality) -> None:
    for name in ("empty", "copied", "repeated", "over_long"):
        typer.echo(f"{name.replace('_', '-')} {100 * getattr(quality, name):.1f} %")
    if quality.off_target is None or quality.off_target_references is None:
        typer.echo(f"off-target: cannot be told ({quality.off_target_note or 'no sentence is long enough'})")
        return
    own = f"of {quality.identified} long enough to tell; the references: {100 * quality.off_target_references:.1f} %"
    typer.echo(f"off-target {100 * quality.off_target:.1f} % ({own})")
