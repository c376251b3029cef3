"""`neuronspec export`: a model for one direction, or its masks, in a format of another tool, proven equal."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from neuronspec.cli.choices import list_export_formats
from neuronspec.cli.modes import Mode, reading
from neuronspec.cli.options import AsJson, Force, Out, SteerOption, refuse_inside_run
from neuronspec.cli.printing import note, print_json, quiet_libraries, say
from neuronspec.cli.text_options import ColumnsOption, SourcePrefixOption, TextOptions
from neuronspec.config.loading import holds_run, names_config
from neuronspec.errors import NeuronspecError
from neuronspec.exports.formats import DEFAULT_FORMAT, EXPORTS
from neuronspec.exports.places import check_destination
from neuronspec.models.directories import check_directory
from neuronspec.processes import work_alone

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from neuronspec.exports import Agreement, Export
    from neuronspec.neurons.masks import NeuronMasks
    from neuronspec.specialization import Steering

SENTENCES = 50  # of each task, for the proof

_COMMON = reading(
    *("source", "settings", "format", "task", "masks", "dense", "pivot", "text", "columns", "sentences", "max_tokens"),
    *("steer", "out", "force", "as_json"),
)
OF_A_RUN = Mode(
    reads=_COMMON | {"method"},
    own_advice={"source_prefix": "--source-prefix is for a model: a run has model.source_prefix in its configuration"},
)
OF_A_MODEL = Mode(
    reads=_COMMON | {"source_prefix"},
    own_advice={"method": "--method names a training of a run: give the directory of the run"},
)

PANELS = {"For a run": OF_A_RUN, "For any other model": OF_A_MODEL}
EXAMPLES = (
    (
        "A direction of a run as a small model for plain transformers",
        "neuronspec export runs/mine --task de-en -o de-en",
    ),
    (
        "A model of the hub with masks, proven on text of yours",
        "neuronspec export facebook/nllb-200-distilled-600M --masks masks --task de-en --text de-en=dev.tsv -o de-en",
    ),
    (
        "The smallest directory, each layer with its own width",
        "neuronspec export runs/mine widths=own --task de-en -o de-en",
    ),
)


def export(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(help="Directory or configuration of a run; or a model: a directory or a name on the hub."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Options of the format: widths=own."),
    ] = None,
    format: Annotated[
        str,
        typer.Option("-f", "--format", help="Format: {export_formats}.", autocompletion=list_export_formats),
    ] = DEFAULT_FORMAT,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="TASK[,TASK...]",
            help="Direction to export; formats of several tasks take several, and by default all.",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("-m", "--method", help="System of the run; by default the one that has neuron masks."),
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Neuron masks to export; by default those of the run or next to the model.")
    ] = None,
    dense: Annotated[bool, typer.Option("--dense", help="Export the model with all of its neurons.")] = False,
    pivot: Annotated[
        str, typer.Option("--pivot", help="Language that the trained directions share, for zero-shot masks.")
    ] = "en",
    steer: SteerOption = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            metavar="TASK=FILE",
            help="Text that proves the export: pairs, or lines for a decoder-only model; by default the validation "
            "text of the run. Repeatable.",
        ),
    ] = None,
    columns: ColumnsOption = None,
    source_prefix: SourcePrefixOption = None,
    sentences: Annotated[
        int, typer.Option("--sentences", min=1, help="Number of sentences of each task that prove the export.")
    ] = SENTENCES,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens",
            min=1,
            help="Largest number of tokens of an answer in the proof; 200 for translations, 32 for continuations.",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Export a model for a direction, or its masks, to other tools, with proof that its outputs are the same."""
    if source is None:
        raise NeuronspecError("give a run or a model: neuronspec export runs/mine --task de-en --out DIR")
    if out is None:
        raise NeuronspecError("give the directory of the export: --out DIR")

    # Everything that can be wrong in the command line is checked before libraries that take seconds are imported.
    options = ExportOptions(
        format=format,
        settings=read_settings(settings or []),
        tasks=[name for given in task or [] for name in given.split(",") if name],
        method=method,
        masks=masks,
        dense=dense,
        pivot=pivot,
        steer=steer,
        texts=TextOptions(texts=text or [], columns=columns or [], source_prefix=source_prefix),
        sentences=sentences,
        max_tokens=max_tokens,
        out=out,
        force=force,
    )
    is_run = names_config(source) or holds_run(Path(source))
    (OF_A_RUN if is_run else OF_A_MODEL).check(context)
    options.check()

    work_alone()
    quiet_libraries()
    if steer is not None:
        options.steerings  # noqa: B018 - a mistake in it is reported before a model is loaded
    finished = _export_run(source, options, options.method) if is_run else _export_model(source, options)
    _print_export(finished, as_json)


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of an export, from the command line."""

    format: str
    settings: dict[str, Any]
    tasks: list[str]
    method: str | None
    masks: Path | None
    dense: bool
    pivot: str
    steer: Path | None
    texts: TextOptions
    sentences: int
    max_tokens: int | None
    out: Path
    force: bool

    def check(self) -> None:
        """Refuse what cannot work, before a model is loaded.

        Raises:
            NeuronspecError: If the format is unknown, the place is taken, or options contradict each other.
        """
        EXPORTS[self.format]
        if self.dense and self.masks is not None:
            raise NeuronspecError("give --masks or --dense, not both")
        if self.steer is not None and not EXPORTS[self.format].steers:
            able = " or ".join(name for name, format in EXPORTS.items() if format.steers)
            raise NeuronspecError(f"--steer is for --format {able}: {self.format} would lose it")
        if self.texts.texts:
            self.texts.check()

        # Not even with --force: the stages of a run would lose their results.
        refuse_inside_run(self.out, "--out")
        check_destination(self.out, self.force)

    def load_masks(self, own: NeuronMasks | None) -> NeuronMasks | None:
        """Return the masks to export: those that were given, those that the model has, or none."""
        from neuronspec.neurons.masks import NeuronMasks

        if self.dense:
            return None
        return own if self.masks is None else NeuronMasks.from_pretrained(self.masks)

    @functools.cached_property
    def steerings(self) -> tuple[Steering, ...]:
        """Steerings to export."""
        from neuronspec.specialization.steering_files import read_steerings

        return () if self.steer is None else read_steerings(self.steer)


def read_settings(words: Sequence[str]) -> dict[str, Any]:
    """Return the options of a format, `KEY=VALUE` each.

    Raises:
        NeuronspecError: If one cannot be read or comes twice.

    Example:
        >>> read_settings(["widths=own", "beams=5"])
        {'widths': 'own', 'beams': 5}
    """
    values: dict[str, Any] = {}
    for word in words:
        key, separator, text = word.partition("=")
        if not separator or not key:
            raise NeuronspecError(f"cannot read {word!r}: expected an option of the format, KEY=VALUE")
        if key in values:
            raise NeuronspecError(f"{key} is given twice: {values[key]} and {text}")

        try:
            values[key] = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # impossible dates, endless numbers, nesting
            raise NeuronspecError(f"cannot read the value of {word!r:.100}") from error
    return values


def _export_run(source: str, options: ExportOptions, system: str | None) -> Export:
    """Export a system of a run, proven on its validation text."""
    from neuronspec.pipeline.export_source import open_export_source, read_export_text
    from neuronspec.pipeline.run import open_run

    run = open_run(source)
    opened = open_export_source(run, system)
    masks = options.load_masks(opened.masks)

    # Text that was given goes before that of the run.
    tasks = options.tasks or (list(masks.tasks) if masks is not None else [])
    sentences = read_export_text(run, tasks, options.sentences) | _read_texts(opened.model, options)
    return _export(opened.model, opened.tokenizer, masks, sentences, options, source=str(opened.directory))


def _export_model(source: str, options: ExportOptions) -> Export:
    """Export any model, proven on text of the command line, or on that of the run that it belongs to."""
    if not options.texts.texts:
        from neuronspec.pipeline.model_origin import find_origin

        origin = find_origin(source)
        if origin is not None:
            return _export_run(str(origin[0]), options, origin[1])
        raise NeuronspecError(
            "an export is proven on real text: give some, --text TASK=FILE for each exported task, as in "
            "--text de-en=dev.tsv"
        )
    check_directory(source)  # before what loads it is imported, which takes seconds
    from neuronspec.exports.other_methods import load_saved_masks
    from neuronspec.models.loading import load_model, load_tokenizer
    from neuronspec.processes import join_processes

    # What is next to the model counts only if nothing else is asked for.
    is_own = not options.dense and options.masks is None
    masks = options.load_masks(load_saved_masks(Path(source)) if is_own else None)

    model, tokenizer = load_model(source).to(join_processes().device), load_tokenizer(source)
    return _export(model, tokenizer, masks, _read_texts(model, options), options, source=source)


def _read_texts(model: PreTrainedModel, options: ExportOptions) -> dict[str, list[str]]:
    """Return the source sentences of each task that the command line names a file for."""
    from neuronspec.neurons.model_texts import read_task_texts

    if not options.texts.texts:
        return {}
    translates = model.config.is_encoder_decoder
    texts = read_task_texts(options.texts.files, pairs=translates, columns=options.texts.columns_by_task)
    return {task: [pair[0] for pair in lines] if translates else lines for task, lines in texts.items()}


def _export(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    masks: NeuronMasks | None,
    sentences: Mapping[str, Sequence[str]],
    options: ExportOptions,
    *,
    source: str,
) -> Export:
    from neuronspec.exports import export

    if options.texts.source_prefix is not None:
        model.config.source_prefix = options.texts.source_prefix
    return export(
        model,
        tokenizer,
        masks,
        task=options.tasks or None,
        out=options.out,
        sentences=sentences,
        format=options.format,
        dense=options.dense,
        pivot=options.pivot,
        steering=options.steerings,
        force=options.force,
        limit=options.sentences,
        max_tokens=options.max_tokens,
        source=source,
        **options.settings,
    )


def _print_export(finished: Export, as_json: bool) -> None:
    """Print what was exported, how it was proven, and what it saves."""
    if as_json:
        print_json(finished.to_json())
        return

    for task in finished.tasks:
        agreements = [one for one in finished.agreements if one.task == task]
        say(f"{task}: {'; '.join(_describe_agreement(one, finished) for one in agreements)}")

    if finished.parameters is not None:
        say(f"parameters: {finished.parameters:,}, dense model {finished.dense_parameters:,}")
    say(f"bytes: {finished.bytes:,}, dense model {finished.dense_bytes:,}")
    say(
        f"sentences a second, beam 5: {finished.export_speed:.2f}, masked model in transformers "
        f"{finished.masked_speed:.2f}"
    )
    note(f"the export is in {finished.path}")


def _describe_agreement(one: Agreement, finished: Export) -> str:
    """Return how many outputs of one task are those of the masked model."""
    search = "greedy" if one.beams == 1 else f"beam {one.beams}"
    changed = "" if one.changed is None else f" ({finished.changes} {one.changed})"
    closeness = "" if one.equal == one.sentences else f", chrF++ between both {one.chrf:.1f}"
    return f"{search} {one.equal} of {one.sentences} outputs equal{changed}{closeness}"
