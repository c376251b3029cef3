"""`neuronspec translate`: sentences with any model, or the test text of a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from neuronspec.cli.console import AsJson, Force, Out, load, quiet_libraries
from neuronspec.errors import NeuronspecError


def translate(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DIRECTION [SENTENCE]...] | CONFIG [KEY=VALUE]...",
            help="With --model: a direction (en-de) and sentences, or none to read them from standard input. "
            "Without: a configuration, whose test text is translated with every system.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", help="A model directory, or a name on the Hugging Face hub."),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Neuron masks to specialise the model with; by default the model's own."),
    ] = None,
    beams: Annotated[int, typer.Option(min=1, help="Beam size.")] = 5,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Translate sentences with a model, or the test text of a run with all of its systems."""
    words = what or []
    if not words:
        raise NeuronspecError('give --model DIR, a direction and text: neuronspec translate --model DIR en-de "Hello"')
    if model is None:
        from neuronspec.pipeline.plan import run

        directory = run(load(words[0], words[1:], out), until="translate", force=force).out
        typer.echo(f"the translations are in {directory / 'translations'}")
        return
    direction, sentences = words[0], words[1:] or _read_stdin()
    for source, translation in zip(sentences, _translate(model, masks, direction, sentences, beams), strict=True):
        typer.echo(
            json.dumps({"source": source, "translation": translation}, ensure_ascii=False) if as_json else translation
        )


def _read_stdin() -> list[str]:
    from neuronspec.data.formats import decode

    lines = sys.stdin.buffer.read().splitlines()
    return [decode(line, "standard input", number) for number, line in enumerate(lines, 1)]


def _translate(model: str, masks: Path | None, direction: str, sentences: list[str], beams: int) -> list[str]:
    quiet_libraries()
    from accelerate import PartialState

    from neuronspec.config import Translation
    from neuronspec.models.loading import load_model, load_tokenizer
    from neuronspec.neurons.masks import NeuronMasks
    from neuronspec.neurons.storage import MASKS_FILE
    from neuronspec.specialization.masking import specialize
    from neuronspec.translation.decoding import translate as decode

    loaded, tokenizer = load_model(model, translates=True), load_tokenizer(model)
    found = masks or (Path(model) / MASKS_FILE if (Path(model) / MASKS_FILE).is_file() else None)
    if found is not None:
        specialize(loaded, NeuronMasks.from_pretrained(found))
    loaded.to(PartialState().device)
    return decode(loaded, tokenizer, sentences, [direction] * len(sentences), Translation(beams=beams))
