"""`neuronspec record`: activation counts of a run, or of any model on text of yours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuronspec.cli.loading_options import (
    LOADING,
    DeviceMapOption,
    NumberChoice,
    NumberOption,
    QuantizeOption,
    describe_loading,
)
from neuronspec.cli.modes import Mode, reading
from neuronspec.cli.options import ONLY_RUNS, AsJson, DryRun, Force, Out, Overrides, Seed, ShareFrom, refuse_inside_run
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
from neuronspec.models.directories import check_directory

if TYPE_CHECKING:
    from neuronspec.neurons.counts import ActivationCounts

MISSING_SOURCE = "give a configuration, or --model MODEL --text TASK=FILE"
OF_A_RUN = Mode(
    reads=reading("config", "overrides", "out", "share_from", "seed", "force", "dry_run", "as_json"),
    advice="these options need --model; for a run, override the configuration: "
    "model.source_prefix=..., data.too_long=skip",
    own_advice={"text": MISSING_SOURCE, "columns": MISSING_SOURCE, "format": MISSING_SOURCE},
)
OF_A_MODEL = Mode(
    reads=reading(
        *(
            "config",
            "overrides",
            "model",
            "text",
            "columns",
            "format",
            "source_prefix",
            "too_long",
            *LOADING,
            "out",
            "force",
            "as_json",
        )
    ),
    own_advice={
        "seed": "--seed changes nothing with --model: nothing is drawn",
        **ONLY_RUNS,
    },
)

PANELS = {"For a run": OF_A_RUN, "For any other model": OF_A_MODEL}
EXAMPLES = (
    ("The model of a run on its validation text", "neuronspec record my.yaml"),
    ("Any model on text of yours", "neuronspec record --model facebook/nllb-200-distilled-600M --text de-en=dev.tsv"),
    (
        "Two texts in different formats",
        "neuronspec record --model DIR --text de-en=dev.jsonl --text fr-en=dev.tsv --columns fr-en=2,3",
    ),
)


def record(
    context: typer.Context,
    config: Annotated[
        str | None, typer.Argument(help="Configuration, whose model is recorded on its validation text.")
    ] = None,
    overrides: Overrides = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Any other model: a directory or a name on the Hugging Face hub.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            metavar="TASK=FILE",
            help="Text of a task: pairs, or lines for a decoder-only model. Repeatable.",
        ),
    ] = None,
    columns: ColumnsOption = None,
    format: FormatOption = None,
    source_prefix: SourcePrefixOption = None,
    too_long: TooLongOption = TooLongChoice.cut,
    dtype: NumberOption = NumberChoice.float32,
    device_map: DeviceMapOption = None,
    quantize: QuantizeOption = None,
    out: Out = None,
    share_from: ShareFrom = None,
    seed: Seed = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Count how often each neuron is active for each task."""
    texts = TextOptions(
        texts=text or [],
        columns=columns or [],
        formats=format or [],
        source_prefix=source_prefix,
        too_long=too_long,
        loading=describe_loading(dtype, device_map, quantize),
    )

    # Any model on files of text, or the model of a run on its validation text
    if model is not None:
        OF_A_MODEL.check(context)
        words = [*([config] if config else []), *(overrides or [])]  # the first override takes the place of CONFIG
        directory = out or Path("counts")
        counts = _record_model(model, texts, words, directory, force=force)
    else:
        OF_A_RUN.check(context)
        if config is None:
            raise NeuronspecError(MISSING_SOURCE)
        options = RunOptions(
            source=config, overrides=overrides, out=out, share_from=share_from, seed=seed, force=force, dry_run=dry_run
        )
        counts, directory = _record_run(options)

    _print_counts(counts, directory, as_json)


def _record_run(options: RunOptions) -> tuple[ActivationCounts, Path]:
    """Record the model of a run; return the counts and their directory."""
    _, layout = options.run("record")
    from neuronspec.neurons.counts import ActivationCounts

    return ActivationCounts.load(layout.counts), layout.counts


def _record_model(name: str, texts: TextOptions, overrides: list[str], out: Path, *, force: bool) -> ActivationCounts:
    """Record any model on text files; several processes share the tasks."""
    quiet_libraries()
    from neuronspec.config.loading import load_sections

    # Everything that can be wrong in the command line is checked before libraries that take seconds are imported.
    settings = load_sections(overrides, "record").record
    texts.check()
    refuse_inside_run(out, "--out", force)
    check_directory(name)

    from neuronspec.neurons.filenames import COUNTS_FILE
    from neuronspec.neurons.text_recording import record_texts

    # Recording takes long: counts are not replaced by mistake.
    if (out / COUNTS_FILE).exists() and not force:
        raise NeuronspecError(f"{out / COUNTS_FILE} exists: choose another --out, or --force")
    return record_texts(texts.open(name), name, settings, out)


def _print_counts(counts: ActivationCounts, directory: Path, as_json: bool) -> None:
    """Print the share of sentences or tokens that activate a neuron, by layer."""
    summary = _summarize(counts)
    if as_json:
        print_json(summary)
        return

    # For people, a line for each layer: the mean over the tasks
    say(f"{len(counts.tasks)} tasks, unit {counts.unit}; mean share of {counts.unit}s that activate a neuron:")
    for layer, shares in summary["active"].items():
        say(f"{layer}: {100 * sum(shares.values()) / len(shares):.1f} %")
    note(f"the activation counts are in {directory}")


def _summarize(counts: ActivationCounts) -> dict[str, Any]:
    """Return how much was seen of each task, and the mean activity in each layer, as JSON values."""
    # Share of the units in which a neuron is active, on average over the neurons of a layer
    active = {}
    for layer in counts.layers:
        shares = counts.frequencies(layer).mean(1).tolist()
        active[layer] = dict(zip(counts.tasks, shares, strict=True))

    # Number of sentences or tokens that were seen: in tokens, the stacks differ.
    seen = {}
    for stack, totals in counts.totals.items():
        seen[stack] = dict(zip(counts.tasks, totals.tolist(), strict=True))
    return {"unit": counts.unit, f"{counts.unit}s": seen, "active": active, "signature": dict(counts.signature)}
