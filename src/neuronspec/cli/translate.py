"""`neuronspec translate`: sentences, files or grids of directions with any model, or the test text of a run."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuronspec.cli.choices import list_engines
from neuronspec.cli.decoding_options import EarlyStoppingOption
from neuronspec.cli.loading_options import (
    LOADING,
    DeviceMapOption,
    NumberChoice,
    NumberOption,
    QuantizeOption,
    describe_loading,
)
from neuronspec.cli.modes import Mode, reading
from neuronspec.cli.options import (
    ONLY_RUNS,
    AsJson,
    ClusterOption,
    DryRun,
    Force,
    Out,
    ShareFrom,
    SteerOption,
    Threads,
    WorkersOption,
    refuse_inside_run,
)
from neuronspec.cli.printing import note, print_data, print_json, quiet_libraries
from neuronspec.cli.runs import RunOptions
from neuronspec.cli.system_options import SystemOptions
from neuronspec.cli.text_options import SourcePrefixOption, TooLongChoice, TooLongOption
from neuronspec.errors import NeuronspecError
from neuronspec.executors import use_workers
from neuronspec.interruption import explained_interruption
from neuronspec.languages import find_sides, is_known, split_direction, suggest_direction
from neuronspec.processes import work_alone
from neuronspec.translation.engines import DEFAULT_ENGINE

if TYPE_CHECKING:
    from neuronspec.translation.sentence_rows import Row

# Beam size of the paper
BEAMS = 5
LISTED = 6  # directions in a note

OF_A_RUN = Mode(
    reads=reading("what", "out", "share_from", "force", "dry_run", "workers", "cluster", "threads"),
    advice="these options need --model; for a run, override the configuration: translate.beams=5, "
    "translate.too_long=skip, model.source_prefix=...",
)
_DECODING = reading(
    *("what", "model", "masks", "dense", "pivot", "beams", "engine", "compute_type", "early_stopping", "too_long"),
    *("steer", "source_prefix", "source", "threads", *LOADING),
)
_NOT_OF_A_MODEL = {
    "out": "--out is the directory of a run: with --model, --to names the file",
    **ONLY_RUNS,
}
OF_LINES = Mode(
    reads=_DECODING | {"as_json"},
    own_advice=_NOT_OF_A_MODEL
    | {"force": "--force is for a grid or a run: nothing here is kept from an earlier command"},
)
OF_A_FILE = Mode(
    reads=_DECODING | {"target"},
    own_advice=_NOT_OF_A_MODEL
    | {
        "as_json": "--json is for what is printed: leave out --json or --to",
        "force": "--force is for a grid or a run: a single file is always written anew",
    },
)
OF_A_GRID = Mode(
    reads=_DECODING | {"target", "force", "workers", "cluster"},
    own_advice=_NOT_OF_A_MODEL | {"as_json": "--json is for what is printed: leave out --json or --to"},
)

PANELS = {"For a run": OF_A_RUN, "For any model": OF_LINES | OF_A_FILE | OF_A_GRID}
EXAMPLES = (
    ("A sentence", "neuronspec translate --model DIR de-en 'Guten Morgen.'"),
    ("A file, one sentence a line", "neuronspec translate --model DIR de-en --input news.de --to news.en"),
    (
        "A sentence with chosen neurons scaled or switched off",
        "neuronspec translate --model DIR --steer steering.yaml de-en 'Guten Morgen.'",
    ),
    (
        "A grid of all directions between three languages",
        "neuronspec translate --model DIR de en fr --input 'flores.{src}' --to 'out/{task}.txt'",
    ),
    ("The test text of a run, with all of its systems", "neuronspec translate my.yaml"),
)


def translate(
    context: typer.Context,
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DIRECTION [SENTENCE]...] | [LANGUAGE]... | CONFIG [KEY=VALUE]...",
            help="With --model: a direction (en-de) and sentences, or none to read them from standard input; or, where "
            "--to has a placeholder, the languages or directions of a grid. Without: a configuration, whose test text "
            "is translated with every system.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", help="Model: a directory or a name on the Hugging Face hub."),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Neuron masks to specialize the model with; by default those stored with the model."),
    ] = None,
    dense: Annotated[bool, typer.Option("--dense", help="Use no masks, even if the model has some.")] = False,
    pivot: Annotated[
        str, typer.Option("--pivot", help="Language that the trained directions share, for zero-shot masks.")
    ] = "en",
    beams: Annotated[int, typer.Option(min=1, help="Beam size.")] = BEAMS,
    engine: Annotated[
        str, typer.Option(help="Engine that decodes: {engines}.", autocompletion=list_engines)
    ] = DEFAULT_ENGINE,
    compute_type: Annotated[str, typer.Option(help="Precision of ctranslate2: int8, float16 ...")] = "default",
    early_stopping: EarlyStoppingOption = None,
    too_long: TooLongOption = TooLongChoice.cut,
    steer: SteerOption = None,
    source_prefix: SourcePrefixOption = None,
    dtype: NumberOption = NumberChoice.float32,
    device_map: DeviceMapOption = None,
    quantize: QuantizeOption = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "-i",
            "--input",
            help="File of sentences; of directions and sentences, if DIRECTION is -. For a grid: flores.{src}.",
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "-t", "--to", help="File to write; an interrupted translation resumes. For a grid: out/{task}.txt."
        ),
    ] = None,
    out: Out = None,
    share_from: ShareFrom = None,
    force: Force = False,
    dry_run: DryRun = False,
    threads: Threads = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    as_json: AsJson = False,
) -> None:
    """Translate with a model: sentences, a file or a grid; or the test text of a run with all of its systems."""
    words = what or []
    if not words:
        given = model or "DIR"
        raise NeuronspecError(
            f'give --model DIR, a direction and text: neuronspec translate --model {given} en-de "Hello"'
        )

    # Without a model, the words are a configuration and its overrides.
    if model is None:
        _refuse_sentences(words)
        OF_A_RUN.check(context)
        _translate_run(
            RunOptions(
                source=words[0],
                overrides=words[1:],
                out=out,
                share_from=share_from,
                force=force,
                dry_run=dry_run,
                threads=threads,
                workers=workers,
                cluster=cluster,
            )
        )
        return

    is_grid = target is not None and "{" in str(target)
    (OF_LINES if target is None else OF_A_GRID if is_grid else OF_A_FILE).check(context)
    options = SystemOptions(
        model=model,
        masks=masks,
        dense=dense,
        pivot=pivot,
        beams=beams,
        engine=engine,
        compute_type=compute_type,
        early_stopping=early_stopping,
        too_long=too_long.value,
        steer=steer,
        source_prefix=source_prefix,
        loading=describe_loading(dtype, device_map, quantize),
    )
    options.check()
    quiet_libraries()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)

    # A grid divides its files among processes; lines are translated by one.
    if target is not None and is_grid:
        with explained_interruption("the same command keeps the finished files and resumes the unfinished one"):
            chosen = functools.partial(use_workers, workers, cluster=cluster)
            _translate_grid(options, words, source, target, force=force, use_workers=chosen)
        return

    work_alone()
    _translate_lines(options, words, source, target, as_json)


def _refuse_sentences(words: list[str]) -> None:
    """Refuse a direction or a sentence in the place of a configuration: the model is missing."""
    first = words[0]
    sides = find_sides(first)
    is_direction = sides is not None and all(map(is_known, sides))
    if not Path(first).exists() and (is_direction or suggest_direction(first) or " " in first):
        raise NeuronspecError(
            f"{first!r} is no configuration; to translate sentences, give a model: neuronspec translate --model DIR "
            'de-en "Guten Morgen."'
        )


def _check_direction(word: str) -> None:
    """Refuse what is no direction, before a model is loaded or standard input is read.

    Raises:
        NeuronspecError: If it is a sentence, another spelling of a direction, or one with names of languages.
    """
    try:
        split_direction(word)
    except NeuronspecError as error:
        # A sentence is often given without its direction.
        where = '; the direction comes before the sentences: de-en "Guten Morgen."'
        raise NeuronspecError(f"{error}{where if ' ' in word else ''}") from None

    # Names of languages are codes that nobody knows.
    if hint := suggest_direction(word):
        raise NeuronspecError(f"{word!r} names languages by words, not by their codes{hint}")


def _note_untrained(model: str, tasks: Collection[str]) -> None:
    """Say on stderr which directions the model was not trained on, if its run shows that."""
    from neuronspec.pipeline.model_origin import find_untrained

    unseen = find_untrained(model, sorted(set(tasks)))
    if unseen:
        some = ", ".join(unseen[:LISTED]) + (f" and {len(unseen) - LISTED} more" if unseen[LISTED:] else "")
        note(f"the model was not trained on {some}: these translations are zero-shot", err=True)


def _translate_run(options: RunOptions) -> None:
    """Translate the test text of a run with all of its systems."""
    _, layout = options.run("translate")
    note(f"the translations are in {layout.out / 'translate'}")


def _translate_grid(
    options: SystemOptions,
    words: list[str],
    source: Path | None,
    target: Path,
    *,
    force: bool,
    use_workers: Callable[..., AbstractContextManager[None]],
) -> None:
    """Translate the files of a grid of directions, with workers if the user wants some."""
    if source is None:
        raise NeuronspecError("a grid needs --input with a placeholder: --input 'flores.{src}'")
    system = options.describe()
    from neuronspec.translation.grid import plan_grid, translate_grid_files

    # All files of the grid are checked before the first one is translated.
    grid = plan_grid(words, source, target)
    for path in grid.targets.values():
        refuse_inside_run(path, "--to", force)
    _note_untrained(options.model, grid.tasks)
    with use_workers(folders=[path.parent for path in grid.targets.values()]):
        translate_grid_files(system, grid, force=force)
    note(f"{len(grid.tasks)} directions are in {target}")


def _translate_lines(
    options: SystemOptions, words: list[str], source: Path | None, target: Path | None, as_json: bool
) -> None:
    """Translate the sentences of the command line, of a file, or of standard input."""
    rows = _read_sentences(words[0], words[1:], source)

    # An empty file is probably a mistake; empty standard input is an empty translation.
    if not rows and source is not None:
        raise NeuronspecError(f"{source} is empty; expected one sentence a line")
    if not rows:
        return

    if target is None:
        _print_translations(options, rows, as_json)
        return

    with explained_interruption(f"the same command keeps the lines that are done and resumes {target}"):
        _write_translations(options, rows, source, target)


def _read_sentences(direction: str, sentences: list[str], source: Path | None) -> list[Row]:
    """Return the direction and the text of every sentence, from the arguments, a file, or standard input."""
    from neuronspec.data.streams import read_lines
    from neuronspec.translation.sentence_rows import make_rows

    if source is not None and "{" in str(source):
        raise NeuronspecError(f"--input {source} is for a grid: write {{task}} in --to, too, as in 'out/{{task}}.txt'")
    if direction != "-":
        _check_direction(direction)

    # Sentences on the command line take the place of standard input.
    if source is None:
        lines = sentences or _read_standard_input()
        return make_rows(direction, lines, "standard input")

    if sentences:
        raise NeuronspecError(f"give sentences or --input {source}, not both")
    return make_rows(direction, read_lines(source), str(source))


def _read_standard_input() -> Iterator[str]:
    """Yield the lines of standard input; a lone carriage return ends no line."""
    from neuronspec.data.text_encoding import decode_text

    if sys.stdin is None:  # closed by whoever started the command
        raise NeuronspecError("standard input is closed: give sentences, or --input FILE")

    # Bytes, not text: only line feeds separate lines, so that lines out are lines in.
    raw = sys.stdin.buffer.read().removesuffix(b"\n")
    pieces = raw.split(b"\n") if raw else []
    for number, line in enumerate(pieces, 1):
        yield decode_text(line.removesuffix(b"\r"), "standard input", number)


def _print_translations(options: SystemOptions, rows: list[Row], as_json: bool) -> None:
    """Print a line for each sentence."""
    system = options.describe()
    from neuronspec.translation.system import open_system

    sentences, tasks = [row.sentence for row in rows], [row.task for row in rows]

    _note_untrained(options.model, tasks)

    # All sentences at once, so that batches hold sentences of similar length
    with open_system(system, sorted(set(tasks))) as (decode, _):
        translations = decode(sentences, tasks)

    for sentence, translation in zip(sentences, translations, strict=True):
        if as_json:
            print_json({"source": sentence, "translation": translation}, indent=None)
        else:
            print_data(" ".join(translation.splitlines()))  # lines out are lines in


def _write_translations(options: SystemOptions, rows: list[Row], source: Path | None, target: Path) -> None:
    """Write a line for each sentence into a file; an interrupted call resumes."""
    from neuronspec.translation.sentence_rows import check_targets

    sources = [source] if source is not None else []

    # A file that would be overwritten while it is read is refused before anything is loaded.
    refuse_inside_run(target, "--to")
    check_targets([target], sources)
    system = options.describe()
    from neuronspec.progress import show_progress
    from neuronspec.translation.resumable_files import translate_file
    from neuronspec.translation.sources import check_sources
    from neuronspec.translation.system import open_system

    sentences, tasks = [row.sentence for row in rows], [row.task for row in rows]
    place = str(source or "standard input")
    _note_untrained(options.model, tasks)
    with open_system(system, sorted(set(tasks))) as (decode, codec):
        # Lines that are too long are announced once for the whole file, not for each window.
        check_sources(codec, sentences, tasks, system.too_long, place)
        with show_progress("translating", len(rows)) as advance:
            # Each window is safe on the disk before the next one begins.
            windowed = functools.partial(decode, advance=advance, quiet=True)
            translate_file(windowed, sentences, tasks, target, system.describe(), advance)
    note(f"{len(rows)} translations are in {target}")
