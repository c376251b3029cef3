"""`neuronspec analyze`: what the neurons of a run, or of any model, say about their languages."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuronspec.cli.analyze_lape import OF_LAPE, analyze_lape
from neuronspec.cli.loading_options import (
    LOADING,
    DeviceMapOption,
    NumberChoice,
    NumberOption,
    QuantizeOption,
    describe_loading,
)
from neuronspec.cli.modes import Mode, reading
from neuronspec.cli.options import ONLY_RUNS, AsJson, DryRun, Force, Out, Overrides, Seed, ShareFrom, check_place
from neuronspec.cli.printing import note, print_json, quiet_libraries, say
from neuronspec.cli.runs import RunOptions
from neuronspec.cli.text_options import (
    ColumnsOption,
    FormatOption,
    SourcePrefixOption,
    TextOptions,
    TooLongChoice,
    TooLongOption,
)
from neuronspec.errors import NeuronspecError
from neuronspec.processes import work_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neuronspec.neurons.examples import Example
    from neuronspec.pipeline.analysis_target import AnalysisTarget
    from neuronspec.pipeline.layout import Layout
    from neuronspec.report.neuron_cards import NeuronCard

BOTH = reading("source", "overrides", "ablate", "given", "neuron", "out", "seed", "force", "as_json")
OF_A_RUN = Mode(
    reads=BOTH | {"share_from", "dry_run"},
    advice="a configuration says its masks, model, text and pivot itself: leave these options out",
    needs={"given": "ablate"},
)
OF_FILES = Mode(
    reads=BOTH | {"masks", "model", "text", "columns", "format", "source_prefix", "too_long", "pivot", *LOADING},
    own_advice=ONLY_RUNS,
    needs={
        "given": "ablate",
        "columns": "text",
        "format": "text",
        "source_prefix": "model",
        "too_long": "text",
        **dict.fromkeys(LOADING, "model"),
    },
)
WIDTH = 100  # characters of a sentence about the token that activates a neuron

MISSING_SOURCE = "give a configuration, a run, counts or masks; or --lape with --model and --text"
PANELS = {"For a run": OF_A_RUN, "For counts, masks and --lape": OF_FILES | OF_LAPE}
EXAMPLES = (
    ("The neurons of a run, and two of them in detail", "neuronspec analyze runs/demo --neuron decoder.0:117"),
    ("Masks or counts of any model", "neuronspec analyze counts --model DIR --text de-en=dev.tsv --out analysis"),
    (
        "What texts lose without the neurons of given masks, such as LAPE's",
        "neuronspec analyze runs/demo --ablate --with lape/masks",
    ),
    (
        "LAPE's perplexity matrix of a language model",
        "neuronspec analyze --lape --model DIR --text de=de.txt --text en=en.txt",
    ),
)


def analyze(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="Configuration, recipe or directory of a run; or directory or file of activation counts or masks; "
            "none with --lape.",
        ),
    ] = None,
    overrides: Overrides = None,
    ablate: Annotated[
        bool,
        typer.Option("--ablate", help="Switch off each language's own neurons, and measure which languages get worse."),
    ] = False,
    given: Annotated[
        Path | None,
        typer.Option(
            "--with",
            metavar="MASKS",
            help="Masks whose neurons --ablate switches off, such as LAPE's or imported ones; by default it chooses.",
        ),
    ] = None,
    lape: Annotated[
        bool,
        typer.Option(
            "--lape",
            help="Record a model on text, select each language's neurons by LAPE, switch them off, and measure the "
            "perplexity of every text.",
        ),
    ] = False,
    neuron: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER:NUMBER", help="Show this neuron, such as decoder.0:117. Repeatable."),
    ] = None,
    masks: Annotated[Path | None, typer.Option(help="Directory or file of the masks, if SOURCE holds counts.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Model of the counts: a directory or a name on the Hugging Face hub.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK=FILE", help="Text for the model, to find examples and for --ablate. Repeatable."),
    ] = None,
    columns: ColumnsOption = None,
    format: FormatOption = None,
    source_prefix: SourcePrefixOption = None,
    too_long: TooLongOption = TooLongChoice.cut,
    dtype: NumberOption = NumberChoice.float32,
    device_map: DeviceMapOption = None,
    quantize: QuantizeOption = None,
    pivot: Annotated[
        str | None,
        typer.Option(help="Language that the directions share, for counts and masks without a run. [default: en]"),
    ] = None,
    out: Out = None,
    share_from: ShareFrom = None,
    seed: Seed = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure what the neurons say about the languages; draw it, and write a report to explore in a browser."""
    quiet_libraries()
    from neuronspec.pipeline.layout import Layout

    if seed is not None and seed < 0:
        raise NeuronspecError(f"the seed must be a whole number from 0 on, not {seed}")

    # Options that only files of counts and masks have, so that a run can refuse them
    texts = TextOptions(
        texts=text or [],
        columns=columns or [],
        formats=format or [],
        source_prefix=source_prefix,
        too_long=too_long,
        loading=describe_loading(dtype, device_map, quantize),
    )
    if lape:
        OF_LAPE.check(context)
        words = [*([source] if source else []), *(overrides or [])]  # the first override takes the place of SOURCE
        analyze_lape(words, model, texts, out=out or Path("analysis"), seed=seed or 0, force=force, as_json=as_json)
        return

    options = FileOptions(masks=masks, model=model, texts=texts, pivot=pivot, seed=seed or 0, force=force)

    source, names = _require_source(source), neuron or []
    if _holds_neurons(Path(source)):
        # Nothing here is divided among processes.
        work_alone()
        OF_FILES.check(context)
        words = [*(overrides or []), *(["ablate=true"] if ablate else [])]
        if given is not None:
            words.append(f"ablate.masks={json.dumps(str(given))}")  # quoted: a path is text, whatever is in it
        layout = Layout(out or Path("analysis"))
        cards = _analyze_files(Path(source), words, options, layout=layout, names=names)
    else:
        OF_A_RUN.check(context)
        changes: dict[str, Any] = {"ablate": True} if ablate else {}
        if given is not None:
            changes["ablate.masks"] = str(given)
        run = RunOptions(
            source=source,
            overrides=overrides,
            out=out,
            share_from=share_from,
            seed=seed,
            changes=changes,
            force=force,
            dry_run=dry_run,
        )
        layout, cards = _analyze_run(run, names)

    _print_analysis(layout, cards, as_json)


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """Options for counts and masks outside of a run."""

    masks: Path | None
    model: str | None
    texts: TextOptions
    pivot: str | None
    seed: int
    force: bool

    def check(self, target: AnalysisTarget) -> None:
        """Refuse a model without text, and a measurement without a model.

        Raises:
            NeuronspecError: If something is missing.
        """
        if (self.model is None) != (not self.texts.texts):
            raise NeuronspecError("give --model and --text together")
        if target.ablation is not None and self.model is None:
            raise NeuronspecError("--ablate needs the model and text of its tasks: --model MODEL --text TASK=FILE ...")


