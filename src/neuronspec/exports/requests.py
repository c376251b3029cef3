"""Requests of exports, checked before any work: the format, the tasks, the masks and the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import Section
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.exports.formats import EXPORTS, ExportFormat, ExportRequest
from neuronspec.exports.proof_text import choose_max_tokens, choose_sentences, leave_out_special
from neuronspec.languages import match_direction
from neuronspec.models.codec import TextCodec
from neuronspec.models.peft_wrapping import refuse_wrapped
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.neuron_choice import check_choice
from neuronspec.specialization.masking import check_fit, find_specialization
from neuronspec.specialization.routing import find_router
from neuronspec.specialization.steered_model import refuse_steered
from neuronspec.specialization.steering import Steering

PROOF_SENTENCES: Final = 50
"""Number of sentences of each task that an export is proven with, unless another is given."""


def make_request(
    format: ExportFormat,
    name: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    masks: NeuronMasks | None,
    *,
    task: str | Sequence[str] | None,
    sentences: Sequence[str] | Mapping[str, Sequence[str]],
    dense: bool,
    pivot: str,
    limit: int,
    max_tokens: int | None,
    source: str,
    options: Mapping[str, Any],
    steering: Steering | Sequence[Steering] = (),
) -> ExportRequest:
    """Return the checked request of an export; the arguments are those of `export`.

    Raises:
        NeuronspecError: If anything does not fit together.
    """
    refuse_wrapped(model, "cannot export")
    refuse_steered(model, "cannot export")
    settings = read_options(format, name, options)
    steerings = (steering,) if isinstance(steering, Steering) else tuple(steering)
    masks = find_masks(format, name, model, masks, dense=dense, steered=bool(steerings))
    tasks = _choose_tasks(format, name, task, masks)
    if masks is not None:
        masks = choose_masks(masks, tasks, pivot)
        check_fit(find_ffn_layers(model), masks)
    _check_steerings(format, name, model, steerings, tasks)

    # What the model cannot do at all is refused before it is written.
    if model.config.is_encoder_decoder:
        codec = TextCodec(tokenizer, model.config)
        codec.formats(tasks)
        # A model of one direction has no tokens of languages that were added later.
        tokenizer = codec.find_tokenizer(tasks[0]) if masks is not None and len(tasks) == 1 else tokenizer

    # Sentences and answers that fit into the positions of every program
    answer = choose_max_tokens(model, tokenizer, tasks, max_tokens)
    chosen = choose_sentences(model, tokenizer, sentences, tasks, limit=limit, max_tokens=answer)
    if format.reads_special:
        chosen = leave_out_special(tokenizer, chosen)

    return ExportRequest(
        model=model,
        tokenizer=tokenizer,
        masks=masks,
        tasks=tasks,
        sentences=chosen,
        options=settings,
        max_tokens=answer,
        source=source,
        steerings=steerings,
    )


def _check_steerings(
    format: ExportFormat, name: str, model: PreTrainedModel, steerings: Sequence[Steering], tasks: Sequence[str]
) -> None:
    """Refuse a steering that the format cannot hold, or that changes nothing in the export."""
    if steerings and not format.steers:
        able = " or ".join(other for other, entry in EXPORTS.items() if entry.steers)
        raise NeuronspecError(f"the format {name} would lose a steering, which changes no weights: choose {able}")

    widths = {layer.name: layer.width for layer in find_ffn_layers(model)} if steerings else {}
    for steering in steerings:
        check_choice(steering.choice, widths)
        if not any(map(steering.applies_to, tasks)):
            raise NeuronspecError(
                f"a steering is for {', '.join(steering.tasks or ())}, and the export for {', '.join(tasks)}: it would "
                "change nothing"
            )


def read_options(format: ExportFormat, name: str, options: Mapping[str, Any]) -> Section:
    """Return the options of a format, checked as the section of a configuration is.

    Args:
        format: Format.
        name: Name of the format, for messages.
        options: Values by name.

    Raises:
        NeuronspecError: If the format has no such option, or a value does not fit.
    """
    known = list(format.options.model_fields)
    for option in options:
        if option not in known:
            listed = f"; it has {', '.join(known)}" if known else ", which has no options"
            raise NeuronspecError(f"the format {name} has no option {option!r}{did_you_mean(option, known)}{listed}")

    try:
        return format.options.model_validate(dict(options))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        reason = problem["msg"].removeprefix("Value error, ")
        raise NeuronspecError(f"the format {name} cannot have {place}={problem['input']!r}: {reason}") from error


def find_masks(
    format: ExportFormat,
    name: str,
    model: PreTrainedModel,
    masks: NeuronMasks | None,
    *,
    dense: bool,
    steered: bool = False,
) -> NeuronMasks | None:
    """Return the masks to export: those that are given, or those that the model computes with; None for dense.

    A steering can be exported without masks.

    Raises:
        NeuronspecError: If the model computes with something other than masks, or the format needs masks and there
            are none.
    """
    specialization = find_specialization(model)
    if find_router(model) is not None and specialization is None:
        raise NeuronspecError(
            "this model computes with adapters or weights of each task, and only neuron masks can be exported: "
            "neuronspec.unspecialize(model) removes them; neuronspec.methods.export_peft exports LoRA"
        )

    if dense and masks is not None:
        raise NeuronspecError("give masks or dense=True, not both")
    if masks is None and specialization is not None and not dense:
        masks = specialization.masks
    if steered:
        return masks
    if masks is None and not dense:
        raise NeuronspecError(
            "there are no masks: give some, or dense=True (--dense) to export the model with all of its neurons"
        )
    if masks is None and format.needs_masks:
        raise NeuronspecError(f"the format {name} holds masks, which a dense model does not have: give masks")
    return masks


def choose_masks(masks: NeuronMasks, tasks: Sequence[str], pivot: str) -> NeuronMasks:
    """Return the masks of some tasks, in their order; those of unseen directions are composed.

    Raises:
        NeuronspecError: If a direction has no masks and cannot be composed.
    """
    unseen = [task for task in tasks if match_direction(task, masks.tasks) is None]
    if not unseen:
        return masks.reorder(tasks)

    composed = masks.zero_shot(unseen, pivot)
    if len(unseen) < len(tasks):
        composed = NeuronMasks.concatenate([masks, composed])
    return composed.reorder(tasks)


def _choose_tasks(
    format: ExportFormat, name: str, task: str | Sequence[str] | None, masks: NeuronMasks | None
) -> tuple[str, ...]:
    """Return the names of the tasks to export."""
    if task is None and format.several and masks is not None:
        return masks.tasks
    if task is None or not task:
        known = f", one of {', '.join(masks.tasks)}" if masks is not None else ", such as de-en"
        raise NeuronspecError(f"the format {name} needs a task (--task){known}")

    tasks = (task,) if isinstance(task, str) else tuple(task)
    if len(set(tasks)) < len(tasks):
        raise NeuronspecError(f"a task is given twice: {', '.join(tasks)}")
    if len(tasks) > 1 and not format.several:
        raise NeuronspecError(f"an export as {name} holds one task, not {len(tasks)} ({', '.join(tasks)})")
    return tasks
