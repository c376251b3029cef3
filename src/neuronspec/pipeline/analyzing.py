"""Analysing the neurons of a run, or of any model: what activates them, what is lost without them, what they say."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.analysis.ablation import Ablation, ablate
from neuronspec.analysis.cards import NEURONS, describe_languages, describe_neuron
from neuronspec.analysis.gallery import draw_figures
from neuronspec.analysis.harm import CHRF, LOSS, measuring_chrf, measuring_loss
from neuronspec.analysis.measures import measure
from neuronspec.analysis.neuron_tables import tabulate_measures
from neuronspec.analysis.panels import choose_panel
from neuronspec.analysis.payload import make_payload
from neuronspec.analysis.report import simplify, write_report
from neuronspec.analysis.switching import choose_own, switch_off
from neuronspec.analysis.words import count_tokens
from neuronspec.config import Analysis, Config, Translation
from neuronspec.data.batches import special_ids
from neuronspec.data.store import read_columns
from neuronspec.data.text import Texts, pairs_of
from neuronspec.errors import NeuronspecError
from neuronspec.files import publish, read_json, write_json
from neuronspec.models.inputs import make_batches
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.neurons.counts import COUNTS_FILE, ActivationCounts
from neuronspec.neurons.examples import Examples, find_examples
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline import work
from neuronspec.pipeline.layout import PRETRAINED, Layout
from neuronspec.pipeline.report import TABLES, write_tables
from neuronspec.progress import show_progress
from neuronspec.specialization.masking import check_fit

ANALYSIS_FILE = "analysis.json"
REPORT_FILE = "report.html"
ABLATION_FILE = "ablation.json"
CARDS = 1_000  # neurons on all cards of a report, about: it stays a page that a browser opens

Batch = Mapping[str, Any]
Pairs = tuple[list[str], list[str]]  # sources, references


@dataclass(frozen=True)
class Subject:
    """What is analysed.

    Attributes:
        name: of the report.
        masks: the selected neurons.
        counts: that they were selected from.
        pivot: the language that the others are paired with.
        options: of the analysis.
        seed: of everything that is drawn.
    """

    name: str
    masks: NeuronMasks
    counts: ActivationCounts | None
    pivot: str
    options: Analysis
    seed: int

    @property
    def panels(self) -> dict[str, tuple[str, ...]]:
        """The tasks that are compared in each stack."""
        stacks = dict.fromkeys(layer.partition(".")[0] for layer in self.masks.layers)
        return {
            stack: choose_panel(self.masks.tasks, self.pivot, stack, getattr(self.options, stack)).tasks
            for stack in stacks
        }


def find_run_examples(config: Config, layout: Layout) -> None:
    """Find the sentences of a run's validation text that activate each neuron most."""
    model, neurons = work.to_device(load_model(layout.model(PRETRAINED)), config), config.neurons
    valid = work.open_dataset(config, layout, "valid", load_tokenizer(layout.vocabulary), model.config)
    with show_progress("finding examples", sum(map(len, valid.lengths()))) as advance:
        batches = (
            work.name_tasks(valid.in_order(neurons.tokens_per_batch, number), task.name, advance)
            for number, task in enumerate(valid.tasks)
        )
        find_examples(
            model,
            itertools.chain.from_iterable(batches),
            config.analysis.examples,
            threshold=neurons.threshold,
            gated_at=neurons.gated_at,
            ignore=special_ids((task.format for task in valid.tasks), neurons.ignore),
        ).save(layout.examples)


def ablate_run(config: Config, layout: Layout) -> None:
    """Switch off each language's own neurons and the others', and measure what a run's validation text loses."""
    model, tokenizer = work.to_device(load_model(layout.model(PRETRAINED)), config), load_tokenizer(layout.vocabulary)
    valid = work.open_dataset(config, layout, "valid", tokenizer, model.config)
    texts, pairs = Texts.load(layout.text), pairs_of(config.directions(), config.pivot)
    limit, budget = config.analysis.ablated_sentences, config.sampling.tokens_per_batch

    def read_batches(task: str) -> list[Batch]:
        number = [one.name for one in valid.tasks].index(task)
        return list(work.name_tasks(valid.in_order(budget, number, limit), task))

    def read_pairs(task: str) -> Pairs:
        pair, side = pairs[task]
        rows = list(itertools.islice(read_columns(texts.path("valid", pair)), limit))
        return [row[side] for row in rows], [row[1 - side] for row in rows]

    ablations = ablate_subject(
        load_subject(config, layout), model, tokenizer, read_batches, read_pairs, config.translation
    )
    write_json(layout.ablation / ABLATION_FILE, {stack: one.as_dict() for stack, one in ablations.items()})


