"""`neuronspec translate`: sentences, files or grids of directions with any model, or the test text of a run."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuronspec.cli.console import AsJson, Force, Out, load, quiet_libraries
from neuronspec.cli.printing import note, print_data, print_json
from neuronspec.cli.reading import SourcePrefixOption, TooLongChoice, TooLongOption
from neuronspec.errors import NeuronspecError
from neuronspec.models.directories import check_directory
from neuronspec.processes import work_alone

if TYPE_CHECKING:
    from neuronspec.config.sections import TooLong
    from neuronspec.models.codec import TextCodec
    from neuronspec.translation.engines import Decode

ENGINES = ("transformers", "ctranslate2")


@dataclass(frozen=True)
class System:
    """What translates: a model, its masks, and how it decodes."""

    model: str
    masks: Path | None
    dense: bool
    pivot: str
    beams: int
    engine: str
    compute_type: str
    early_stopping: bool | None
    too_long: TooLong
    source_prefix: str | None

    @property
    def options(self) -> dict[str, object]:
        """The options of decoding, as the section `translation` of a configuration has them."""
        return {
            "beams": self.beams,
            "engine": self.engine,
            "compute_type": self.compute_type,
            "early_stopping": self.early_stopping,
            "too_long": self.too_long,
        }


def translate(
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
        typer.Option("-m", "--model", help="A model directory, or a name on the Hugging Face hub."),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Neuron masks to specialise the model with; by default the model's own."),
    ] = None,
    dense: Annotated[bool, typer.Option("--dense", help="Without masks, even where the model has some.")] = False,
    pivot: Annotated[str, typer.Option("--pivot", help="For zero-shot masks: what trained directions share.")] = "en",
    beams: Annotated[int, typer.Option(min=1, help="Beam size.")] = 5,
    engine: Annotated[
        str, typer.Option(help="What decodes: transformers, or ctranslate2 (ct2 for short; an extra).")
    ] = ENGINES[0],
    compute_type: Annotated[str, typer.Option(help="The precision of ctranslate2: int8, float16 ...")] = "default",
    early_stopping: Annotated[
        bool | None,
        typer.Option(
            "--early-stopping/--no-early-stopping",
            help="End a beam search at as many finished hypotheses as beams, as fairseq does; by default as the model "
            "says.",
            show_default=False,
        ),
    ] = None,
    too_long: TooLongOption = TooLongChoice.cut,
    source_prefix: SourcePrefixOption = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "-i",
            "--input",
            help="A file of sentences; or of directions and sentences, where DIRECTION is -; of a grid: flores.{src}",
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option("-t", "--to", help="The file to write; goes on where it stopped. Of a grid: out/{task}.txt"),
    ] = None,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Translate with a model: sentences, a file or a grid; or the test text of a run with all of its systems."""
    from neuronspec.config.sections import spell_engine

    words, engine = what or [], str(spell_engine(engine))
    if not words:
        raise NeuronspecError('give --model DIR, a direction and text: neuronspec translate --model DIR en-de "Hello"')
    if model is None:
        changed = (beams, engine, compute_type, early_stopping, too_long, source_prefix)
        if masks or dense or source or target or changed != (5, ENGINES[0], "default", None, TooLongChoice.cut, None):
            raise NeuronspecError(
                "these options need --model; for a run, change its configuration: translate.beams=5, "
                "translate.too_long=skip, model.source_prefix=..."
            )
        from neuronspec.pipeline.plan import execute_stages
        from neuronspec.pipeline.run import Run

        directory = execute_stages(Run(load(words[0], words[1:], out)), until="translate", force=force).out
        note(f"the translations are in {directory / 'translate'}")
        return
    if out is not None:
        raise NeuronspecError("--out is the directory of a run: with --model, --to names the file")
    if engine not in ENGINES:
        raise NeuronspecError(f"there is no engine {engine!r}: give one of {', '.join(ENGINES)}")
    if compute_type != "default" and engine == ENGINES[0]:
        raise NeuronspecError("--compute-type is for --engine ctranslate2")
    if as_json and target is not None:
        raise NeuronspecError("--json is for what is printed: leave it, or --to, out")
    system = System(
        model=model,
        masks=masks,
        dense=dense,
        pivot=pivot,
        beams=beams,
        engine=engine,
        compute_type=compute_type,
        early_stopping=early_stopping,
        too_long=too_long.value,
        source_prefix=source_prefix,
    )
    if target is not None and "{" in str(target):
        _translate_grid(system, words, source, target, force)
        return

    work_alone()
    _translate_lines(system, words, source, target, as_json)


