"""The payload of the report: all measures as the values that its page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from matplotlib import cbook

from neuronspec.analysis.ablation import Ablation
from neuronspec.analysis.compared_tasks import ComparedTasks
from neuronspec.analysis.layer_measures import LayerMeasures, measure_overlap
from neuronspec.analysis.measures import Measures
from neuronspec.analysis.overlap import above_diagonal
from neuronspec.analysis.tree import Tree
from neuronspec.figures.family_colors import choose_colors
from neuronspec.neurons.examples import Example
from neuronspec.report.finding import Finding, choose_highlights
from neuronspec.report.findings import describe_measures
from neuronspec.report.language_cards import LanguageCard
from neuronspec.report.marked_words import list_words, mark_word
from neuronspec.report.method_notes import CITATION, METHOD_NOTES, describe_rule
from neuronspec.report.neuron_cards import NeuronCard
from neuronspec.report.neuron_numbers import make_neuron_numbers
from neuronspec.report.neuron_tables import tabulate_measures
from neuronspec.report.page_values import pack_floats, pack_fractions
from neuronspec.version import __version__

CHOSEN = "as selected"  # the k of the masks themselves, of which there may be several


def make_payload(
    measures: Measures,
    title: str,
    *,
    ablations: Mapping[str, Ablation] | None = None,
    languages: Sequence[LanguageCard] = (),
    neurons: Sequence[NeuronCard] = (),
) -> dict[str, Any]:
    """Return the values that the report shows; `write_report` describes its parts.

    Args:
        measures: Measures of a set of masks.
        title: Title of the report.
        ablations: Ablation of each stack whose neurons were switched off.
        languages: Cards of the languages.
        neurons: Cards of the neurons that the cards of languages name.
    """
    masks = measures.masks
    ablations = ablations or {}
    findings = describe_measures(measures, ablations)
    return {
        # What was measured, and what it says
        "title": title,
        "subtitle": f"The neurons of {len(masks.tasks)} tasks in {len(masks.layers)} layers.",
        "version": f"neuronspec {__version__}",
        "numbers": [asdict(number) for number in make_neuron_numbers(measures, ablations)],
        "highlights": [_show_finding(finding) for finding in choose_highlights(findings)],
        "summary": [_show_finding(finding) for finding in findings],
        "missing": dict(measures.missing),
        # What the heat map can show
        "panels": {stack: _show_compared(layers[0].compared) for stack, layers in measures.stacks.items()},
        "family_colors": _show_families(measures),
        "layers": _show_layers(measures),
        "ks": [*map(str, measures.by_share), CHOSEN],
        "k": CHOSEN,
        **_show_overlaps(measures),
        # What is drawn layer by layer
        "sparsity": _show_sparsity(measures),
        "trees": _show_trees(measures),
        "progression": {layer: _show_box(one) for layer, one in measures.layers.items() if one.pairs.size},
        # Numbers to look up, and whose neurons they are
        "tables": {"statistics": list(tabulate_measures(measures, ablations).values())},
        "ablation": {stack: _show_ablation(ablation) for stack, ablation in ablations.items()},
        "cards": _show_cards(languages, neurons) if languages else None,
        # How it was done
        "signature": masks.signature,
        "methods": [describe_rule(masks.signature), *METHOD_NOTES],
        "citation": CITATION,
    }


def _show_finding(finding: Finding) -> dict[str, str]:
    return {"kind": finding.kind, "text": finding.text}


def _show_compared(compared: ComparedTasks) -> dict[str, Any]:
    # Without languages there are no families and no scripts to show
    are_languages = bool(compared.languages)
    return {
        "title": compared.title,
        "tasks": compared.tasks,
        "labels": compared.labels,
        "names": compared.names,
        "families": compared.families if are_languages else [],
        "scripts": compared.scripts if are_languages else [],
    }


def _show_families(measures: Measures) -> dict[str, dict[str, str]]:
    """Return the color of every family, which is that of the figures."""
    families = [family for layers in measures.stacks.values() for family in layers[0].compared.families]
    return {family: asdict(color) for family, color in choose_colors(families).items()}


def _show_layers(measures: Measures) -> list[dict[str, Any]]:
    shown = []
    for layer, one in measures.layers.items():
        shown.append({"name": layer, "stack": one.compared.stack, "width": measures.masks.widths[layer]})
    return shown


def _show_overlaps(measures: Measures) -> dict[str, Any]:
    """Return the pairs above the diagonal for each layer: IoU for each k, intervals, and z."""
    iou: dict[str, dict[str, str]] = {}
    z_chance, low, high, z_shuffled = {}, {}, {}, {}

    for layer, one in measures.layers.items():
        iou[layer] = {}
        for k, masks in measures.by_share.items():
            # The same tasks for each other k, and last for the masks themselves
            overlap = measure_overlap(masks, layer, one.compared)
            iou[layer][str(k)] = pack_fractions(above_diagonal(overlap))
        iou[layer][CHOSEN] = pack_fractions(one.pairs)
        z_chance[layer] = pack_floats(above_diagonal(one.chance.z(one.iou)))

        # Masks that cannot be selected again have no intervals
        if one.resampled is not None:
            low[layer] = pack_fractions(above_diagonal(one.resampled.interval.low))
            high[layer] = pack_fractions(above_diagonal(one.resampled.interval.high))
            z_shuffled[layer] = pack_floats(above_diagonal(one.resampled.null.z))

    return {"iou": iou, "low": low, "high": high, "z_chance": z_chance, "z_shuffled": z_shuffled}


def _show_sparsity(measures: Measures) -> dict[str, Any]:
    masks = measures.masks
    shown = {}
    for layer, values in masks.sparsity().items():
        shown[layer] = {"tasks": masks.tasks, "values": values.tolist()}
    return shown


def _show_trees(measures: Measures) -> dict[str, Any]:
    trees = {}
    for layer, one in measures.layers.items():
        if one.structure.tree is not None:
            trees[layer] = _show_tree(one.structure.tree)
    return trees


def _show_tree(tree: Tree) -> dict[str, Any]:
    return {
        "order": tree.leaves,
        # Nodes in scipy's numbering: the leaves, then the merges
        "merges": [[int(first), int(second), distance] for first, second, distance, _ in tree.linkage.tolist()],
        "newick": tree.newick(),
        "cophenetic": tree.cophenetic_correlation,
    }


def _show_box(one: LayerMeasures) -> dict[str, float]:
    # matplotlib's numbers, so that the page shows the same boxes as the figures
    box = cbook.boxplot_stats(one.pairs)[0]
    names = {"mean": "mean", "median": "med", "q1": "q1", "q3": "q3", "low": "whislo", "high": "whishi"}
    return {name: float(box[key]) for name, key in names.items()}


def _show_ablation(ablation: Ablation) -> dict[str, Any]:
    off = f"{100 * ablation.share:.3g} % of each {ablation.stack} layer's neurons are off"
    if ablation.given:
        off = f"The neurons of given masks are off ({ablation.given}; on average {100 * ablation.share:.3g} %)"
    return {
        "texts": ablation.tasks,
        "switched": [*ablation.tasks, "random"],
        "changes": ablation.matrix.tolist(),
        "metric": ablation.metric,
        "note": f"{off}: those of the column's task, or random ones of the row's own task; positive is worse.",
    }


def _show_cards(languages: Sequence[LanguageCard], neurons: Sequence[NeuronCard]) -> dict[str, Any]:
    """Return the cards; every example sentence is written once, and cards refer to its number."""
    numbers: dict[tuple[str, str], int] = {}
    shown = {}
    for card in neurons:
        examples = []
        for one in card.examples:
            # A sentence that was seen before keeps its number
            number = numbers.setdefault((one.task, one.place.text), len(numbers))
            examples.append({"sentence": number, **_show_example(one)})
        shown[card.name] = {
            "owners": card.owners,
            "frequencies": card.frequencies,
            "examples": examples,
            "reads": card.reads,
            "words": list_words(card.examples),
        }

    return {
        "sentences": [{"task": task, "text": text} for task, text in numbers],
        "languages": [_show_language(card) for card in languages],
        "neurons": shown,
    }


def _show_example(example: Example) -> dict[str, Any]:
    """Return an example without its sentence: what is marked in it, and its activation."""
    is_word = example.place.role == "word"
    return {
        "mark": list(mark_word(example.place)),
        # A tag or another special token is no part of the text
        "token": None if is_word else example.tokens[example.position],
        "value": example.value,
    }


def _show_language(card: LanguageCard) -> dict[str, Any]:
    layers = []
    for one in card.layer_shares:
        layers.append({"layer": one.layer, "own": one.own, "exclusive": one.exclusive, "shared_by_all": one.shared})
    return {
        "name": card.name,
        "label": card.label,
        "stack": card.stack,
        "layers": layers,
        "neurons": [{"id": f"{layer}:{neuron}"} for layer, neuron in card.neurons],
    }
