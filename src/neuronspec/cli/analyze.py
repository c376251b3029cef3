"""`neuronspec analyze`: what the neurons of a run, or of any model, say about their languages."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuronspec.cli.console import AsJson, Force, Out, Overrides, Seed, check_place, load, quiet_libraries
from neuronspec.cli.printing import note, print_json, say
from neuronspec.cli.reading import (
    ColumnsOption,
    SourcePrefixOption,
    TextOptions,
    TooLongChoice,
    TooLongOption,
    open_reading,
)
from neuronspec.errors import NeuronspecError
from neuronspec.processes import work_alone

if TYPE_CHECKING:
    from neuronspec.config.sections import Translation
    from neuronspec.pipeline.layout import Layout
    from neuronspec.pipeline.neuron_analysis import AnalysisTarget
    from neuronspec.report.neuron_cards import NeuronCard

WIDTH = 100  # characters of a sentence about the token that activates a neuron


def analyze(
    source: Annotated[
        str, typer.Argument(help="A configuration, a run's directory, or where activation counts or masks are.")
    ],
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
    columns: ColumnsOption = None,
    source_prefix: SourcePrefixOption = None,
    too_long: TooLongOption = TooLongChoice.cut,
    pivot: Annotated[
        str | None, typer.Option(help="The language that directions share, where it is not en and no configuration.")
    ] = None,
    out: Out = None,
    seed: Seed = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Measure what the neurons say about the languages; draw it, and write a report to explore in a browser."""
    quiet_libraries()
    from neuronspec.pipeline.layout import Layout

    if seed is not None and seed < 0:
        raise NeuronspecError(f"the seed must be a whole number from 0 on, not {seed}")
    place, names = Path(source), neuron or []
    if Layout(place).config.is_file():  # the output of a run
        source, out = str(Layout(place).config), out or place
    elif place.is_dir() or place.suffix == ".safetensors":
        work_alone()
        words = [*(overrides or []), *(["ablate=true"] if ablate else [])]
        target, translation = _load_subject(place, words, masks, pivot, seed or 0)
        layout = Layout(out or Path("analysis"))
        _check(target, layout, names, model, text or [], force)
        reads = TextOptions(columns, source_prefix, too_long)
        _analyze(target, layout, model, text or [], reads, translation)
        _print(layout, _describe(target, layout, model, names), as_json)
        return
    given = any(option is not None for option in (masks, model, pivot, columns, source_prefix))
    if given or text or too_long != TooLongChoice.cut:
        raise NeuronspecError("a configuration says its masks, model, text and pivot itself: leave these options out")

    config = load(source, overrides, out, seed, changes={"ablate": True} if ablate else {})
    from neuronspec.pipeline.neuron_analysis import open_target
    from neuronspec.pipeline.plan import execute_stages
    from neuronspec.pipeline.run import Run

    layout = execute_stages(Run(config), until="analyze", force=force)
    _print(layout, _describe(open_target(Run(config)), layout, layout.vocabulary, names), as_json)


def _load_subject(
    place: Path, words: list[str], masks: Path | None, pivot: str | None, seed: int
) -> tuple[AnalysisTarget, Translation]:
    """Return what is analysed without a run: counts with masks, or with those that they select; or masks alone."""
    from neuronspec.analysis.compared_tasks import has_pivot
    from neuronspec.config.loading import load_sections
    from neuronspec.neurons.counts import ActivationCounts
    from neuronspec.neurons.filenames import COUNTS_FILE
    from neuronspec.neurons.masks import NeuronMasks
    from neuronspec.pipeline.neuron_analysis import AnalysisTarget
    from neuronspec.pipeline.stages.select import select_masks

    sections = load_sections(words, "record", "select", "analyze", "ablate", "translate")
    selection = sections.select
    counts = ActivationCounts.load(place) if COUNTS_FILE in (place.name, *_list(place)) else None
    if counts is None and masks is not None:
        raise NeuronspecError(f"{place} holds no activation counts to go with --masks")
    selects = counts is not None and masks is None
    fixed = [f"record.{key}" for key in sections.record.model_fields_set]
    fixed += [f"select.{key}" for key in selection.model_fields_set if not selects]
    if fixed:
        raise NeuronspecError(f"{sorted(fixed)[0]} changes nothing in counts and masks that are there")
    if not selects:
        selected = NeuronMasks.from_pretrained(masks or place)
    elif selection.k == "auto":
        raise NeuronspecError("select.k: auto needs a configuration: its model and its validation text")
    else:
        assert counts is not None
        selected = select_masks(selection, counts, selection.k)
    if pivot is not None and not has_pivot(selected.tasks, pivot):
        raise NeuronspecError(f"no task is from or to the pivot {pivot!r}; there are {', '.join(selected.tasks)}")
    return AnalysisTarget(
        place.name, selected, counts, pivot or "en", sections.analyze, sections.ablate, seed
    ), sections.translate