def _require_source(source: str | None) -> str:
    """Return what to analyze, if it was given."""
    if source is None:
        raise NeuronspecError(MISSING_SOURCE)
    return source


def _holds_neurons(place: Path) -> bool:
    """Return whether a directory or file holds counts or masks: if it is no run. Anything else is a configuration."""
    from neuronspec.config.loading import holds_run, holds_sweep

    is_run = holds_run(place) or holds_sweep(place)
    return not is_run and (place.is_dir() or place.suffix == ".safetensors")


def _analyze_run(options: RunOptions, names: Sequence[str]) -> tuple[Layout, list[NeuronCard]]:
    """Analyze the neurons of a run; return where everything is, and the cards of some neurons."""
    config, layout = options.run("analyze")
    from neuronspec.pipeline.analysis_target import open_target
    from neuronspec.pipeline.file_analysis import describe_neurons
    from neuronspec.pipeline.run import Run

    return layout, describe_neurons(names, open_target(Run(config)), layout, layout.vocabulary)


def _analyze_files(
    place: Path, overrides: list[str], options: FileOptions, *, layout: Layout, names: Sequence[str]
) -> list[NeuronCard]:
    """Analyze counts and masks outside of a run; return the cards of some neurons."""
    from neuronspec.config.loading import load_sections

    sections = load_sections(overrides, "record", "select", "analyze", "ablate", "translate")
    from neuronspec.pipeline.file_analysis import analyze_files, describe_neurons, load_files
    from neuronspec.report.neuron_cards import make_neuron_card

    target = load_files(place, options.masks, sections, pivot=options.pivot, seed=options.seed)

    # What cannot be done, or would replace what is not ours, is refused before any work.
    options.check(target)
    for name in names:
        make_neuron_card(name, target.masks)
    _check_layout(layout, options.force)

    # Loading the model takes long, so it comes last.
    inputs = options.texts.open(options.model) if options.model is not None else None
    analyze_files(target, layout, inputs, sections.translate)
    return describe_neurons(names, target, layout, options.model)


