"""The payload of the report: everything that was measured, as the values that its page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from matplotlib import cbook

from neuronspec.analysis.ablation import Ablation
from neuronspec.analysis.measures import LayerMeasures, Measures, overlap_of
from neuronspec.analysis.overlap import above_diagonal
from neuronspec.analysis.panels import Panel
from neuronspec.analysis.tree import Tree
from neuronspec.report.cards import LanguageCard, NeuronCard
from neuronspec.report.findings import describe
from neuronspec.report.neuron_tables import tabulate_measures
from neuronspec.report.page import pack, pack_floats
from neuronspec.version import __version__

CHOSEN = "as selected"  # the k of the masks themselves, of which there may be several
CITATION = """@inproceedings{tan-etal-2024-neuron,
  title = {Neuron Specialization: Leveraging Intrinsic Task Modularity for Multilingual Machine Translation},
  author = {Tan, Shaomu and Wu, Di and Monz, Christof},
  booktitle = {Proceedings of the 2024 Conference on Empirical Methods in Natural Language Processing},
  year = {2024},
}"""
METHODS = (
    "Overlap is the intersection over union of two tasks' sets of neurons (Eq. 2 of the paper); which tasks are "
    "compared stands beside the name of each stack.",
    "Chance is the overlap of random sets of the same sizes (hypergeometric, exact); z counts standard deviations from "
    "it. Shuffled sentences keep every task's number of sentences and deal the sentences of all tasks out again; the "
    "p-value is of the mean overlap of a layer, and any difference between tasks counts, that of sentence lengths too. "
    "The z of a pair against them describes it and is no test of it.",
    "Intervals are 95 % intervals, by the bootstrap over each task's sentences, of the overlap to expect from as many "
    "sentences of the same kind; endless text would give a higher one.",
    "Mantel and partial Mantel tests permute whole tasks; families and scripts are tested by silhouettes against "
    "random groups of the same sizes; trends leave out one task at a time. p-values are corrected over the layers of a "
    "stack by Holm's method, each kind of test by itself.",
    "Trees join tasks by complete linkage on 1 - IoU, with optimal leaf ordering.",
)
_RULES = {
    "coverage": "the smallest set of the most frequent ones that covers k of a layer's activation (Eq. 1 of the paper)",
    "top": "the share k of a layer's neurons that is most frequent",
    "released": "the most frequent neurons that cover k, as the released code computes it",
    "lape": "the neurons that few tasks activate (LAPE)",
}


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
        "summary": [asdict(finding) for finding in describe(measures, ablations)],
        "missing": dict(measures.missing),
        "panels": {stack: _show_panel(layers[0].panel) for stack, layers in measures.stacks.items()},
        "layers": [
            {"name": layer, "stack": one.panel.stack, "width": masks.widths[layer]}
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
        "methods": [_describe_selection(masks.signature), *METHODS],
        "citation": CITATION,
    }


def _describe_selection(signature: Mapping[str, str]) -> str:
    """Say how the neurons came about, from the masks' signature."""
    rule = signature.get("rule", "by hand")
    chosen = f"The neurons of a task are {_RULES[rule]}." if rule in _RULES else f"The neurons were selected: {rule}."
    if "unit" not in signature:
        return chosen
    ignored = signature.get("ignored", "padding")
    rest = "padding" if ignored == "padding" else "padding and some special tokens"
    return (
        f"{chosen} A neuron is active where its value is above {signature.get('threshold', '0')}; it is counted by "
        f"{signature['unit']}, {rest} left out."
    )


def _show_panel(panel: Panel) -> dict[str, Any]:
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
                str(k): pack(above_diagonal(overlap_of(other, one.layer, one.panel)))
                for k, other in measures.by_share.items()
            }
            | {CHOSEN: pack(one.pairs)}
            for layer, one in layers
        },
        "low": {layer: pack(above_diagonal(one.interval.low)) for layer, one in resampled.items()},
        "high": {layer: pack(above_diagonal(one.interval.high)) for layer, one in resampled.items()},
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
