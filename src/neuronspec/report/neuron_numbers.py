"""The numbers that a page about neurons begins with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neuronspec.analysis.ablation import Ablation
from neuronspec.analysis.layer_measures import LayerMeasures
from neuronspec.analysis.measures import Measures
from neuronspec.analysis.overlap import above_diagonal
from neuronspec.report.page_numbers import PageNumber


def make_neuron_numbers(measures: Measures, ablations: Mapping[str, Ablation]) -> list[PageNumber]:
    """Return the share of selected neurons, the harm without own ones, the overlap at the end, the exclusive ones."""
    # The last stack is the most telling: the decoder, where there is one
    stack, layers = list(measures.stacks.items())[-1]
    harm = [_show_harm(ablations[stack])] if stack in ablations else []
    overlap = [_show_overlap(layers[-1])] if layers[-1].pairs.size else []
    return [_show_selected(measures), *harm, *overlap, *_show_exclusive(measures, layers)]


def _show_selected(measures: Measures) -> PageNumber:
    """Return the share of neurons that are selected for a task, on average."""
    masks = measures.masks
    shares = {stack: f"{stack} {100 * (1 - masks.mean_sparsity(stack)):.0f} %" for stack in measures.stacks}
    selected = 1 - masks.mean_sparsity()
    note = ", ".join(shares.values()) if len(shares) > 1 else f"on average over {len(masks.tasks)} tasks"
    return PageNumber(f"{100 * selected:.0f} %", "of the neurons are selected for a task", note)


def _show_harm(ablation: Ablation) -> PageNumber:
    """Return how much worse a text gets without its own neurons, next to those of others."""
    test = ablation.test()
    own, others = f"{test.own:+z.2g}", f"{test.others:+z.2g}"
    label = f"harm without own neurons, {ablation.stack}"
    return PageNumber(own, label, f"without others' {others}; p = {test.p_others:.2g}; {ablation.metric}")


def _show_overlap(one: LayerMeasures) -> PageNumber:
    """Return the mean overlap of a layer, next to that of random sets."""
    expected = float(above_diagonal(one.chance.mean).mean())
    return PageNumber(
        f"{one.pairs.mean():.2f}",
        f"mean overlap (IoU) in {one.layer}",
        f"random sets of the same sizes {expected:.2f}",
    )


def _show_exclusive(measures: Measures, layers: list[LayerMeasures]) -> list[PageNumber]:
    """Return the share of a stack's neurons that are selected for exactly one task."""
    compared = layers[0].compared
    if len(compared.tasks) < 2:
        return []

    rows = [measures.masks.task_index(task) for task in compared.tasks]
    owners = np.concatenate([measures.masks.layer(one.layer).numpy()[rows].sum(0) for one in layers])
    exclusive, by_all = float((owners == 1).mean()), float((owners == len(rows)).mean())
    label = f"of the {compared.stack}'s neurons are selected for one task only"
    return [PageNumber(f"{100 * exclusive:.0f} %", label, f"{100 * by_all:.0f} % are shared by all")]
