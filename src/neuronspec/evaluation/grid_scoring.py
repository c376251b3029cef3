"""Scoring the translations of a grid of directions, by one system or several, one file each."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from neuronspec.data.templates import fill_template, find_file, find_systems, find_tasks
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.output_scoring import ScoringOptions, read_scored_outputs
from neuronspec.evaluation.results import Results, merge_results
from neuronspec.evaluation.task_scoring import TaskOutputs, score_tasks
from neuronspec.languages import spell_pivot, split_direction
from neuronspec.names import check_names
from neuronspec.placeholders import SYSTEM_PLACEHOLDER
from neuronspec.progress import show_progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The files of translations of a grid.

    Attributes:
        templates: File name of each system, in which the placeholders of the directions are left.
        tasks: Directions for which each system has a file.
    """

    templates: Mapping[str, str]
    tasks: Mapping[str, Sequence[str]]

    @property
    def all_tasks(self) -> list[str]:
        """The directions of any system, sorted."""
        return sorted({task for tasks in self.tasks.values() for task in tasks})

    def find_file(self, system: str, task: str) -> Path:
        """Return the file of the translations of a system for a direction."""
        return find_file(self.templates[system], task, "tgt")


def find_grid(hypotheses: Path, references: Path | None, system: str = "system") -> Grid:
    """Return the files of translations that a template stands for.

    Args:
        hypotheses: Template of the translations: `out/{task}.txt`, or `out/{system}/{task}.txt`.
        references: Template of the references.
        system: Name of the system, if the template has no `{system}`.

    Raises:
        NeuronspecError: If there is none, a name cannot name a system, or translations into different languages would
            have the same references.
    """
    named = f"{{{SYSTEM_PLACEHOLDER}}}" in str(hypotheses)
    templates = find_systems(hypotheses) if named else {system: str(hypotheses)}
    check_names(templates, "system")

    grid = Grid(templates=templates, tasks={name: find_tasks(template) for name, template in templates.items()})
    check_names(grid.all_tasks)
    if references is not None:
        _check_references(references, grid.all_tasks)
    return grid


def _check_references(references: Path, tasks: Sequence[str]) -> None:
    """Refuse a template of references without {tgt}: French translations would be scored against German references."""
    languages: dict[Path, str] = {}
    for task in tasks:
        place, target = fill_template(references, task, "tgt"), split_direction(task)[1]
        if languages.setdefault(place, target) != target:
            raise NeuronspecError(
                f"--references {references} gives translations into {languages[place]} and {target} the same file: "
                "write {tgt} in it"
            )


def score_grid(grid: Grid, options: ScoringOptions, *, pivot: str) -> Results:
    """Score the translations of a grid, several directions at the same time.

    Args:
        grid: Files of the translations; see `find_grid`.
        options: References, sources and metrics.
        pivot: Language that all trained directions share; other directions are zero-shot.

    Raises:
        NeuronspecError: If files cannot be read or do not fit each other.
    """
    # The pivot as the tasks spell it, so that it can be found among their languages.
    pivot = spell_pivot(grid.all_tasks, pivot)
    read = functools.partial(_read_task, grid, options, pivot)

    # Directions into one language have the same references: they follow each other.
    tasks = sorted(grid.all_tasks, key=lambda task: split_direction(task)[::-1])
    parts = {}
    with show_progress("scoring", len(tasks)) as advance:
        for task, part in zip(tasks, score_tasks(tasks, read, options.settings, size=_measure(grid)), strict=True):
            parts[task] = part
            advance()

    # System by system, each with its directions in order
    ordered = [(system, parts[task]) for system, tasks in grid.tasks.items() for task in tasks]
    results = merge_results(part.select(system) for system, part in ordered)

    # Each warning once, not once for every direction
    for warning in results.warnings:
        logger.warning(warning)
    return results


def _read_task(grid: Grid, options: ScoringOptions, pivot: str, task: str) -> TaskOutputs:
    """Read the files of one direction: translations and references in its target, sources in its source."""
    sides = split_direction(task)
    systems = {}
    for system, tasks in grid.tasks.items():
        if task in tasks:
            systems[system] = read_scored_outputs(
                grid.find_file(system, task),
                references=options.references and find_file(options.references, task, "tgt"),
                sources=options.sources and find_file(options.sources, task, "src"),
                detokenize=sides[1] if options.detokenize else None,
            )

    # Directions without the pivot are zero-shot.
    return TaskOutputs(task=task, systems=systems, zero_shot=pivot not in sides)


def _measure(grid: Grid) -> int:
    """Return the number of bytes of all files; those that are missing are refused when they are read."""
    paths = [grid.find_file(system, task) for system, tasks in grid.tasks.items() for task in tasks]
    return sum(path.stat().st_size for path in paths if path.is_file())
