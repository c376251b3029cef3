"""What is told of a run: its results, what they took, and its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from neuronspec.config import Config
from neuronspec.evaluation.detail_tables import name_table, tabulate_all, tabulate_tests
from neuronspec.evaluation.outcomes import CORRECTIONS
from neuronspec.evaluation.seeds import split_seed, tabulate_seeds
from neuronspec.evaluation.study import SIDES, Cost, Study
from neuronspec.evaluation.tables import FORMATS, Cell, Table
from neuronspec.files import read_json, write_text
from neuronspec.methods import find_method
from neuronspec.names import child
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.storage import MASKS_FILE
from neuronspec.pipeline import scoring, work
from neuronspec.pipeline.layout import PRETRAINED, Layout

TABLES = "tables"  # the directory of tables, in every format
TITLES = {
    scoring.COPY: "copying the source",
    PRETRAINED: "pretrained",
    work.MASKED: "+ specialised masks",
    work.RANDOM: "+ random masks",
    "fine_tune": "fine-tuned",
    "neuron_specialization": "neuron specialization",
    "random_neurons": "random neurons",
    "lass": "LaSS",
    "parameter_differentiation": "parameter differentiation",
    "neuron_allocation": "neuron allocation",
    "lora": "LoRA",
}


@dataclass(frozen=True)
class Report:
    """Everything that is told of a run.

    Attributes:
        config: the run's.
        study: its results and comparisons.
        masks: the specialised neurons, by the name of each system that has some.
    """

    config: Config
    study: Study
    masks: Mapping[str, NeuronMasks]

    @property
    def trained(self) -> list[str]:
        """The systems that are trainings of their own."""
        return [system for system in self.study.results.systems if system in (PRETRAINED, *self.config.methods)]

    def baseline(self, system: str) -> str:
        """Return what the marks of a system refer to: the strongest of what it is compared with."""
        return scoring.choose_baselines(self.study.results.systems).get(system, [PRETRAINED])[-1]


def load_report(config: Config, layout: Layout) -> Report:
    """Read what is told of a run whose scores are done."""
    study = scoring.load_study(config, layout)
    masks = {}
    for system in study.results.systems:
        directory = layout.masks if system in (work.MASKED, work.RANDOM) else layout.model(system)
        if (directory / MASKS_FILE).is_file():
            masks[system] = NeuronMasks.from_pretrained(directory)
    titles = {system: _title(system) for system in study.results.systems}
    return Report(config, replace(study, titles=titles, costs=read_costs(config, layout)), masks)


def _title(system: str) -> str:
    base, seed = split_seed(system)
    return TITLES.get(base, base) + (f", seed {seed}" if seed is not None else "")


def read_costs(config: Config, layout: Layout) -> dict[str, Cost]:
    """Return what each system of a run took and added, as the run measured it."""
    costs = {}
    base = read_json(layout.summary(PRETRAINED))
    seconds = _read_seconds(layout, "record", "select")
    for system in (PRETRAINED, *config.methods):
        kind = find_method(system, config.methods[system]) if system != PRETRAINED else None
        summary = read_json(layout.summary(system))
        costs[system] = Cost(
            parameters=summary["parameters"],
            parameters_added=summary["parameters_added"] if system != PRETRAINED else 0,
            extra_bytes=summary["extra_bytes"],
            seconds=summary["seconds"],
            search_seconds=seconds if kind and kind.uses_masks else _read_seconds(layout, f"search.{system}"),
            updates=summary["update"],
            target_tokens=summary["target_tokens"],
        )
    if (layout.masks / MASKS_FILE).is_file():
        size = (layout.masks / MASKS_FILE).stat().st_size
        costs[work.MASKED] = Cost(base["parameters"], extra_bytes=size, search_seconds=seconds)
    return costs


def _read_seconds(layout: Layout, *stages: str) -> float | None:
    """Return how long stages took together; None where one was not run."""
    records = [layout.record(stage) for stage in stages]
    return sum(read_json(path)["seconds"] for path in records) if all(map(Path.is_file, records)) else None


def write_tables(tables: Mapping[str, Table], directory: Path) -> None:
    """Write every table in every format."""
    for name, table in tables.items():
        for format in FORMATS.values():
            write_text(child(directory, name, format.suffix), format.write(table))


def tabulate(report: Report) -> dict[str, Table]:
    """Return every table of a run by name."""
    study = report.study
    seeds = {name_table("seeds", metric): tabulate_seeds(study, metric) for metric in study.results.metrics}
    return (
        {"averages": tabulate_averages(report)}
        | {name: table for name, table in seeds.items() if table.rows}
        | tabulate_all(study)
        | tabulate_tests(study)
    )


def tabulate_averages(report: Report) -> Table:
    """Return the table of average scores and of sparsity: a row a system."""
    study = report.study
    groups, metrics = study.families[SIDES], study.results.metrics
    header = ["system", *(f"{metric} {group}" for group in groups for metric in metrics), "sparsity %"]
    rows = []
    for system in study.results.systems:
        baseline = report.baseline(system)
        cells = [
            Cell(
                study.results.score(system, metric, tasks),
                mark=study.mark(system, metric, group, baseline),
                test=study.test(system, metric, group, baseline),
            )
            for group, tasks in groups.items()
            for metric in metrics
        ]
        rows.append([Cell(study.title(system)), *cells, Cell(_sparsity(report.masks.get(system)))])
    return Table("Averages over directions", header, rows, [_explain_marks(study)])


def _explain_marks(study: Study) -> str:
    return (
        f"↑ ↓: better or worse than the pretrained model (for methods other than fine-tuning: than fine-tuning), "
        f"paired approximate randomisation, {study.trials:,} trials, p <= {study.significance:g} "
        f"{CORRECTIONS[study.correction].told}."
    ) + (
        " '+ masks': the pretrained model, never trained with them; the random ones are of the same sizes."
        if work.MASKED in study.results.systems
        else ""
    )


def _sparsity(masks: NeuronMasks | None) -> float | None:
    """Return the mean sparsity in percent."""
    if masks is None:
        return None
    return 100 * float(np.mean([values.mean() for values in masks.sparsity().values()]))
