"""Analyzing neurons, those of a run or of any model: measuring, drawing, and writing the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronspec.analysis.ablation import Ablation
from neuronspec.analysis.measures import Measures, analyze
from neuronspec.analysis.token_counts import count_tokens
from neuronspec.comparison.tables import write_tables
from neuronspec.data.batches import EVERYTHING
from neuronspec.figures.neuron_figures import draw_neuron_figures
from neuronspec.files import publish, write_json
from neuronspec.neurons import example_search
from neuronspec.neurons.examples import Examples
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.analysis_inputs import AnalysisInputs, Batches
from neuronspec.pipeline.analysis_target import AnalysisTarget
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.neuron_ablation import ablate
from neuronspec.pipeline.run_results import TABLES
from neuronspec.progress import show_progress
from neuronspec.report.figure_entries import list_figures
from neuronspec.report.language_cards import MAX_CARD_NEURONS, choose_neurons, make_language_cards, name_neuron
from neuronspec.report.neuron_cards import make_neuron_card
from neuronspec.report.neuron_tables import tabulate_measures
from neuronspec.report.page import write_report
from neuronspec.report.page_values import to_json_values
from neuronspec.report.payload import make_payload
from neuronspec.specialization.masking import check_fit

# Names of files below the directory of the analysis
ANALYSIS_FILE = "analysis.json"
REPORT_FILE = "report.html"
CANDIDATES = 3  # neurons that are classified for each one that a card shows
MAX_CARDS = 1_000  # neurons on all cards of a report, about: it stays a page that a browser opens


def analyze_target(target: AnalysisTarget, layout: Layout, inputs: AnalysisInputs | None) -> None:
    """Analyze any masks and counts without a run, with a model and text where there are some.

    Raises:
        NeuronspecError: If a text belongs to an unknown task, a task that is ablated has no text, or the model does not
            fit the masks.
    """
    # Without a model, only what masks and counts hold can be measured.
    if inputs is None:
        write_analysis(target, layout)
        return

    # Masks that do not fit the model, and text of unknown tasks, are refused before any work.
    check_fit(find_ffn_layers(inputs.model), target.masks)
    for task in inputs.tasks:
        target.masks.task_index(task)  # refuses an unknown one

    top = target.options.examples
    examples = collect_examples(inputs, top) if top else None
    ablations = ablate(target, inputs) if target.ablation is not None else {}
    write_analysis(target, layout, inputs=inputs, examples=examples, ablations=ablations)
    if examples is not None:
        examples.save(layout.examples)  # last: where something is wrong, nothing is written


def collect_examples(inputs: AnalysisInputs, top: int) -> Examples:
    """Find the `top` sentences of the text that activate each neuron most."""
    with show_progress("finding examples", len(inputs.tasks)) as advance:

        def read() -> Batches:
            for task in inputs.tasks:
                # Tasks are read one after the other, so that the bar has a step for each.
                yield from inputs.read(task, EVERYTHING)
                advance()

        return example_search.find_examples(inputs.model, read(), top, activity=inputs.activity)


def write_analysis(
    target: AnalysisTarget,
    layout: Layout,
    *,
    inputs: AnalysisInputs | None = None,
    examples: Examples | None = None,
    ablations: Mapping[str, Ablation] | None = None,
) -> None:
    """Measure, draw, and write the report.

    Args:
        target: Masks and settings.
        layout: Paths of what is written: figures, numbers, tables and report.
        inputs: Model and text; None where there are none, and then shared words are not measured.
        examples: Sentences that activate each neuron most, where they were searched for.
        ablations: Measurements without neurons, by stack, where there are any.
    """
    ablations = ablations or {}

    # Measuring takes long and writes nothing: a failure leaves an earlier analysis untouched.
    measures = _measure(target, inputs)
    payload = _make_report(target, measures, inputs=inputs, examples=examples, ablations=ablations)

    # Figures, tables, numbers and report appear together, in place of those of an earlier analysis.
    with publish(layout.analysis) as temporary:
        figures = temporary / layout.figures.name
        figures.mkdir(parents=True)
        if target.options.figures:
            drawn = draw_neuron_figures(measures, figures, ablations, released=target.options.released)
            payload["figures"] = list_figures(drawn, layout.figures.name)
        write_tables(tabulate_measures(measures, ablations), temporary / TABLES)
        write_json(temporary / ANALYSIS_FILE, payload)
        write_report(payload, temporary / REPORT_FILE)


def _measure(target: AnalysisTarget, inputs: AnalysisInputs | None) -> Measures:
    """Measure the overlaps of every layer."""
    # Masks to compare with are loaded first: a wrong path fails before the long measurements.
    others = {name: NeuronMasks.from_pretrained(path) for name, path in target.options.against.items()}
    with show_progress("measuring overlaps", len(target.masks.layers)) as advance:
        return analyze(
            target.masks,
            target.counts,
            pivot=target.pivot,
            options=target.options,
            tokens=None if inputs is None else _count_tokens(inputs, target.masks.tasks),
            against=others,
            seed=target.seed,
            advance=advance,
        )


def _make_report(
    target: AnalysisTarget,
    measures: Measures,
    *,
    inputs: AnalysisInputs | None,
    examples: Examples | None,
    ablations: Mapping[str, Ablation],
) -> dict[str, Any]:
    """Return the values that the report shows: measures, and cards of languages and neurons."""
    masks, counts, compared = target.masks, target.counts, list(target.compared.values())

    # With many languages, each card shows fewer neurons, but never fewer than three.
    cards = MAX_CARDS // sum(len(one.tasks) for one in compared)
    limit = max(3, min(MAX_CARD_NEURONS, cards))
    candidates = make_language_cards(masks, compared, counts, limit * CANDIDATES)

    # A neuron that several languages share has one card. Its examples show whether it reads words.
    tokenizer = None if inputs is None else inputs.tokenizer
    found = {
        name: make_neuron_card(name, masks, counts, examples, tokenizer)
        for name in dict.fromkeys(name_neuron(place) for card in candidates for place in card.neurons)
    }
    reads = {name: card.reads for name, card in found.items()}
    languages = [choose_neurons(card, reads, limit) for card in candidates]

    kept = dict.fromkeys(name_neuron(place) for card in languages for place in card.neurons)
    neurons = [found[name] for name in kept]
    payload = make_payload(measures, target.name, ablations=ablations, languages=languages, neurons=neurons)
    return dict(to_json_values(payload))


def _count_tokens(inputs: AnalysisInputs, tasks: Sequence[str]) -> dict[str, NDArray[np.int64]] | None:
    """Return how often each token occurs in the text of each task; None where a task has no text."""
    # Shared words are compared between all tasks or not at all.
    if not set(tasks) <= set(inputs.tasks):
        return None

    # A generator, so that no more than one batch is in memory
    batches = (batch for task in tasks for batch in inputs.read(task, EVERYTHING))
    return count_tokens(batches, tasks, inputs.special)
