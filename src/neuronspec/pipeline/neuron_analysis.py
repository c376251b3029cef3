"""Analysing the neurons of a run, or of any model: what activates them, what is lost without them, what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuronspec.analysis import ablation
from neuronspec.analysis.ablation import Ablation
from neuronspec.analysis.ablation_masks import choose_own_neurons, make_ablation_masks
from neuronspec.analysis.ablation_metrics import (
    CHRF_METRIC,
    LOSS_METRIC,
    AblationMetric,
    measuring_chrf,
    measuring_loss,
)
from neuronspec.analysis.compared_tasks import ComparedTasks, choose_tasks_by_stack
from neuronspec.analysis.measures import analyze
from neuronspec.analysis.token_counts import count_tokens
from neuronspec.comparison.tables import write_tables
from neuronspec.config.sections import AblationOptions, Analysis
from neuronspec.data.batches import EVERYTHING
from neuronspec.errors import NeuronspecError
from neuronspec.figures.neuron_figures import draw_neuron_figures
from neuronspec.files import publish, read_json, write_json
from neuronspec.neurons import example_search
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.examples import Examples
from neuronspec.neurons.filenames import COUNTS_FILE
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.recording import record_activations
from neuronspec.pipeline.analysis_inputs import AnalysisInputs, Batches
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.run_results import TABLES
from neuronspec.progress import show_progress
from neuronspec.report.language_cards import MAX_CARD_NEURONS, make_language_cards
from neuronspec.report.neuron_cards import make_neuron_card
from neuronspec.report.neuron_tables import tabulate_measures
from neuronspec.report.page import write_report
from neuronspec.report.page_values import to_json_values
from neuronspec.report.payload import make_payload
from neuronspec.specialization.masking import check_fit

ANALYSIS_FILE = "analysis.json"
REPORT_FILE = "report.html"
ABLATION_FILE = "ablation.json"
CARDS = 1_000  # neurons on all cards of a report, about: it stays a page that a browser opens


@dataclass(frozen=True)
class AnalysisTarget:
    """What is analysed.

    Attributes:
        name: of the report.
        masks: the selected neurons.
        counts: that they were selected from.
        pivot: the language that the others are paired with.
        options: of the analysis.
        ablation: what to switch off; None for nothing.
        seed: of everything that is drawn.
    """

    name: str
    masks: NeuronMasks
    counts: ActivationCounts | None
    pivot: str
    options: Analysis
    ablation: AblationOptions | None
    seed: int

    @property
    def panels(self) -> dict[str, ComparedTasks]:
        """The tasks that are compared in each stack."""
        return choose_tasks_by_stack(self.masks.tasks, self.masks.layers, self.pivot, self.options.sides)


def analyze_target(target: AnalysisTarget, layout: Layout, inputs: AnalysisInputs | None) -> None:
    """Analyse any masks and counts without a run, with a model and text where there are some.

    Raises:
        NeuronspecError: a text is of an unknown task, a task that is ablated has none, or the model is another one.
    """
    if inputs is None:
        write_analysis(target, layout, None, None, {})
        return
    check_fit(find_ffn_layers(inputs.model), target.masks)
    for task in inputs.tasks:
        target.masks.task_index(task)  # which says so where it is unknown
    options = target.options
    examples = collect_examples(inputs, options.examples) if options.examples else None
    ablations = ablate(target, inputs) if target.ablation is not None else {}
    write_analysis(target, layout, inputs, examples, ablations)
    if examples is not None:
        examples.save(layout.examples)  # last: where something is amiss, nothing is written


def open_target(run: Run) -> AnalysisTarget:
    """Return what is analyzed of a run whose neurons are selected."""
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


def load_ablations(directory: Path) -> dict[str, Ablation]:
    """Return what was measured without neurons, by stack; nothing where nothing was."""
    path = directory / ABLATION_FILE
    if not path.is_file():
        return {}
    found = read_json(path)
    ablations = [Ablation.from_dict(one) for one in found.values()] if isinstance(found, dict) else []
    by_stack = {ablation.stack: ablation for ablation in ablations}
    if not isinstance(found, dict) or by_stack.keys() != found.keys():
        raise NeuronspecError(f"{path} is damaged: expected an ablation for each of encoder and decoder, by that name")
    return by_stack


def collect_examples(inputs: AnalysisInputs, top: int) -> Examples:
    """Find the sentences of a inputs that activate each neuron most, `top` for each."""
    with show_progress("finding examples", len(inputs.tasks)) as advance:

        def read() -> Batches:
            for task in inputs.tasks:
                yield from inputs.read(task, EVERYTHING)
                advance()

        return example_search.find_examples(inputs.model, read(), top, activity=inputs.activity)


def ablate(target: AnalysisTarget, inputs: AnalysisInputs) -> dict[str, Ablation]:
    """Switch neurons off, stack by stack, and measure what each task's text loses.

    Own neurons are chosen on one part of each text and measured on another: neurons that were chosen on the very
    sentences that they are measured on would look better there than they are.

    Args:
        target: what is analysed; its ablation says how many neurons, and what is measured.
        inputs: the model and the text.

    Returns:
        By stack, what was measured; stacks with one task are left out.

    Raises:
        NeuronspecError: a task has no text, or too little to split, or a model that cannot translate is to be scored.
    """
    options = target.ablation or AblationOptions()
    by_chrf = options.metric == "chrf"
    if by_chrf and not inputs.model.config.is_encoder_decoder:
        raise NeuronspecError("ablate.metric: a model that does not translate has no chrF++; use loss")
    panels = {stack: panel.tasks for stack, panel in target.panels.items() if len(panel.tasks) > 1}
    if not panels:
        return {}
    measured = {task: _count_measured(inputs, task, options.sentences) for tasks in panels.values() for task in tasks}
    counts = _record_rest(inputs, measured)
    ablations = {}
    total = sum(len(tasks) * (len(tasks) + 1 + options.draws) for tasks in panels.values())
    with show_progress("switching neurons off", total) as advance:
        for stack, tasks in panels.items():
            own = choose_own_neurons(counts, target.masks, tasks, stack, options.share)
            off = make_ablation_masks(own, target.masks, counts, options.draws, target.seed)
            with _measuring(inputs, off, {task: slice(measured[task]) for task in tasks}, by_chrf) as harm:
                ablations[stack] = ablation.ablate(
                    tasks,
                    off,
                    harm,
                    metric=CHRF_METRIC if by_chrf else LOSS_METRIC,
                    higher_is_better=by_chrf,
                    advance=advance,
                )
    return ablations


def _count_measured(inputs: AnalysisInputs, task: str, limit: int) -> int:
    """Return on how many sentences of a task to measure, the first ones: no more than half of them."""
    size = inputs.size(task)
    if size < 2:
        raise NeuronspecError(
            f"found {size} sentences of {task}, expected two or more: its own neurons are chosen on one part of the "
            "text and measured on another; give more text, or do not ablate"
        )
    return min(limit, size // 2)


def _record_rest(inputs: AnalysisInputs, measured: Mapping[str, int]) -> ActivationCounts:
    """Count in how many of the sentences that are not measured each neuron is active."""
    with show_progress("recording neurons", len(measured)) as advance:

        def read() -> Batches:
            for task, number in measured.items():
                yield from inputs.read(task, slice(number, None))
                advance()

        return record_activations(inputs.model, read(), activity=inputs.activity)


def _measuring(
    inputs: AnalysisInputs, off: NeuronMasks, parts: Mapping[str, slice], by_chrf: bool
) -> AbstractContextManager[AblationMetric]:
    """Return what yields the ablation metric for these parts of the texts."""
    if by_chrf:
        pairs = {task: inputs.read_pairs(task, part) for task, part in parts.items()}
        return measuring_chrf(inputs.model, off, inputs.tokenizer, pairs, inputs.translation)
    return measuring_loss(inputs.model, off, {task: list(inputs.read(task, part)) for task, part in parts.items()})


def write_analysis(
    target: AnalysisTarget,
    layout: Layout,
    inputs: AnalysisInputs | None,
    examples: Examples | None,
    ablations: Mapping[str, Ablation],
) -> None:
    """Measure, draw, and write the report.

    Args:
        target: what is analysed.
        layout: where to write the figures, and the numbers, tables and report.
        inputs: the model and the text; None where there are none, and then nothing is said of words.
        examples: the sentences that activate each neuron most.
        ablations: by stack, what was measured without neurons.
    """
    masks, counts, options = target.masks, target.counts, target.options
    with show_progress("measuring overlaps", len(masks.layers)) as advance:
        measures = analyze(
            masks,
            counts,
            pivot=target.pivot,
            options=options,
            tokens=None if inputs is None else _count_tokens(inputs, masks.tasks),
            against={name: NeuronMasks.from_pretrained(path) for name, path in options.against.items()},
            seed=target.seed,
            advance=advance,
        )
    panels = list(target.panels.values())
    limit = max(3, min(MAX_CARD_NEURONS, CARDS // sum(len(panel.tasks) for panel in panels)))
    languages = make_language_cards(masks, panels, counts, limit)
    names = dict.fromkeys(f"{layer}:{neuron}" for card in languages for layer, neuron in card.neurons)
    tokenizer = None if inputs is None else inputs.tokenizer
    neurons = [make_neuron_card(name, masks, counts, examples, tokenizer) for name in names]
    payload = to_json_values(
        make_payload(measures, target.name, ablations=ablations, languages=languages, neurons=neurons)
    )
    with publish(layout.analysis) as temporary:
        figures = temporary / layout.figures.name
        figures.mkdir(parents=True)
        if options.figures:
            draw_neuron_figures(measures, figures, ablations, released=options.released)
        write_tables(tabulate_measures(measures, ablations), temporary / TABLES)
        write_json(temporary / ANALYSIS_FILE, payload)
        write_report(payload, temporary / REPORT_FILE)


def _count_tokens(inputs: AnalysisInputs, tasks: Sequence[str]) -> dict[str, NDArray[np.int64]] | None:
    """Return how often each token stands in each task's text; None where a task has none."""
    if not set(tasks) <= set(inputs.tasks):
        return None
    batches = (batch for task in tasks for batch in inputs.read(task, EVERYTHING))
    return count_tokens(batches, tasks, inputs.special)
