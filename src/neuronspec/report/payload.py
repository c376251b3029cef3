"""The payload of the report: everything that was measured, as the values that its page shows."""

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
from neuronspec.report.findings import describe_measures
from neuronspec.report.language_cards import LanguageCard
from neuronspec.report.method_notes import CITATION, METHOD_NOTES, describe_rule
from neuronspec.report.neuron_cards import NeuronCard
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
    """Return what the report shows of the neurons: see `write_report` for its parts.

    Args:
        measures: of a set of masks.
        title: of the report.
        ablations: by stack, where neurons were switched off.
        languages: their cards.
        neurons: the cards of the neurons that those name.
    """
    masks = measures.masks
    return {
        "title": title,
        "subtitle": f"The neurons of {len(masks.tasks)} tasks in {len(masks.layers)} layers.",
        "version": f"neuronspec {__version__}",
        "summary": [asdict(finding) for finding in describe_measures(measures, ablations)],
        "missing": dict(measures.missing),
        "panels": {stack: _show_panel(layers[0].compared) for stack, layers in measures.stacks.items()},
        "layers": [
            {"name": layer, "stack": one.compared.stack, "width": masks.widths[layer]}
            for layer, one in measures.layers.items()
        ],
        "ks": [*map(str, measures.by_share), CHOSEN],
        "k": CHOSEN,
        **_show_overlaps(measures),
        "sparsity": {
            layer: {"tasks": masks.tasks, "values": values.tolist()} for layer, values in masks.sparsity().items()
        },
        "trees": {
            layer: _show_tree(one.structure.tree)
            for layer, one in measures.layers.items()
            if one.structure.tree is not None
        },
        "progression": {layer: _show_box(one) for layer, one in measures.layers.items() if one.pairs.size},
        "tables": {"statistics": list(tabulate_measures(measures, ablations).values())},
        "ablation": {stack: _show_ablation(ablation) for stack, ablation in (ablations or {}).items()},
        "cards": _show_cards(languages, neurons) if languages else None,
        "signature": masks.signature,
        "methods": [describe_rule(masks.signature), *METHOD_NOTES],
        "citation": CITATION,
    }


def _show_panel(panel: ComparedTasks) -> dict[str, Any]:
    known = bool(panel.languages)
    return {
        "title": panel.title,
        "tasks": panel.tasks,
        "labels": panel.labels,
        "names": panel.names,
        "families": panel.families if known else [],
        "scripts": panel.scripts if known else [],
    }


def _show_overlaps(measures: Measures) -> dict[str, Any]:
    layers = measures.layers.items()
    resampled = {layer: one.resampled for layer, one in layers if one.resampled is not None}

    return {
        "iou": {
            layer: {
                str(k): pack_fractions(above_diagonal(measure_overlap(other, one.layer, one.compared)))
                for k, other in measures.by_share.items()
            }
            | {CHOSEN: pack_fractions(one.pairs)}
            for layer, one in layers
        },
        "low": {layer: pack_fractions(above_diagonal(one.interval.low)) for layer, one in resampled.items()},
        "high": {layer: pack_fractions(above_diagonal(one.interval.high)) for layer, one in resampled.items()},
        "z_chance": {layer: pack_floats(above_diagonal(one.chance.z(one.iou))) for layer, one in layers},
        "z_shuffled": {layer: pack_floats(above_diagonal(one.null.z)) for layer, one in resampled.items()},
    }


def _show_tree(tree: Tree) -> dict[str, Any]:
    return {
        "order": tree.leaves,
        "merges": [[int(first), int(second), distance] for first, second, distance, _ in tree.linkage.tolist()],
        "newick": tree.newick(),
        "cophenetic": tree.cophenetic_correlation,
    }


def _show_box(one: LayerMeasures) -> dict[str, float]:
    box = cbook.boxplot_stats(one.pairs)[0]
    names = {"mean": "mean", "median": "med", "q1": "q1", "q3": "q3", "low": "whislo", "high": "whishi"}
    return {name: float(box[key]) for name, key in names.items()}


def _show_ablation(ablation: Ablation) -> dict[str, Any]:
    off = f"{100 * ablation.share:.3g} % of each {ablation.stack} layer's neurons off"
    return {
        "texts": ablation.tasks,
        "switched": [*ablation.tasks, "random"],
        "changes": ablation.matrix.tolist(),
        "metric": ablation.metric,
        "note": f"{off}: of the column's task, or random ones of the row's own; positive is worse.",
    }


def _show_cards(languages: Sequence[LanguageCard], neurons: Sequence[NeuronCard]) -> dict[str, Any]:
    sentences: dict[tuple[str, tuple[str, ...]], int] = {}  # each is written once
    shown = {}
    for card in neurons:
        examples = [
            {
                "sentence": sentences.setdefault((one.task, tuple(one.tokens)), len(sentences)),
                "position": one.position,
                "value": one.value,
            }
            for one in card.examples
        ]
        shown[card.name] = {"owners": card.owners, "frequencies": card.frequencies, "examples": examples}
    return {
        "sentences": [{"task": task, "tokens": tokens} for task, tokens in sentences],
        "languages": [
            {
                "name": card.name,
                "label": card.label,
                "stack": card.stack,
                "layers": [
                    {
                        "layer": place.layer,
                        "own": place.own,
                        "exclusive": place.exclusive,
                        "shared_by_all": place.shared,
                    }
                    for place in card.places
                ],
                "neurons": [{"id": f"{layer}:{neuron}"} for layer, neuron in card.neurons],
            }
            for card in languages
        ],
        "neurons": shown,
    }
