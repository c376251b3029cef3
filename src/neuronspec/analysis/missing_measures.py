"""Measures that cannot be made of a set of masks, with the reason."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neuronspec.analysis.compared_tasks import ComparedTasks
from neuronspec.analysis.reselection import make_selector
from neuronspec.analysis.sentence_states import SentenceStates
from neuronspec.config.sections import Analysis
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.rules import RULES, takes_k


def find_missing(
    masks: NeuronMasks, counts: ActivationCounts | None, compared: Mapping[str, ComparedTasks], options: Analysis
) -> dict[str, str]:
    """Return the parts that cannot be measured, with the reason.

    Args:
        masks: Masks of any tasks.
        counts: Activation counts that the masks were selected from.
        compared: Tasks that are compared in each stack.
        options: Settings of the analysis.

    Returns:
        The reason for each missing part: `families`, `shares` (other k), `intervals` (everything that resamples).

    Raises:
        NeuronspecError: If the counts belong to another model or other tasks.
    """
    # What the tasks, the masks' rule and the settings rule out
    missing = {}
    if not any(tasks.languages for tasks in compared.values()):
        missing["families"] = "the tasks are not named after languages, so there are no families to compare"
    rule = masks.signature.get("rule", "by hand")
    if rule not in RULES or not takes_k(RULES[rule]):
        missing["shares"] = f"the rule {rule!r} has no k to vary"
    if not options.resamples:
        missing["intervals"] = "resampling was switched off (analyze.resamples=0)"

    # Without counts nothing can be selected again; those reasons say less than the ones above
    if counts is None:
        reason = "there are no activation counts next to the masks"
        return {"shares": reason, "intervals": reason} | missing

    if counts.widths != masks.widths or not set(masks.tasks) <= set(counts.tasks):
        raise NeuronspecError(
            "the activation counts belong to another model or to other tasks than the masks: give those that the "
            "masks were selected from, or none"
        )

    # Masks that these counts do not select again were changed, or come from others
    try:
        _check_resampling(masks, counts)
    except NeuronspecError as error:
        missing.setdefault("intervals", str(error))
    return missing


def _check_resampling(masks: NeuronMasks, counts: ActivationCounts) -> None:
    """Check that the masks can be selected again from single sentences."""
    # Masks that were changed by hand, or come from other counts, are not what the rule selects
    rows = [counts.tasks.index(task) for task in masks.tasks]
    for layer in masks.layers:
        select = make_selector(masks.signature, layer)
        reselected = select(counts.values[layer].numpy()[rows])
        if not np.array_equal(reselected, masks.layer(layer).numpy()):
            raise NeuronspecError("these masks are not what their signature selects from the counts")

        SentenceStates.from_counts(counts, layer, masks.tasks)  # refuses counts without the states of sentences
