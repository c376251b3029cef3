"""`neuronspec analyze`: what the neurons of a run, or of any model, say about their languages."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuronspec.cli.console import AsJson, Force, Out, Overrides, Seed, check_place, load, quiet_libraries
from neuronspec.cli.reading import open_reading
from neuronspec.errors import NeuronspecError

if TYPE_CHECKING:
    from neuronspec.analysis.cards import NeuronCard
    from neuronspec.pipeline.analyzing import Subject
    from neuronspec.pipeline.layout import Layout

WIDTH = 100  # characters of a sentence about the token that activates a neuron


def analyze(
    source: Annotated[str, typer.Argument(help="A configuration, or where activation counts or masks are.")],
    overrides: Overrides = None,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Switch off each language's own neurons, and measure who suffers.")
    ] = False,
    neuron: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER:NUMBER", help="Then show this neuron, such as decoder.0:117. Repeatable."),
    ] = None,
    masks: Annotated[Path | None, typer.Option(help="The masks, where SOURCE holds counts.")] = None,
    model: Annotated[str | None, typer.Option(help="The model of such counts: a directory or a hub name.")] = None,
    text: Annotated[
        list[str] | None, typer.Option(metavar="TASK=FILE", help="Text for it: to find examples, and for --ablate.")
    ] = None,
    pivot: Annotated[str, typer.Option(help="The language that directions share, without a configuration.")] = "en",
    out: Out = None,
    seed: Seed = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Measure what the neurons say about the languages; draw it, and write a report to explore in a browser."""
    quiet_libraries()
    from neuronspec.pipeline.layout import Layout

    place = Path(source)
    if place.is_dir() or place.suffix == ".safetensors":
        words = [*(overrides or []), *(["analysis.ablate=true"] if ablate else [])]
        subject, layout = _load_subject(place, words, masks, pivot, seed or 0), Layout(out or Path("analysis"))
        _check_neurons(subject, neuron or [])
        _analyze_subject(subject, layout, model, text or [], force)
        vocabulary: Path | str | None = model
    else:
        if masks is not None or model is not None or text:
            raise NeuronspecError("a configuration says itself which masks, model and text there are: leave them out")
        from neuronspec.pipeline.analyzing import load_subject
        from neuronspec.pipeline.plan import run

        config = load(source, overrides, out, seed, changes={"analysis.ablate": True} if ablate else {})
        layout = run(config, until="analyze", force=force)
        subject, vocabulary = load_subject(config, layout), layout.vocabulary
    _print(layout, _describe(subject, layout, vocabulary, neuron or []), as_json)


def _load_subject(place: Path, words: list[str], masks: Path | None, pivot: str, seed: int) -> Subject:
    """Return what is analysed without a run: counts with masks, or with those that they select; or masks alone."""
    from neuronspec.neurons.counts import COUNTS_FILE, ActivationCounts
    from neuronspec.neurons.masks import NeuronMasks
    from neuronspec.pipeline.analyzing import Subject
    from neuronspec.pipeline.work import choose
    from neuronspec.recipe import load_analysis

    neurons, options = load_analysis(words)
    if not ((place / COUNTS_FILE).is_file() or place.name == COUNTS_FILE):
        if masks is not None:
            raise NeuronspecError(f"{place} holds no activation counts to go with --masks")
        return Subject(place.name, NeuronMasks.from_pretrained(place), None, pivot, options, seed)
    counts = ActivationCounts.load(place)
    if masks is not None:
        return Subject(place.name, NeuronMasks.from_pretrained(masks), counts, pivot, options, seed)
    if neurons.k == "auto":
        raise NeuronspecError("neurons.k: auto needs a configuration: its model and its validation text")
    return Subject(place.name, choose(neurons, counts, neurons.k), counts, pivot, options, seed)


def _analyze_subject(subject: Subject, layout: Layout, model: str | None, texts: list[str], force: bool) -> None:
    """Analyse masks and counts without a run, with a model and text of theirs where they are given."""
    from neuronspec.pipeline.analyzing import analyze_texts, write_analysis

    if (model is None) != (not texts):
        raise NeuronspecError("give --model and --text together")
    if subject.options.ablate and model is None:
        raise NeuronspecError("--ablate needs the model and text of its tasks: --model MODEL --text TASK=FILE ...")
    made = {path.name for path in (layout.analysis, layout.figures, layout.examples)}
    made |= {f".{name}.{end}" for name in made for end in ("tmp", "old")}  # that a killed analysis has left
    check_place(layout.out, force, lambda entry: entry.name in made)
    if model is None:
        write_analysis(subject, layout, None, None, None, {})
        return
    reading = open_reading(model, texts)
    tags = reading.find_special(("tags", "end_of_sentence"))
    analyze_texts(subject, layout, reading.model, reading.tokenizer, reading.texts, tags)


def _check_neurons(subject: Subject, names: list[str]) -> None:
    """Refuse neurons that there are none of, before anything is analysed."""
    from neuronspec.analysis.cards import describe_neuron

    for name in names:
        describe_neuron(name, subject.masks)


def _describe(subject: Subject, layout: Layout, vocabulary: Path | str | None, names: list[str]) -> list[NeuronCard]:
    """Return the cards of neurons, with the examples that were found."""
    from neuronspec.analysis.cards import describe_neuron
    from neuronspec.models.loading import load_tokenizer
    from neuronspec.neurons.examples import Examples

    if not names:
        return []
    known = vocabulary is not None and subject.options.examples > 0
    examples = Examples.load(layout.examples) if known else None
    tokenizer = load_tokenizer(vocabulary) if known and vocabulary is not None else None
    return [describe_neuron(name, subject.masks, subject.counts, examples, tokenizer) for name in names]


def _print(layout: Layout, cards: list[NeuronCard], as_json: bool) -> None:
    from neuronspec.files import read_json
    from neuronspec.pipeline.analyzing import ANALYSIS_FILE, REPORT_FILE

    found = read_json(layout.analysis / ANALYSIS_FILE)
    if as_json:
        values = {
            "summary": found["summary"],
            "tables": found["tables"]["statistics"],
            "neurons": {card.name: asdict(card) for card in cards},
            "report": str(layout.analysis / REPORT_FILE),
        }
        typer.echo(json.dumps(values, indent=2, ensure_ascii=False))
        return
    for finding in found["summary"]:
        typer.echo(f"{'-' if finding['kind'] == 'finding' else '!'} {finding['text']}")
    for card in cards:
        _print_card(card)
    typer.echo(f"Open {layout.analysis / REPORT_FILE} in a browser; the figures are in {layout.figures}.")


def _print_card(card: NeuronCard) -> None:
    typer.echo(f"\n{card.name}: selected by {', '.join(card.owners) or 'no task'}")
    ranked = sorted(card.frequencies.items(), key=lambda item: -item[1])
    if ranked:
        typer.echo("active: " + ", ".join(f"{task} {100 * share:.0f} %" for task, share in ranked))
    for example in card.examples:
        before, token, after = (
            " ".join(part)
            for part in (
                example.tokens[: example.position],
                example.tokens[example.position : example.position + 1],
                example.tokens[example.position + 1 :],
            )
        )
        typer.echo(f"{example.value:8.2f}  {example.task}: {before[-WIDTH:]} [{token}] {after[:WIDTH]}")
