"""Translating a grid of directions, supervised and zero-shot, as one job that several processes can share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from neuronspec.data.streams import read_lines
from neuronspec.data.templates import fill_template, find_file, list_grid
from neuronspec.errors import NeuronspecError
from neuronspec.executors import current_workers, map_ordered, open_executor
from neuronspec.processes import join_processes
from neuronspec.progress import Advance, show_progress
from neuronspec.translation.grid_tasks import GridTasks, Text
from neuronspec.translation.resumable_files import list_missing, translate_file
from neuronspec.translation.sentence_rows import check_targets
from neuronspec.translation.sources import check_sources
from neuronspec.translation.system import TranslationSystem, open_system


class DecodeWindow(Protocol):
    """A function that translates a window of sentences, each in the direction of its task."""

    def __call__(
        self, sentences: Sequence[str], tasks: Sequence[str], /, *, advance: Advance | None = None, quiet: bool = False
    ) -> list[str]:
        """Return the translations in the order of the sentences."""


@dataclass(frozen=True, kw_only=True)
class GridFiles:
    """The files of a grid of directions.

    Attributes:
        sources: File of the sentences of each direction.
        targets: File of the translations of each direction.
    """

    sources: Mapping[str, Path]
    targets: Mapping[str, Path]

    @property
    def tasks(self) -> list[str]:
        """All directions of the grid."""
        return list(self.targets)


def plan_grid(words: list[str], source: Path, target: Path) -> GridFiles:
    """Return the files of a grid.

    Args:
        words: Directions, or languages, every pair of which is a direction.
        source: Template of the files to translate: `flores.{src}`; see `find_file`.
        target: Template of the files to write: `out/{task}.txt`.

    Raises:
        NeuronspecError: If there is no direction, or two directions have the same target.
    """
    tasks = list_grid(words)
    targets = {task: fill_template(target, task, "tgt") for task in tasks}
    if len({*targets.values()}) < len(tasks):
        raise NeuronspecError(f"--to {target} gives several directions one file: write {{task}} in it")

    # Directions may share a file to read, but not one to write.
    sources = {task: find_file(source, task, "src") for task in tasks}
    return GridFiles(sources=sources, targets=targets)


def translate_grid_files(system: TranslationSystem, grid: GridFiles, *, force: bool = False) -> None:
    """Translate the files of a grid, this process' share of them, and wait for the other processes.

    If workers were chosen (`executors.use_workers`) and there is no GPU, they translate, and this process writes.

    Args:
        system: Model, masks and options.
        grid: Files to translate and to write.
        force: Whether to translate again what is translated already.

    Raises:
        NeuronspecError: If a file is missing, empty or unsuitable, or the model cannot do one of the directions.
    """
    processes = join_processes()
    # Of n processes, each translates every n-th direction.
    own = grid.tasks[processes.process_index :: processes.num_processes]
    texts = _read_texts([grid.sources[task] for task in own])
    sentences = {task: texts[grid.sources[task]] for task in own}

    # The targets of all processes are checked in each, before any file is removed or written.
    check_targets(grid.targets.values(), grid.sources.values())
    if force:
        for task in own:
            grid.targets[task].unlink(missing_ok=True)

    # One process on a CPU can have workers; several processes divide the grid themselves.
    if processes.num_processes == 1 and processes.device.type == "cpu" and current_workers().are_chosen:
        _translate_with_workers(system, grid, sentences)
        return

    with open_system(system, own) as (decode, codec):
        codec.formats(grid.tasks)  # all of them, although this process may translate only some
        # All texts are checked before the first one is translated.
        for task, lines in sentences.items():
            tasks = [task] * len(lines)
            check_sources(codec, lines, tasks, too_long=system.too_long, name=str(grid.sources[task]))
        translate_grid(decode, sentences, targets=grid.targets, settings=system.describe())
    processes.wait_for_everyone()


def _translate_with_workers(system: TranslationSystem, grid: GridFiles, texts: Mapping[str, Sequence[str]]) -> None:
    """Translate the texts of a grid with workers, window by window, and write the files here."""
    work = GridTasks(system=system, directions=tuple(grid.tasks), threads=torch.get_num_threads())
    settings = system.describe()

    # The windows that are missing, in the order in which the files are written
    missing: list[Text] = []
    for task, lines in texts.items():
        windows = list_missing(lines, [task] * len(lines), grid.targets[task], settings)
        missing += [(task, lines[window]) for window in windows]

    with open_executor() as executor:
        # All texts are checked before the first one is translated, in as many tasks as there are workers.
        named = [(task, lines, str(grid.sources[task])) for task, lines in texts.items()]
        for _ in map_ordered(executor, work.check, named if missing else []):
            pass

        translations = map_ordered(executor, work.translate, missing)

        def take_window(
            window: Sequence[str], tasks: Sequence[str], *, advance: Advance | None = None, quiet: bool = False
        ) -> list[str]:
            lines = next(translations)
            if advance is not None:
                advance(len(lines))
            return lines

        translate_grid(take_window, texts, targets=grid.targets, settings=settings)


def _read_texts(paths: Sequence[Path]) -> dict[Path, list[str]]:
    """Return the lines of each file; a file of several directions is read once."""
    texts = {path: list(read_lines(path)) for path in dict.fromkeys(paths)}
    for path, lines in texts.items():
        if not lines:
            raise NeuronspecError(f"{path} is empty; expected one sentence a line")
    return texts


def translate_grid(
    decode: DecodeWindow, sources: Mapping[str, Sequence[str]], targets: Mapping[str, Path], settings: object
) -> None:
    """Translate the sentences of many directions, one file for each direction.

    After an interruption, the same call leaves finished files alone and resumes within the unfinished one.

    Args:
        decode: Function that translates sentences, each in the direction of its task.
        sources: Sentences of each direction.
        targets: File to write for each direction.
        settings: JSON values that decide the translations in addition to the sentences: model, masks, beam size.

    Raises:
        NeuronspecError: If a file cannot be written.
    """
    total = sum(map(len, sources.values()))
    with show_progress("translating", total) as advance:

        def translate_window(window: Sequence[str], names: Sequence[str]) -> list[str]:
            # Sentences that are too long are announced for the whole file, not again for each window.
            return decode(window, names, advance=advance, quiet=True)

        # Direction by direction, so that an interruption leaves one unfinished file.
        for task, sentences in sources.items():
            translate_file(
                translate_window,
                sentences,
                tasks=[task] * len(sentences),
                path=targets[task],
                settings=settings,
                advance=advance,
                remember=True,
            )