def _list(place: Path) -> list[str]:
    return [entry.name for entry in place.iterdir()] if place.is_dir() else []


def _check(
    target: AnalysisTarget, layout: Layout, names: list[str], model: str | None, texts: list[str], force: bool
) -> None:
    """Refuse, before any work, what cannot be done or would replace what is not ours."""
    from neuronspec.report.neuron_cards import make_neuron_card

    if (model is None) != (not texts):
        raise NeuronspecError("give --model and --text together")
    if target.ablation is not None and model is None:
        raise NeuronspecError("--ablate needs the model and text of its tasks: --model MODEL --text TASK=FILE ...")
    for name in names:
        make_neuron_card(name, target.masks)
    made = {path.name for path in (layout.analysis, layout.examples)}
    made |= {f".{name}.{end}" for name in made for end in ("tmp", "old")}  # that a killed analysis has left
    check_place(layout.out, force, lambda entry: entry.name in made)


def _analyze(
    target: AnalysisTarget,
    layout: Layout,
    model: str | None,
    texts: list[str],
    reads: TextOptions,
    translation: Translation,
) -> None:
    """Analyse masks and counts without a run, with a model and text of theirs where they are given."""
    from neuronspec.pipeline.analysis_inputs import open_text_inputs
    from neuronspec.pipeline.neuron_analysis import analyze_target

    if model is None:
        analyze_target(target, layout, None)
        return
    reading = open_reading(model, texts, reads)
    special = reading.find_special(("tags", "end_of_sentence"))
    counted = (target.counts or target.masks).signature
    material = open_text_inputs(
        reading.model,
        reading.tokenizer,
        reading.texts,
        special=special,
        signature=counted,
        translation=translation,
        too_long=reading.too_long,
    )
    analyze_target(target, layout, material)


def _describe(
    target: AnalysisTarget, layout: Layout, vocabulary: Path | str | None, names: list[str]
) -> list[NeuronCard]:
    """Return the cards of neurons, with the examples that were found."""
    from neuronspec.models.loading import load_tokenizer
    from neuronspec.neurons.examples import Examples
    from neuronspec.report.neuron_cards import make_neuron_card

    if not names:
        return []
    known = vocabulary is not None and target.options.examples > 0
    examples = Examples.load(layout.examples) if known else None
    tokenizer = load_tokenizer(vocabulary) if known and vocabulary is not None else None
    return [make_neuron_card(name, target.masks, target.counts, examples, tokenizer) for name in names]


def _print(layout: Layout, cards: list[NeuronCard], as_json: bool) -> None:
    from neuronspec.files import read_json
    from neuronspec.pipeline.neuron_analysis import ANALYSIS_FILE, REPORT_FILE

    found = read_json(layout.analysis / ANALYSIS_FILE)
    if as_json:
        values = {
            "summary": found["summary"],
            "tables": found["tables"]["statistics"],
            "neurons": {card.name: asdict(card) for card in cards},
            "report": str(layout.analysis / REPORT_FILE),
        }
        print_json(values)
        return
    for finding in found["summary"]:
        say(f"{'-' if finding['kind'] == 'finding' else '!'} {finding['text']}")
    for card in cards:
        _print_card(card)
    note(f"Open {layout.analysis / REPORT_FILE} in a browser; the figures are in {layout.figures}.")


def _print_card(card: NeuronCard) -> None:
    say("", f"{card.name}: selected by {', '.join(card.owners) or 'no task'}")
    ranked = sorted(card.frequencies.items(), key=lambda item: -item[1])
    if ranked:
        say("active: " + ", ".join(f"{task} {100 * share:.0f} %" for task, share in ranked))
    for example in card.examples:
        before, token, after = (
            " ".join(part)
            for part in (
                example.tokens[: example.position],
                example.tokens[example.position : example.position + 1],
                example.tokens[example.position + 1 :],
            )
        )
        say(f"{example.value:8.2f}  {example.task}: {before[-WIDTH:]} [{token}] {after[:WIDTH]}")
