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
from neuronspec.config.schema import Config
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
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.material import Batches, Material, open_run
from neuronspec.pipeline.report import TABLES
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
class Subject:
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


def find_run_examples(config: Config, layout: Layout) -> None:
    """Find the sentences of a run's validation text that activate each neuron most."""
    find_examples(open_run(config, layout), config.analyze.examples).save(layout.examples)


def ablate_run(config: Config, layout: Layout) -> None:
    """Switch off each language's own neurons and the others', and measure what a run's validation text loses."""
    ablations = ablate(load_subject(config, layout), open_run(config, layout))
    write_json(layout.ablation / ABLATION_FILE, {stack: one.as_dict() for stack, one in ablations.items()})


def analyze_run(config: Config, layout: Layout) -> None:
    """Measure what a run's masks say, draw it, and write the report of its neurons."""
    subject, material = load_subject(config, layout), open_run(config, layout)
    # What an earlier configuration asked for may still be there, of an earlier model.
    examples = Examples.load(layout.examples) if config.analyze.examples else None
    ablations = load_ablations(layout.ablation) if config.ablate is not None else {}
    write_analysis(subject, layout, material, examples, ablations)


def analyze_subject(subject: Subject, layout: Layout, material: Material | None) -> None:
    """Analyse any masks and counts without a run, with a model and text where there are some.

    Raises:
        NeuronspecError: a text is of an unknown task, a task that is ablated has none, or the model is another one.
    """
    if material is None:
        write_analysis(subject, layout, None, None, {})
        return
    check_fit(find_ffn_layers(material.model), subject.masks)
    for task in material.tasks:
        subject.masks.task_index(task)  # which says so where it is unknown
    options = subject.options
    examples = find_examples(material, options.examples) if options.examples else None
    ablations = ablate(subject, material) if subject.ablation is not None else {}
    write_analysis(subject, layout, material, examples, ablations)
    if examples is not None:
        examples.save(layout.examples)  # last: where something is amiss, nothing is written