def _translate_lines(system: System, words: list[str], source: Path | None, target: Path | None, as_json: bool) -> None:
    """Translate the sentences of the command line, of a file, or of standard input."""
    rows = list(_read_rows(words[0], words[1:], source))
    if not rows and source is not None:
        raise NeuronspecError(f"{source} is empty; expected one sentence a line")
    if not rows:
        return
    if target is not None:
        _check_targets([target], [source] if source is not None else [])
    sentences, tasks = [sentence for _, sentence in rows], [task for task, _ in rows]
    with _open(system, sorted(set(tasks))) as (decode, codec):
        if target is None:
            for sentence, translation in zip(sentences, decode(sentences, tasks), strict=True):
                _print(sentence, translation, as_json)
            return

        from neuronspec.progress import show_progress
        from neuronspec.translation.resumable_files import translate_file
        from neuronspec.translation.sources import check_sources

        check_sources(codec, sentences, tasks, system.too_long, str(source or "standard input"))
        with show_progress("translating", len(rows)) as advance:
            windowed = functools.partial(decode, advance=advance, quiet=True)
            translate_file(windowed, sentences, tasks, target, _describe(system), advance)
        note(f"{len(rows)} translations are in {target}")


def _print(sentence: str, translation: str, as_json: bool) -> None:
    """Print a translation on one line, so that lines out are lines in."""
    if as_json:
        print_json({"source": sentence, "translation": translation}, indent=None)
    else:
        print_data(" ".join(translation.splitlines()))


def _translate_grid(system: System, words: list[str], source: Path | None, target: Path, force: bool) -> None:
    """Translate the files of a grid of directions, this process' share of them."""
    from neuronspec.data.streams import read_lines
    from neuronspec.data.templates import fill_template, list_grid
    from neuronspec.processes import join_processes
    from neuronspec.translation.grid import translate_grid
    from neuronspec.translation.sources import check_sources

    if source is None:
        raise NeuronspecError("a grid needs --input with a placeholder: --input 'flores.{src}'")
    tasks = list_grid(words)
    targets = {task: fill_template(target, task, "tgt") for task in tasks}
    if len({*targets.values()}) < len(tasks):
        raise NeuronspecError(f"--to {target} gives several directions one file: write {{task}} in it")
    processes = join_processes()
    own = tasks[processes.process_index :: processes.num_processes]
    places = {task: fill_template(source, task, "src") for task in own}
    texts = {place: list(read_lines(place)) for place in dict.fromkeys(places.values())}
    for place, lines in texts.items():
        if not lines:
            raise NeuronspecError(f"{place} is empty; expected one sentence a line")
    _check_targets(targets.values(), [fill_template(source, task, "src") for task in tasks])
    if force:
        for task in own:
            targets[task].unlink(missing_ok=True)
    with _open(system, own) as (decode, codec):
        codec.formats(tasks)  # all of them, although this process may translate a part only
        for task, place in places.items():
            check_sources(codec, texts[place], [task] * len(texts[place]), system.too_long, str(place))
        translate_grid(decode, {task: texts[place] for task, place in places.items()}, targets, _describe(system))
    processes.wait_for_everyone()
    note(f"{len(tasks)} directions are in {target}")


