"""Notes on the methods behind a report, and the citation."""

from __future__ import annotations

from collections.abc import Mapping

CITATION = """@inproceedings{tan-etal-2024-neuron,
  title = {Neuron Specialization: Leveraging Intrinsic Task Modularity for Multilingual Machine Translation},
  author = {Tan, Shaomu and Wu, Di and Monz, Christof},
  booktitle = {Proceedings of the 2024 Conference on Empirical Methods in Natural Language Processing},
  year = {2024},
}"""

# What a reader must know to judge the numbers
METHOD_NOTES = (
    "Overlap is the intersection over union of two tasks' sets of neurons (Eq. 2 of the paper). The tasks that "
    "are compared are named next to each stack.",
    "Chance is the overlap of random sets of the same sizes (hypergeometric, exact); z counts standard deviations "
    "above it. Shuffled sentences: the sentences of all tasks are pooled and dealt out again, as many to each "
    "task as it had. The p-value tests the mean overlap of a layer; any difference between tasks counts, also "
    "that of sentence lengths. The z of a single pair against shuffled sentences is descriptive and not a test.",
    "Intervals are 95 % bootstrap intervals, over each task's sentences, of the overlap to expect from as many "
    "sentences of the same kind; unlimited text would give a higher overlap.",
    "Mantel and partial Mantel tests permute whole tasks. Families and scripts are tested by silhouettes against "
    "random groups of the same sizes. Trends leave out one task at a time. p-values are corrected over the layers "
    "of a stack by Holm's method, separately for each kind of test.",
    "Trees join tasks by complete linkage on 1 - IoU, with optimal leaf ordering.",
)

# The rules of our own, in words; any other is named as its signature names it
_RULES = {
    "coverage": "the smallest set of the most frequent ones that covers k of a layer's activation (Eq. 1 of the paper)",
    "top": "the share k of a layer's neurons that is most frequent",
    "released": "the most frequent neurons that cover k, as the released code computes it",
    "lape": "the neurons that few tasks activate (LAPE)",
}


def describe_rule(signature: Mapping[str, str]) -> str:
    """Say how the neurons were selected, from the signature of their masks."""
    rule = signature.get("rule", "by hand")
    selected = f"The neurons of a task are {_RULES[rule]}." if rule in _RULES else f"The neurons were selected: {rule}."
    if "unit" not in signature:
        return selected

    # How activations were counted, which only masks from counts have in their signature
    is_padding_only = signature.get("ignored", "padding") == "padding"
    ignored = "padding" if is_padding_only else "padding and some special tokens"
    return (
        f"{selected} A neuron is active where its value is above {signature.get('threshold', '0')}; activations are "
        f"counted by {signature['unit']}, without {ignored}."
    )
