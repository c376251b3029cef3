"""Notes in the directory of each trained model: its card, and how plain transformers decodes with it.

They are no part of a stage: a card has the scores as soon as there are some, and no stage is redone for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from neuronspec.artifacts.cards import CARD_FILE
from neuronspec.evaluation.results import Results
from neuronspec.files import write_text
from neuronspec.models.generation import write_generation_config
from neuronspec.pipeline.engine import Stage
from neuronspec.pipeline.layout import PRETRAINED
from neuronspec.pipeline.model_facts import collect_facts
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.status import examine
from neuronspec.report.model_card import make_model_card


def write_all_notes(run: Run, stages: Sequence[Stage]) -> None:
    """Write the notes of every model of a run, with its scores where they are known.

    Args:
        run: The run.
        stages: All stages of the run. A model whose training would have to be redone keeps its notes.
    """
    done = {stage.name for stage in examine(stages, run.layout) if stage.state == "done"}
    results = Results.load(run.layout.scores) if "score" in done else None

    for system in (PRETRAINED, *run.config.methods):
        training = "train" if system == PRETRAINED else f"train.{system}"
        if training in done:
            # Scores of an earlier training, or of another way of translating, are not this model's.
            is_scored = f"translate.{system}" in done
            write_notes(run, system, results if is_scored else None)


def write_notes(run: Run, system: str, results: Results | None = None) -> None:
    """Write the notes of one trained model.

    Args:
        run: The run.
        system: System whose model is there.
        results: Results of the run; None if the model was not scored.
    """
    directory = run.layout.model(system)
    write_generation_config(directory, run.config.translate, run.tested_directions)

    # A card that says the same stays: its time tells whether anything has changed.
    path, text = directory / CARD_FILE, make_model_card(collect_facts(run, system, results))
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
