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

RULES_WITH_K = ("coverage", "top", "released", "random")


def find_missing(
    masks: NeuronMasks, counts: ActivationCounts | None, panels: Mapping[str, ComparedTasks], options: Analysis
) -> dict[str, str]:
    """Return why parts cannot be measured, by their names."""
    missing = {}
    if not any(panel.languages for panel in panels.values()):
        missing["families"] = "the tasks stand for no languages, so there are no families to compare"
    if masks.signature.get("rule") not in RULES_WITH_K:
        missing["shares"] = f"the rule {masks.signature.get('rule', 'by hand')!r} has no k to vary"
    if not options.resamples:
        missing["intervals"] = "resampling was switched off (analysis.resamples=0)"
    if counts is None:
        none = "there are no activation counts beside the masks"
        return {"shares": none, "intervals": none} | missing
    if counts.widths != masks.widths or not set(masks.tasks) <= set(counts.tasks):
        raise NeuronspecError(
            "the activation counts are of another model or of other tasks than the masks: give those that the masks "
            "were selected from, or none"
        )
    rows = [counts.tasks.index(task) for task in masks.tasks]
    try:
        for layer in masks.layers:
            select = make_selector(masks.signature, layer)
            if not np.array_equal(select(counts.values[layer].numpy()[rows]), masks.layer(layer).numpy()):
                raise NeuronspecError("these masks are not what their signature selects from the counts")
            SentenceStates.from_counts(counts, layer, masks.tasks)
    except NeuronspecError as error:
        missing.setdefault("intervals", str(error))
    return missing