def _check_targets(targets: Iterable[Path], sources: Iterable[Path]) -> None:
    """Refuse to write where something else than a file is, or over what is translated."""
    read = {source.resolve() for source in sources}
    for target in targets:
        if target.resolve() in read:
            raise NeuronspecError(f"{target} is read from: choose another --to")
        if target.exists() and not target.is_file():
            raise NeuronspecError(f"{target} is no file: choose another --to")


def _describe(system: System) -> list[object]:
    """Return what decides a system's translations, its files by their names, sizes and times."""
    places = [Path(system.model), *([system.masks] if system.masks is not None else [])]
    found = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*")))]
    files = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in found if file.is_file()]
    return [system.model, system.dense, system.pivot, system.options, system.source_prefix, files]


def _read_rows(direction: str, sentences: list[str], source: Path | None) -> Iterator[tuple[str, str]]:
    """Yield the direction and the text of every sentence, of the arguments, a file, or standard input."""
    from neuronspec.data.streams import read_lines
    from neuronspec.data.text_encoding import decode_text

    place = str(source) if source is not None else "standard input"
    if source is not None and sentences:
        raise NeuronspecError(f"give sentences or --input {source}, not both")
    if sentences:
        lines: Iterable[str] = sentences
    elif source is not None:
        lines = read_lines(source)
    else:
        if sys.stdin is None:  # closed by whoever started the command
            raise NeuronspecError("standard input is closed: give sentences, or --input FILE")
        raw = sys.stdin.buffer.read().removesuffix(b"\n")
        pieces = raw.split(b"\n") if raw else []
        lines = (decode_text(line.removesuffix(b"\r"), place, number) for number, line in enumerate(pieces, 1))
    if direction == "-":
        yield from _split_rows(lines, place)
    else:
        yield from ((direction, line) for line in lines)


def _split_rows(lines: Iterable[str], place: str) -> Iterator[tuple[str, str]]:
    """Yield the direction and the text of lines that name it; a blank line, which names none, has that of another."""
    from neuronspec.data.normalization import is_empty

    rows: list[tuple[str, str]] = []
    for number, line in enumerate(lines, 1):
        task, tab, sentence = line.partition("\t")
        if tab:
            rows.append((task, sentence))
        elif is_empty(line):
            rows.append(("", line))
        else:
            raise NeuronspecError(f"{place}:{number}: expected a direction, a tab and a sentence: {line[:40]!r}")

    named = next((task for task, _ in rows if task), None)
    if rows and named is None:
        raise NeuronspecError(f"{place} holds no direction: expected a direction, a tab and a sentence on each line")
    yield from ((task or str(named), sentence) for task, sentence in rows)


@contextmanager
def _open(system: System, tasks: Sequence[str]) -> Iterator[tuple[Decode, TextCodec]]:
    """Yield what translates with a system, with masks for all of the tasks, and how its model wants its text."""
    quiet_libraries()
    check_directory(system.model)
    from neuronspec.config.sections import Translation
    from neuronspec.methods.saved import attach_masks, attach_saved
    from neuronspec.models.codec import TextCodec
    from neuronspec.models.loading import load_model, load_tokenizer
    from neuronspec.neurons.masks import NeuronMasks
    from neuronspec.processes import join_processes
    from neuronspec.translation.engines import open_engine

    model, tokenizer = load_model(system.model, translates=True), load_tokenizer(system.model)
    if system.source_prefix is not None:
        model.config.source_prefix = system.source_prefix
    if not system.dense and system.masks is not None:
        attach_masks(model, NeuronMasks.from_pretrained(system.masks), tasks, system.pivot)
    elif not system.dense:
        attach_saved(model, Path(system.model), tasks, system.pivot)
    model.to(join_processes().device)
    options = Translation.model_validate(system.options)
    codec = TextCodec(tokenizer, model.config, fixed_tables=options.engine == "ctranslate2")
    codec.formats(tasks)
    with open_engine(model, tokenizer, options) as decode:
        yield decode, codec