def analyze_run(config: Config, layout: Layout) -> None:
    """Measure what a run's masks say, draw it, and write the report of its neurons."""
    tokenizer, model = load_tokenizer(layout.vocabulary), load_model(layout.model(PRETRAINED))
    valid = work.open_dataset(config, layout, "valid", tokenizer, model.config)
    batches = (
        work.name_tasks(valid.in_order(config.neurons.tokens_per_batch, number), task.name)
        for number, task in enumerate(valid.tasks)
    )
    tags = special_ids((task.format for task in valid.tasks), ("tags", "end_of_sentence"))
    subject = load_subject(config, layout)
    words = count_tokens(itertools.chain.from_iterable(batches), subject.masks.tasks, tags)
    options = subject.options  # what an earlier configuration asked for may be there, of an earlier model
    examples = Examples.load(layout.examples) if options.examples else None
    ablations = load_ablations(layout.ablation) if options.ablate else {}
    write_analysis(subject, layout, words, examples, tokenizer, ablations)


def analyze_texts(
    subject: Subject,
    layout: Layout,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, list[Any]],
    tags: Sequence[int],
) -> None:
    """Analyse the neurons of any model on any text, without a run.

    Args:
        subject: what is analysed.
        layout: where to write.
        model: that the neurons are of.
        tokenizer: the model's.
        texts: for each task its text, as `make_batches` takes it; tasks without text have no examples.
        tags: ids of tokens that are no words.

    Raises:
        NeuronspecError: a text is of an unknown task, a task that is ablated has none, or the model is another one.
    """
    check_fit(find_ffn_layers(model), subject.masks)
    for task in texts:
        subject.masks.task_index(task)  # which says so where it is unknown
    options, facts = subject.options, {} if subject.counts is None else subject.counts.signature
    ignored = facts.get("ignored", "padding")
    examples = None
    if options.examples:
        examples = find_examples(
            model,
            make_batches(model, tokenizer, texts),
            options.examples,
            threshold=float(facts.get("threshold", 0)),
            gated_at="product" if facts.get("gated_at") == "product" else "gate",
            ignore=[] if ignored == "padding" else list(map(int, ignored.split())),
        )
    ablations = {}
    if options.ablate:
        limit = options.ablated_sentences

        def read(task: str) -> list[Any]:
            if task not in texts:
                raise NeuronspecError(f"there is no text of {task} to measure on: give --text {task}=FILE")
            return texts[task][:limit]

        def read_pairs(task: str) -> Pairs:
            sources, references = zip(*read(task), strict=True)
            return list(sources), list(references)

        def read_batches(task: str) -> list[Batch]:
            return list(make_batches(model, tokenizer, {task: read(task)}))

        ablations = ablate_subject(subject, model, tokenizer, read_batches, read_pairs, Translation())
    known = all(task in texts for task in subject.masks.tasks)
    words = count_tokens(make_batches(model, tokenizer, texts), subject.masks.tasks, tags) if known else None
    write_analysis(subject, layout, words, examples, tokenizer, ablations)
    if examples is not None:
        examples.save(layout.examples)  # last: where something is amiss, nothing is written


def load_subject(config: Config, layout: Layout) -> Subject:
    """Return what is analysed of a run whose neurons are selected."""
    return Subject(
        config.name,
        NeuronMasks.from_pretrained(layout.masks),
        ActivationCounts.load(layout.counts) if (layout.counts / COUNTS_FILE).is_file() else None,
        config.pivot,
        config.analysis,
        config.seed,
    )


def load_ablations(directory: Path) -> dict[str, Ablation]:
    """Return what was measured without neurons, by stack; nothing where nothing was."""
    path = directory / ABLATION_FILE
    return {stack: Ablation.from_dict(one) for stack, one in read_json(path).items()} if path.is_file() else {}


