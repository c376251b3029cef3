"""A run's results, costs and tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neuronspec.comparison.all_tables import name_table, tabulate_all, tabulate_tests
from neuronspec.comparison.averages import list_averages
from neuronspec.comparison.cells import Cell
from neuronspec.comparison.groups import BY_SIDE
from neuronspec.comparison.seeds import tabulate_seeds
from neuronspec.comparison.study import Study
from neuronspec.comparison.tables import Table
from neuronspec.config.schema import Config
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.layout import PRETRAINED, Layout
from neuronspec.pipeline.studies import load_study
from neuronspec.pipeline.systems import FINE_TUNE, MASKED, RANDOM, SPECIALIZED, choose_baselines
from neuronspec.statistics.corrections import CORRECTIONS

TABLES = "tables"  # the directory of tables, in every format


@dataclass(frozen=True)
class RunResults:
    """A run's results, masks and comparisons, from which its tables and findings are made.

    Attributes:
        config: Configuration of the run.
        study: Results and comparisons.
        masks: Specialized neurons by the name of the system, for each system that has some.
    """

    config: Config
    study: Study
    masks: Mapping[str, NeuronMasks]

    @property
    def trained(self) -> list[str]:
        """The systems that were trained."""
        return [system for system in self.study.results.systems if system in (PRETRAINED, *self.config.methods)]

    @property
    def main(self) -> str:
        """The system that the run is about: neuron specialization, or else the last one that was trained."""
        return SPECIALIZED if SPECIALIZED in self.trained else self.trained[-1]

    @property
    def rival(self) -> str:
        """The system that all arrows of a page compare with: fine-tuning, or else the pretrained model."""
        return FINE_TUNE if FINE_TUNE in self.trained else PRETRAINED

    def baseline(self, system: str) -> str:
        """Return the baseline of a system's marks: the strongest system that it is compared with."""
        # The last baseline is what the marks refer to; the pretrained model has itself.
        return choose_baselines(self.study.results.systems).get(system, [PRETRAINED])[-1]


def load_results(config: Config, layout: Layout) -> RunResults:
    """Read the results of a run whose scores are done."""
    study = load_study(config, layout)

    # Masks are stored with a trained model, or, for systems without training, where they were selected.
    masks = {}
    for system in study.results.systems:
        directory = layout.masks if system in (MASKED, RANDOM) else layout.model(system)
        if (directory / MASKS_FILE).is_file():
            masks[system] = NeuronMasks.from_pretrained(directory)
    return RunResults(config, study, masks)


def tabulate(report: RunResults) -> dict[str, Table]:
    """Return every table of a run by name."""
    study = report.study

    # A run with a single seed has nothing to show of seeds: its table is left out.
    seeds = {name_table("seeds", metric): tabulate_seeds(study, metric) for metric in study.results.metrics}
    return (
        {"averages": tabulate_averages(report)}
        | {name: table for name, table in seeds.items() if table.rows}
        | tabulate_all(study)
        | tabulate_tests(study)
    )


def tabulate_averages(report: RunResults, baseline: str = "") -> Table:
    """Return the table of average scores and of sparsity: a row a system.

    Args:
        report: Results of the run.
        baseline: Name of the one system that all marks compare with; by default, each system's own baseline.
    """
    study = report.study.against(baseline) if baseline else report.study
    groups, metrics = study.families[BY_SIDE], study.results.metrics

    header = ["system", *(f"{metric} {group}" for group in groups for metric in metrics), "sparsity %"]

    # The sparsity comes after the scores.
    rows = list_averages(study, lambda system: baseline or report.baseline(system))
    for system, row in zip(study.results.systems, rows, strict=True):
        row.append(Cell(_sparsity(report.masks.get(system))))
    return Table("Averages over directions", header, rows, [_explain_marks(study, baseline)])


def _explain_marks(study: Study, baseline: str) -> str:
    others = "the pretrained model (for methods other than fine-tuning: than fine-tuning)"
    return (
        f"↑ ↓: better or worse than {study.title(baseline) if baseline else others}, "
        f"paired approximate randomization, {study.trials:,} trials, p <= {study.significance:g} "
        f"{CORRECTIONS[study.correction].wording}."
    ) + (
        " '+ masks': the pretrained model, never trained with them; the random ones are of the same sizes."
        if MASKED in study.results.systems
        else ""
    )


def _sparsity(masks: NeuronMasks | None) -> float | None:
    """Return the mean sparsity in percent."""
    return None if masks is None else 100 * masks.mean_sparsity()
