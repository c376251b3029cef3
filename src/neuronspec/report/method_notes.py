"""Notes on the methods behind a report, and the citation."""

from __future__ import annotations

from collections.abc import Mapping

CITATION = """@inproceedings{tan-etal-2024-neuron,
  title = {Neuron Specialization: Leveraging Intrinsic Task Modularity for Multilingual Machine Translation},
  author = {Tan, Shaomu and Wu, Di and Monz, Christof},
  booktitle = {Proceedings of the 2024 Conference on Empirical Methods in Natural Language Processing},
  year = {2024},
}"""
METHOD_NOTES = (
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


def describe_rule(signature: Mapping[str, str]) -> str:
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