def load_subject(config: Config, layout: Layout) -> Subject:
    """Return what is analysed of a run whose neurons are selected."""
    return Subject(
        config.name,
        NeuronMasks.from_pretrained(layout.masks),
        ActivationCounts.load(layout.counts) if (layout.counts / COUNTS_FILE).is_file() else None,
        config.pivot,
        config.analyze,
        config.ablate,
        config.seed,
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


def find_examples(material: Material, top: int) -> Examples:
    """Find the sentences of a material that activate each neuron most, `top` for each."""
    with show_progress("finding examples", len(material.tasks)) as advance:

        def read() -> Batches:
            for task in material.tasks:
                yield from material.read(task, EVERYTHING)
                advance()

        return example_search.find_examples(material.model, read(), top, **material.watching)


def ablate(subject: Subject, material: Material) -> dict[str, Ablation]:
    """Switch neurons off, stack by stack, and measure what each task's text loses.

    Own neurons are chosen on one part of each text and measured on another: neurons that were chosen on the very
    sentences that they are measured on would look better there than they are.

    Args:
        subject: what is analysed; its ablation says how many neurons, and what is measured.
        material: the model and the text.

    Returns:
        By stack, what was measured; stacks with one task are left out.

    Raises:
        NeuronspecError: a task has no text, or too little to split, or a model that cannot translate is to be scored.
    """
    options = subject.ablation or AblationOptions()
    by_chrf = options.metric == "chrf"
    if by_chrf and not material.model.config.is_encoder_decoder:
        raise NeuronspecError("ablate.metric: a model that does not translate has no chrF++; use loss")
    panels = {stack: panel.tasks for stack, panel in subject.panels.items() if len(panel.tasks) > 1}
    if not panels:
        return {}
    measured = {task: _count_measured(material, task, options.sentences) for tasks in panels.values() for task in tasks}
    counts = _record_rest(material, measured)
    ablations = {}
    total = sum(len(tasks) * (len(tasks) + 1 + options.draws) for tasks in panels.values())
    with show_progress("switching neurons off", total) as advance:
        for stack, tasks in panels.items():
            own = choose_own_neurons(counts, subject.masks, tasks, stack, options.share)
            off = make_ablation_masks(own, subject.masks, counts, options.draws, subject.seed)
            with _measuring(material, off, {task: slice(measured[task]) for task in tasks}, by_chrf) as harm:
                ablations[stack] = ablation.ablate(
                    tasks,
                    off,
                    harm,
                    metric=CHRF_METRIC if by_chrf else LOSS_METRIC,
                    higher_is_better=by_chrf,
                    advance=advance,
                )
    return ablations


def _count_measured(material: Material, task: str, limit: int) -> int:
    """Return on how many sentences of a task to measure, the first ones: no more than half of them."""
    size = material.size(task)
    if size < 2:
        raise NeuronspecError(
            f"found {size} sentences of {task}, expected two or more: its own neurons are chosen on one part of the "
            "text and measured on another; give more text, or do not ablate"
        )
    return min(limit, size // 2)


def _record_rest(material: Material, measured: Mapping[str, int]) -> ActivationCounts:
    """Count in how many of the sentences that are not measured each neuron is active."""
    with show_progress("recording neurons", len(measured)) as advance:

        def read() -> Batches:
            for task, number in measured.items():
                yield from material.read(task, slice(number, None))
                advance()

        return record_activations(material.model, read(), "sentence", **material.watching)


def _measuring(
    material: Material, off: NeuronMasks, parts: Mapping[str, slice], by_chrf: bool
) -> AbstractContextManager[AblationMetric]:
    """Return what yields the ablation metric for these parts of the texts."""
    if by_chrf:
        pairs = {task: material.read_pairs(task, part) for task, part in parts.items()}
        return measuring_chrf(material.model, off, material.tokenizer, pairs, material.translation)
    return measuring_loss(material.model, off, {task: list(material.read(task, part)) for task, part in parts.items()})


def write_analysis(
    subject: Subject,
    layout: Layout,
    material: Material | None,
    examples: Examples | None,
    ablations: Mapping[str, Ablation],
) -> None:
    """Measure, draw, and write the report.

    Args:
        subject: what is analysed.
        layout: where to write the figures, and the numbers, tables and report.
        material: the model and the text; None where there are none, and then nothing is said of words.
        examples: the sentences that activate each neuron most.
        ablations: by stack, what was measured without neurons.
    """
    masks, counts, options = subject.masks, subject.counts, subject.options
    with show_progress("measuring overlaps", len(masks.layers)) as advance:
        measures = analyze(
            masks,
            counts,
            pivot=subject.pivot,
            options=options,
            tokens=None if material is None else _count_tokens(material, masks.tasks),
            against={name: NeuronMasks.from_pretrained(path) for name, path in options.against.items()},
            seed=subject.seed,
            advance=advance,
        )
    panels = list(subject.panels.values())
    limit = max(3, min(MAX_CARD_NEURONS, CARDS // sum(len(panel.tasks) for panel in panels)))
    languages = make_language_cards(masks, panels, counts, limit)
    names = dict.fromkeys(f"{layer}:{neuron}" for card in languages for layer, neuron in card.neurons)
    tokenizer = None if material is None else material.tokenizer
    neurons = [make_neuron_card(name, masks, counts, examples, tokenizer) for name in names]
    payload = to_json_values(
        make_payload(measures, subject.name, ablations=ablations, languages=languages, neurons=neurons)
    )
    with publish(layout.figures) as temporary:
        temporary.mkdir()
        if options.figures:
            draw_neuron_figures(measures, temporary, ablations, released=options.released)
    with publish(layout.analysis) as temporary:
        temporary.mkdir()
        write_tables(tabulate_measures(measures, ablations), temporary / TABLES)
        write_json(temporary / ANALYSIS_FILE, payload)
        write_report(payload, temporary / REPORT_FILE)


def _count_tokens(material: Material, tasks: Sequence[str]) -> dict[str, NDArray[np.int64]] | None:
    """Return how often each token stands in each task's text; None where a task has none."""
    if not set(tasks) <= set(material.tasks):
        return None
    batches = (batch for task in tasks for batch in material.read(task, EVERYTHING))
    return count_tokens(batches, tasks, material.special)
