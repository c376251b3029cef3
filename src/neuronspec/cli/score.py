"""`neuronspec score`: a file of translations, or every system of a run."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from neuronspec.cli.console import AsJson, Force, Out, Overrides, load
from neuronspec.errors import NeuronspecError


def score(
    config: Annotated[str | None, typer.Argument(help="A configuration whose systems to score.")] = None,
    overrides: Overrides = None,
    hypotheses: Annotated[Path | None, typer.Option("-t", "--translations", exists=True, dir_okay=False)] = None,
    references: Annotated[Path | None, typer.Option("-r", "--references", exists=True, dir_okay=False)] = None,
    language: Annotated[
        str, typer.Option("-l", "--language", help="Of the translations: decides how BLEU splits words.")
    ] = "",
    metric: Annotated[list[str] | None, typer.Option("-m", "--metric", help="bleu, chrf or ter; repeatable.")] = None,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Score a file of translations against references, or every system of a run."""
    if config is not None:
        from neuronspec.pipeline.plan import run

        directory = run(load(config, overrides, out), until="score", force=force).out
        typer.echo(f"the scores are in {directory / 'scores'}")
        return
    if hypotheses is None or references is None or not language:
        raise NeuronspecError("give a configuration, or --translations FILE --references FILE --language CODE")
    from neuronspec.data.formats import read_lines
    from neuronspec.evaluation.metrics import evaluate
    from neuronspec.languages import find_language

    find_language(re.split("[-_]", language)[0])  # a misspelt code would be scored with the wrong tokenizer
    scores = evaluate(list(read_lines(hypotheses)), list(read_lines(references)), language, metric or ("bleu", "chrf"))
    if as_json:
        typer.echo(json.dumps([asdict(score) for score in scores], indent=2))
        return
    for one in scores:
        typer.echo(f"{one.metric} {one.value:.1f}  {one.signature}")