def ablate_subject(
    subject: Subject,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    read_batches: Callable[[str], list[Batch]],
    read_pairs: Callable[[str], Pairs],
    translation: Translation,
) -> dict[str, Ablation]:
    """Switch neurons off, stack by stack, and measure what each task's text loses.

    Args:
        subject: what is analysed; its options say how many neurons, and what is measured.
        model: that the neurons are of.
        tokenizer: the model's.
        read_batches: returns the text of a task as the model reads it.
        read_pairs: returns the text of a task as sentences and their references.
        translation: how to translate, where chrF++ is measured.

    Returns:
        By stack, what was measured; stacks with one task are left out.

    Raises:
        NeuronspecError: there are no counts to choose neurons by, or a model that cannot translate is to be scored.
    """
    options = subject.options
    if subject.counts is None:
        raise NeuronspecError("switching neurons off needs the activation counts: which neurons are a language's own?")
    panels = {stack: tasks for stack, tasks in subject.panels.items() if len(tasks) > 1}
    by_chrf = options.ablated_metric == "chrf"
    if by_chrf and not model.config.is_encoder_decoder:
        raise NeuronspecError("analysis.ablated_metric: a model that does not translate has no chrF++; use loss")
    ablations = {}
    total = sum(len(tasks) * (len(tasks) + 1 + options.ablated_draws) for tasks in panels.values())
    with show_progress("switching neurons off", total) as advance:
        for stack, tasks in panels.items():
            own = choose_own(subject.counts, subject.masks, tasks, stack, options.ablated_share)
            off = switch_off(own, subject.masks, options.ablated_draws, subject.seed)
            if by_chrf:
                texts = {task: read_pairs(task) for task in tasks}
                measuring = measuring_chrf(model, off, tokenizer, texts, translation)
            else:
                measuring = measuring_loss(model, off, {task: read_batches(task) for task in tasks})
            with measuring as measure_harm:
                ablations[stack] = ablate(
                    tasks,
                    off,
                    measure_harm,
                    metric=CHRF if by_chrf else LOSS,
                    higher_is_better=by_chrf,
                    advance=advance,
                )
    return ablations


def write_analysis(
    subject: Subject,
    layout: Layout,
    words: Mapping[str, NDArray[np.int64]] | None,
    examples: Examples | None,
    tokenizer: PreTrainedTokenizerBase | None,
    ablations: Mapping[str, Ablation],
) -> None:
    """Measure, draw, and write the report.

    Args:
        subject: what is analysed.
        layout: where to write the figures, and the numbers, tables and report.
        words: from `count_tokens`.
        examples: the sentences that activate each neuron most.
        tokenizer: the model's, to read them with.
        ablations: by stack, what was measured without neurons.
    """
    masks, counts, options = subject.masks, subject.counts, subject.options
    with show_progress("measuring overlaps", len(masks.layers)) as advance:
        measures = measure(
            masks,
            counts,
            pivot=subject.pivot,
            options=options,
            tokens=words,
            against={name: NeuronMasks.from_pretrained(path) for name, path in options.against.items()},
            seed=subject.seed,
            advance=advance,
        )
    panels = [layers[0].panel for layers in measures.stacks.values()]
    limit = max(3, min(NEURONS, CARDS // sum(len(panel.tasks) for panel in panels)))
    languages = describe_languages(masks, panels, counts, limit)
    names = dict.fromkeys(f"{layer}:{neuron}" for card in languages for layer, neuron in card.neurons)
    neurons = [describe_neuron(name, masks, counts, examples, tokenizer) for name in names]
    payload = simplify(make_payload(measures, subject.name, ablations=ablations, languages=languages, neurons=neurons))
    with publish(layout.figures) as temporary:
        temporary.mkdir()
        draw_figures(measures, temporary, ablations, released=options.released)
    with publish(layout.analysis) as temporary:
        temporary.mkdir()
        write_tables(tabulate_measures(measures, ablations), temporary / TABLES)
        write_json(temporary / ANALYSIS_FILE, payload)
        write_report(payload, temporary / REPORT_FILE)
