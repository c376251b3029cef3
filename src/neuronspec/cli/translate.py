"""`neuronspec translate`: sentences with any model, or the test text of a run."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Iterator
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
    dense: Annotated[bool, typer.Option("--dense", help="Without masks, even where the model has some.")] = False,
    pivot: Annotated[str, typer.Option("--pivot", help="For zero-shot masks: what trained directions share.")] = "en",
    beams: Annotated[int, typer.Option(min=1, help="Beam size.")] = 5,
    source: Annotated[
        Path | None,
        typer.Option(
            "-i", "--input", help="A file of sentences; or of directions and sentences, where DIRECTION is -."
        ),
    ] = None,
    target: Annotated[
        Path | None, typer.Option("-t", "--to", help="The file to write; goes on where it stopped.")
    ] = None,
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
    rows = list(_read_rows(words[0], words[1:], source))
    if not rows:
        return
    sentences, tasks = [sentence for _, sentence in rows], [task for task, _ in rows]
    decode = _load(model, masks, dense, pivot, sorted(set(tasks)), beams)
    if target is not None:
        from neuronspec.progress import show_progress
        from neuronspec.translation.files import translate_file

        places = [Path(model), *([masks] if masks is not None else [])]
        settings = [_describe(place) for place in places] + [dense, pivot, beams]
        with show_progress("translating", len(rows)) as advance:
            translate_file(functools.partial(decode, advance=advance), sentences, tasks, target, settings, advance)
        typer.echo(f"{len(rows)} translations are in {target}")
        return
    for sentence, translation in zip(sentences, decode(sentences, tasks), strict=True):
        typer.echo(
            json.dumps({"source": sentence, "translation": translation}, ensure_ascii=False) if as_json else translation
        )


def _describe(place: Path) -> list[object]:
    """Return what tells a directory's content from another's: its files' names, sizes and times."""
    files = sorted(file for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file())
    return [str(place), *([str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files)]


def _read_rows(direction: str, sentences: list[str], source: Path | None) -> Iterator[tuple[str, str]]:
    """Yield the direction and the text of every sentence, of the arguments, a file, or standard input."""
    from neuronspec.data.formats import decode, read_lines

    place = str(source) if source is not None else "standard input"
    if source is not None and sentences:
        raise NeuronspecError(f"give sentences or --input {source}, not both")
    if sentences:
        lines: Iterable[str] = sentences
    elif source is not None:
        lines = read_lines(source)
    else:
        raw = sys.stdin.buffer.read().splitlines()
        lines = (decode(line, place, number) for number, line in enumerate(raw, 1))
    for number, line in enumerate(lines, 1):
        if direction != "-":
            yield direction, line
            continue
        task, tab, sentence = line.partition("\t")
        if not tab:
            raise NeuronspecError(f"{place}:{number}: expected a direction, a tab and a sentence: {line[:40]!r}")
        yield task, sentence


def _load(
    model: str, masks: Path | None, dense: bool, pivot: str, tasks: list[str], beams: int
) -> Callable[..., list[str]]:
    """Return the function that translates with a model, with masks for all of the tasks."""
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
    if found is not None and not dense:
        own = NeuronMasks.from_pretrained(found)
        unseen = [task for task in tasks if task not in own.tasks]
        for task in unseen:
            if pivot in task.split("-"):
                own.task_index(task)  # which says that there are none: nothing could be composed
        specialize(loaded, NeuronMasks.concatenate([own, own.zero_shot(unseen, pivot)]) if unseen else own)
    loaded.to(PartialState().device)
    return functools.partial(decode, loaded, tokenizer, options=Translation(beams=beams))
