"""The translations of a run as its scoring reads them, without a model: workers open nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neuronspec.data.test_sets import read_test_set
from neuronspec.data.texts import Texts
from neuronspec.evaluation.outputs import Outputs
from neuronspec.evaluation.task_scoring import TaskOutputs
from neuronspec.files import read_text
from neuronspec.names import child
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.systems import COPY
from neuronspec.reading_limits import TEXT


def read_translations(path: Path) -> list[str]:
    """Return the translations in a file of the stage `translate`.

    Args:
        path: File of a system and a direction.
    """
    # Every line ends with a line feed, so that the last piece is empty.
    return read_text(path, limit=TEXT).split("\n")[:-1]


def read_task(
    task: str, *, layout: Layout, systems: Sequence[str], directions: Sequence[str], pivot: str
) -> TaskOutputs:
    """Return the translations of every system for one test set, and the source, which shows what copying is worth.

    Args:
        task: Direction.
        layout: Paths of the run.
        systems: Names of the systems.
        directions: Directions that were trained; others are zero-shot.
        pivot: Language that most directions have in common.
    """
    sources, references = read_test_set(Texts.load(layout.text), task, directions, pivot)
    hypotheses = {COPY: sources}
    for system in systems:
        hypotheses[system] = read_translations(child(layout.translations(system), task, ".txt"))
    return TaskOutputs(
        task=task,
        systems={
            system: Outputs(tuple(lines), references=tuple(references), sources=tuple(sources), name=system)
            for system, lines in hypotheses.items()
        },
        zero_shot=task not in directions,  # tables group these apart
    )
