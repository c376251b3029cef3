"""The target of an analysis: the selected neurons, their counts, and the settings."""

from __future__ import annotations

from dataclasses import dataclass

from neuronspec.analysis.compared_tasks import ComparedTasks, choose_tasks_by_stack
from neuronspec.config.sections import AblationOptions, Analysis
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.filenames import COUNTS_FILE
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.run import Run


@dataclass(frozen=True, kw_only=True)
class AnalysisTarget:
    """The neurons that are analyzed, and how.

    Attributes:
        name: Title of the report.
        masks: Selected neurons.
        counts: Activation counts that they were selected from, where there are any.
        pivot: Language that the others are paired with.
        options: Settings of the analysis.
        ablation: Neurons to switch off; None for no ablation.
        seed: Seed of every random draw.
    """

    name: str
    masks: NeuronMasks
    counts: ActivationCounts | None
    pivot: str
    options: Analysis
    ablation: AblationOptions | None
    seed: int

    @property
    def compared(self) -> dict[str, ComparedTasks]:
        """The tasks that are compared in each stack."""
        return choose_tasks_by_stack(self.masks.tasks, self.masks.layers, self.pivot, self.options.sides)


def open_target(run: Run) -> AnalysisTarget:
    """Return what is analyzed of a run whose neurons are selected."""
    # A run without stored counts is analyzed by its masks alone.
    has_counts = (run.layout.counts / COUNTS_FILE).is_file()
    return AnalysisTarget(
        name=run.config.name,
        masks=run.load_masks(),
        counts=run.load_counts() if has_counts else None,
        pivot=run.config.pivot,
        options=run.config.analyze,
        ablation=run.config.ablate,
        seed=run.config.seed,
    )
