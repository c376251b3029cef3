"""Ablation: switching neurons off in a model, and measuring what each task's text loses (paper, section 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from neuronspec.analysis import ablation
from neuronspec.analysis.ablation import Ablation
from neuronspec.analysis.ablation_masks import choose_own_neurons, make_ablation_masks
from neuronspec.analysis.ablation_metrics import (
    CHRF_METRIC,
    LOSS_METRIC,
    AblationMetric,
    measuring_chrf,
    measuring_loss,
)
from neuronspec.analysis.given_masks import allow_all, take_own_neurons
from neuronspec.config.sections import AblationOptions
from neuronspec.data.reading_errors import explain_missing
from neuronspec.errors import NeuronspecError
from neuronspec.files import read_json, write_json
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.recording import record_activations
from neuronspec.pipeline.analysis_inputs import AnalysisInputs, Batches
from neuronspec.pipeline.analysis_target import AnalysisTarget
from neuronspec.progress import Advance, show_progress

# Name of the file of measurements, below the directory of the stage
ABLATION_FILE = "ablation.json"


def ablate(target: AnalysisTarget, inputs: AnalysisInputs) -> dict[str, Ablation]:
    """Switch neurons off, stack by stack, and measure what each task's text loses.

    A task's own neurons are chosen on one part of its text and measured on another. Neurons that were chosen on the
    very sentences that they are measured on would look better there than they are.

    Args:
        target: Masks and the settings of the ablation.
        inputs: Model and text.

    Returns:
        The measurements by stack; stacks with one task are left out.

    Raises:
        NeuronspecError: If a task has no text, or too little to split, or translations are to be scored of a model that
            cannot translate.
    """
    options = target.ablation or AblationOptions()

    # A decoder-only model has no translations to score; that is refused before anything is recorded.
    by_chrf = options.metric == "chrf"
    if by_chrf and not inputs.model.config.is_encoder_decoder:
        raise NeuronspecError("ablate.metric: a model that does not translate has no chrF++; use loss")

    # A stack with a single task has nothing to compare it with.
    compared = {stack: list(one.tasks) for stack, one in target.compared.items() if len(one.tasks) > 1}
    if not compared:
        return {}

    # The first sentences of each text are measured; the rest decide which neurons are a task's own.
    all_tasks = [task for tasks in compared.values() for task in tasks]
    given = load_given(options)
    chosen = _choose_given(given, target, compared) if given is not None else {}
    measured = {task: _count_measured(inputs, task, options.sentences) for task in all_tasks}
    counts = _record_rest(inputs, measured)

    # Each text is measured with every neuron, without each task's own, and without each random set.
    ablations = {}
    total = sum(len(tasks) * (len(tasks) + 1 + options.draws) for tasks in compared.values())
    with show_progress("switching neurons off", total) as advance:
        # The stacks are ablated one after the other: the neurons of the other stack stay on.
        for stack, tasks in compared.items():
            # The masks: own neurons of each task, and random ones of the same number and similar frequencies
            if given is None:
                own, pool = choose_own_neurons(counts, target.masks, tasks, stack, options.share), target.masks
            else:
                own, pool = chosen[stack], allow_all(given)
            off = make_ablation_masks(own, pool, counts, options.draws, target.seed)

            parts = {task: slice(measured[task]) for task in tasks}
            rule = "" if given is None else given.signature.get("rule", "by hand")
            ablations[stack] = _ablate_stack(inputs, off, parts, by_chrf=by_chrf, given=rule, advance=advance)

    return ablations


def load_given(options: AblationOptions) -> NeuronMasks | None:
    """Return the masks whose neurons to switch off; None if own neurons are to be chosen.

    Raises:
        NeuronspecError: If the masks are missing or damaged.
    """
    if options.masks is None:
        return None
    if not options.masks.exists():  # a path that leads nowhere is no name on the hub
        raise explain_missing(options.masks)
    return NeuronMasks.from_pretrained(options.masks)


def _choose_given(
    given: NeuronMasks, target: AnalysisTarget, compared: Mapping[str, Sequence[str]]
) -> dict[str, NeuronMasks]:
    """Return the own neurons of each stack's tasks from given masks, before anything is recorded."""
    return {stack: take_own_neurons(given, target.masks, tasks, stack) for stack, tasks in compared.items()}


def _ablate_stack(
    inputs: AnalysisInputs,
    off: NeuronMasks,
    parts: Mapping[str, slice],
    *,
    by_chrf: bool,
    given: str,
    advance: Advance,
) -> Ablation:
    """Measure these parts of the texts with every neuron, and with the masks of the ablation."""
    # Masks are applied while the context is open, and leave the model as it was afterwards.
    with _open_metric(inputs, off, parts, by_chrf) as measure:
        return ablation.ablate(
            list(parts),
            off,
            measure,
            metric=CHRF_METRIC if by_chrf else LOSS_METRIC,
            higher_is_better=by_chrf,
            given=given,
            advance=advance,
        )


def _count_measured(inputs: AnalysisInputs, task: str, limit: int) -> int:
    """Return the number of sentences, from the first, to measure on: no more than half of the task's text."""
    size = inputs.size(task)
    if size < 2:
        raise NeuronspecError(
            f"found {size} sentences of {task}, expected two or more: its own neurons are chosen on one part of the "
            "text and measured on another; give more text, or do not ablate"
        )

    # At least half of the text remains to choose the neurons on.
    return min(limit, size // 2)


def _record_rest(inputs: AnalysisInputs, measured: Mapping[str, int]) -> ActivationCounts:
    """Count on the sentences that are not measured in how many of them each neuron is active."""
    with show_progress("recording neurons", len(measured)) as advance:

        def read() -> Batches:
            for task, number in measured.items():
                # `advance` counts tasks here, not sentences: the bar has a step for each of them.
                yield from inputs.read(task, slice(number, None))
                advance()

        return record_activations(inputs.model, read(), activity=inputs.activity)


def _open_metric(
    inputs: AnalysisInputs, off: NeuronMasks, parts: Mapping[str, slice], by_chrf: bool
) -> AbstractContextManager[AblationMetric]:
    """Return a context with the metric of these parts of the texts."""
    # Sources and references are needed only for chrF++; the loss needs tokens alone.
    if by_chrf:
        pairs = {task: inputs.read_pairs(task, part) for task, part in parts.items()}
        return measuring_chrf(inputs.model, off, inputs.tokenizer, pairs, inputs.translation)

    # A text is measured many times, so that its batches are kept instead of read again.
    batches = {task: list(inputs.read(task, part)) for task, part in parts.items()}
    return measuring_loss(inputs.model, off, batches)


def save_ablations(ablations: Mapping[str, Ablation], directory: Path) -> None:
    """Write the measurements of each stack into a directory."""
    write_json(directory / ABLATION_FILE, {stack: one.as_dict() for stack, one in ablations.items()})


def load_ablations(directory: Path) -> dict[str, Ablation]:
    """Return the measurements of each stack; an empty mapping if nothing was measured.

    Raises:
        NeuronspecError: If the file is damaged.
    """
    path = directory / ABLATION_FILE
    if not path.is_file():
        return {}

    found = read_json(path)

    # The file names each stack twice, as a key and within: both must agree.
    ablations = [Ablation.from_dict(one) for one in found.values()] if isinstance(found, dict) else []
    by_stack = {one.stack: one for one in ablations}
    if not isinstance(found, dict) or by_stack.keys() != found.keys():
        raise NeuronspecError(f"{path} is damaged: expected an ablation for each of encoder and decoder, by that name")
    return by_stack