def _check_layout(layout: Layout, force: bool) -> None:
    """Refuse to replace anything but an earlier analysis, finished or not."""
    # An analysis writes two folders, each through a temporary one next to it.
    made = {path.name for path in (layout.analysis, layout.examples)}
    left = {f".{name}.{end}" for name in made for end in ("tmp", "old")}  # by an analysis that was killed
    check_place(layout.out, force, lambda entry: entry.name in made | left)


def _print_analysis(layout: Layout, cards: Sequence[NeuronCard], as_json: bool) -> None:
    """Print the findings of an analysis, and the cards of neurons."""
    from neuronspec.files import read_json
    from neuronspec.pipeline.neuron_analysis import ANALYSIS_FILE, REPORT_FILE

    found = read_json(layout.analysis / ANALYSIS_FILE)

    # JSON for programs: the numbers behind the findings, and where the report is
    if as_json:
        values = {
            "summary": found["summary"],
            "tables": found["tables"]["statistics"],
            "neurons": {card.name: asdict(card) for card in cards},
            "report": str(layout.analysis / REPORT_FILE),
        }
        print_json(values)
        return

    # For people: findings with a dash, cautions with an exclamation mark, then the cards
    for finding in found["summary"]:
        say(f"{'-' if finding['kind'] == 'finding' else '!'} {finding['text']}")
    for card in cards:
        _print_card(card)
    note(f"Open {layout.analysis / REPORT_FILE} in a browser; the figures are in {layout.figures}.")


def _print_card(card: NeuronCard) -> None:
    """Print which tasks select and activate a neuron, and its examples."""
    say("", f"{card.name}: selected by {', '.join(card.owners) or 'no task'}")

    # The tasks on which the neuron is active most often come first.
    ranked = sorted(card.frequencies.items(), key=lambda item: -item[1])
    if ranked:
        say("active: " + ", ".join(f"{task} {100 * share:.0f} %" for task, share in ranked))
    for example in card.examples:
        _print_example(example)


def _print_example(example: Example) -> None:
    """Print a sentence with the word, or the special token, that activates the neuron most in brackets."""
    from neuronspec.report.marked_words import mark_word

    place = example.place
    start, end = mark_word(place)
    before, word, after = place.text[:start], place.text[start:end], place.text[end:]

    # A tag or another special token stands where it was read
    if place.role != "word":
        word = example.tokens[example.position]
        before, after = before and f"{before} ", after and f" {after}"
    say(f"{example.value:8.2f}  {example.task}: {before[-WIDTH:]}[{word}]{after[:WIDTH]}")
