"""Results of a run with their comparisons, titles and costs: all that its tables need, read without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from neuronspec.artifacts.json_lines import read_json_lines
from neuronspec.comparison.differences import SystemComparison
from neuronspec.comparison.study import Cost, Study, make_study
from neuronspec.config.schema import Config
from neuronspec.evaluation.results import Results
from neuronspec.files import read_json
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.pipeline.layout import PRETRAINED, Layout
from neuronspec.pipeline.run_translations import find_outputs
from neuronspec.pipeline.systems import FINE_TUNE, MASKED, title_system

COMPARISONS_FILE = "comparisons.jsonl"


def load_study(config: Config, layout: Layout) -> Study:
    """Read the results of a scored run, their comparisons, and the costs of each system."""
    # Tests are read as they were made: repeating them takes long.
    comparisons = read_json_lines(layout.scores / COMPARISONS_FILE, SystemComparison)
    results = Results.load(layout.scores)
    results = replace(results, outputs=find_outputs(config, layout, results))
    study = open_study(config, results, comparisons)
    titles = {system: title_system(system) for system in study.results.systems}
    return replace(study, titles=titles, costs=read_costs(config, layout), fine_tuned=FINE_TUNE)


def open_study(config: Config, results: Results, comparisons: Sequence[SystemComparison] = ()) -> Study:
    """Return the study of a run's results, compared as its configuration says."""
    # The results are compared with the pretrained model, from which all others were trained.
    how = config.score
    return make_study(
        results,
        PRETRAINED,
        pivot=config.pivot,
        levels=how.levels,
        comparisons=comparisons,
        significance=config.report.significance,
        trials=how.trials,
        correction=how.correction,
    )


def read_costs(config: Config, layout: Layout) -> dict[str, Cost]:
    """Return the costs of each system of a run: time, updates, parameters added."""
    costs = {}
    base = read_json(layout.summary(PRETRAINED))

    # Recording and selecting happen once, but every method that uses masks depends on them.
    seconds = _read_seconds(layout, "record", "select")
    for system in (PRETRAINED, *config.methods):
        summary = read_json(layout.summary(system))
        # Parameters added are counted from the pretrained model, which adds none to itself.
        costs[system] = Cost(
            parameters=summary["parameters"],
            parameters_added=summary["parameters_added"] if system != PRETRAINED else 0,
            extra_bytes=summary["extra_bytes"],
            seconds=summary["seconds"],
            search_seconds=seconds if _uses_masks(layout, system) else _read_seconds(layout, f"search.{system}"),
            updates=summary["update"],
            target_tokens=summary["target_tokens"],
        )

    # The pretrained model with masks costs their selection and their file, but no training.
    if (layout.masks / MASKS_FILE).is_file():
        size = (layout.masks / MASKS_FILE).stat().st_size
        costs[MASKED] = Cost(base["parameters"], extra_bytes=size, search_seconds=seconds)
    return costs


def _read_seconds(layout: Layout, *stages: str) -> float | None:
    """Return the total time of stages in seconds; None if one was not run."""
    # The duration of a search that is missing in part would look like a cheap one.
    records = [layout.record(stage) for stage in stages]
    return sum(read_json(path)["seconds"] for path in records) if all(map(Path.is_file, records)) else None


def _uses_masks(layout: Layout, system: str) -> bool:
    """Return whether a system was trained with the selected masks, according to the record of its training."""
    path = layout.record(f"train.{system}")
    if not path.is_file():
        return False

    # Inputs are recorded by their paths below the directory of the run.
    masks = str(layout.masks.relative_to(layout.out))
    return masks in read_json(path).get("made_from", {}).get("inputs", {})
