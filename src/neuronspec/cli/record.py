"""`neuronspec record`: activation counts of a run, or of any model on text of yours."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuronspec.cli.console import AsJson, Force, Out, Overrides, Seed, load, quiet_libraries
from neuronspec.cli.printing import note, print_json, say
from neuronspec.cli.reading import (
    ColumnsOption,
    SourcePrefixOption,
    TextOptions,
    TooLongChoice,
    TooLongOption,
    check_texts,
    open_reading,
)
from neuronspec.errors import NeuronspecError
from neuronspec.models.directories import check_directory

if TYPE_CHECKING:
    from neuronspec.cli.reading import Reading
    from neuronspec.config.sections import Recording
    from neuronspec.neurons.counts import ActivationCounts


def record(
    config: Annotated[str | None, typer.Argument(help="A configuration: its model and validation text.")] = None,
    overrides: Overrides = None,
    model: Annotated[str | None, typer.Option("--model", help="Or any model: a directory or a hub name.")] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="TASK=FILE", help="Text of a task: pairs, or lines for a decoder-only model."),
    ] = None,
    columns: ColumnsOption = None,
    source_prefix: SourcePrefixOption = None,
    too_long: TooLongOption = TooLongChoice.cut,
    out: Out = None,
    seed: Seed = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Count how often each neuron is active for each task."""
    if model is not None:
        words = [*([config] if config else []), *(overrides or [])]  # the first override stands where a config would
        directory = out or Path("counts")
        reads = TextOptions(columns, source_prefix, too_long)
        counts = _record_model(model, text or [], reads, words, directory, force)
    elif source_prefix is not None or too_long != TooLongChoice.cut:
        raise NeuronspecError(
            "--source-prefix and --too-long need --model; for a run, change its configuration: "
            "model.source_prefix=..., data.too_long=skip"
        )
    elif config is None or text or columns:
        raise NeuronspecError("give a configuration, or --model MODEL --text TASK=FILE")
    else:
        loaded = load(config, overrides, out, seed)
        from neuronspec.neurons.counts import ActivationCounts
        from neuronspec.pipeline.plan import execute_stages
        from neuronspec.pipeline.run import Run

        directory = execute_stages(Run(loaded), until="record", force=force).counts
        counts = ActivationCounts.load(directory)
    summary = _summarize(counts)
    if as_json:
        print_json(summary)
        return
    say(f"{len(counts.tasks)} tasks, unit {counts.unit}; mean share of {counts.unit}s that activate a neuron:")
    for layer, shares in summary["active"].items():
        say(f"{layer}: {100 * sum(shares.values()) / len(shares):.1f} %")
    note(f"the activation counts are in {directory}")


def _summarize(counts: ActivationCounts) -> dict[str, Any]:
    active = {
        layer: dict(zip(counts.tasks, counts.frequencies(layer).mean(1).tolist(), strict=True))
        for layer in counts.layers
    }
    seen = {stack: dict(zip(counts.tasks, t.tolist(), strict=True)) for stack, t in counts.totals.items()}
    return {"unit": counts.unit, f"{counts.unit}s": seen, "active": active, "signature": dict(counts.signature)}


def _record_model(
    name: str, texts: list[str], reads: TextOptions, words: list[str], out: Path, force: bool
) -> ActivationCounts:
    """Record a model on text files, outside of any run; several processes share the tasks."""
    quiet_libraries()
    from neuronspec.config.loading import load_sections
    from neuronspec.files import hash_json, hash_path

    recording = load_sections(words, "record").record
    check_texts(texts)
    check_directory(name)
    from neuronspec.neurons.filenames import COUNTS_FILE
    from neuronspec.processes import join_processes

    if (out / COUNTS_FILE).exists() and not force:
        raise NeuronspecError(f"{out / COUNTS_FILE} exists: choose another --out, or --force")
    processes = join_processes()
    reading = open_reading(name, texts, reads)
    weights = sorted(Path(name).glob("*.safetensors"))
    signature = {"model": " ".join(map(hash_path, weights)) or name, "data": hash_json(reading.texts)}
    if processes.num_processes == 1:
        counts = _count(reading, list(reading.texts), recording, signature)
    else:
        counts = _count_together(reading, recording, signature, out)
    if processes.is_main_process:
        counts.save(out)
    return counts


def _count(
    reading: Reading, tasks: Sequence[str], recording: Recording, signature: Mapping[str, str]
) -> ActivationCounts:
    """Count what the neurons do on the text of some tasks."""
    from neuronspec.models.text_batches import make_batches
    from neuronspec.neurons.recording import record_activations

    texts = {task: reading.texts[task] for task in tasks}
    return record_activations(
        reading.model,
        make_batches(
            reading.model,
            reading.tokenizer,
            texts,
            tokens_per_batch=recording.tokens_per_batch,
            too_long=reading.too_long,
        ),
        recording.unit,
        threshold=recording.threshold,
        gated_at=recording.gated_at,
        ignore=reading.find_special(recording.ignore),
        means=recording.means,
        states=recording.states,
        signature=signature,
    )


def _count_together(
    reading: Reading, recording: Recording, signature: Mapping[str, str], out: Path
) -> ActivationCounts:
    """Count this process' share of the tasks, and return the counts of all of them."""
    from neuronspec.neurons.counts import ActivationCounts
    from neuronspec.processes import join_processes

    processes, tasks = join_processes(), list(reading.texts)
    place = out / ".recording"
    if processes.is_main_process:
        shutil.rmtree(place, ignore_errors=True)  # left by a command that was killed
    processes.wait_for_everyone()

    # A file for each task: the counts then are those of one process, whoever counted what.
    for number in range(processes.process_index, len(tasks), processes.num_processes):
        _count(reading, [tasks[number]], recording, signature).save(place / str(number))
    processes.wait_for_everyone()

    counts = ActivationCounts.concatenate([ActivationCounts.load(place / str(n)) for n in range(len(tasks))])
    processes.wait_for_everyone()
    if processes.is_main_process:
        shutil.rmtree(place)
    return counts
