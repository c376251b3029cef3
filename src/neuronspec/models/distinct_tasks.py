"""Tasks that look the same to a model: it could only translate them into one language, so they are refused."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from weakref import WeakSet

from transformers import PreTrainedTokenizerBase

from neuronspec.data.task_format import TaskFormat
from neuronspec.errors import NeuronspecError
from neuronspec.languages import same_language, split_direction
from neuronspec.models.instructions import Instructions, declares_language
from neuronspec.models.source_prefixes import HOW_TO_PREFIX

logger = logging.getLogger(__name__)

# Tokenizers that were warned about; weak, so that they can still be deleted
_WARNED: WeakSet[PreTrainedTokenizerBase] = WeakSet()


def check_distinct(formats: Mapping[str, TaskFormat], instructions: Instructions, *, training: bool) -> None:
    """Refuse tasks with different target languages that look the same to the model.

    Args:
        formats: Format of each task.
        instructions: Words in front of the sources.
        training: Whether the model will also be trained on the tasks. If so, what the decoder reads in training must
            show the target language too.

    Raises:
        NeuronspecError: If two tasks look the same; or for training, if the tokenizer does not mark the end of a
            sentence.
    """
    first_with: dict[TaskFormat, str] = {}
    for task, form in formats.items():
        # Two tasks look the same if the model sees the same tokens before it writes.
        visible = _keep_visible(form, training=training)
        other = first_with.setdefault(visible, task)

        _, target = split_direction(task)
        _, other_target = split_direction(other)
        if not same_language(target, other_target):
            raise _look_the_same(other, task, form=form, instructions=instructions, training=training)

        # Without an end of sentence in the targets, nothing teaches the model to stop.
        if training and not form.target_suffix:
            raise NeuronspecError(
                f"{type(instructions.tokenizer).__name__} does not mark the end of a sentence, so a model trained with "
                "it would never stop: use the tokenizer of a model that translates"
            )


def warn_if_untagged(form: TaskFormat, instructions: Instructions) -> None:
    """Warn, once for each tokenizer, if nothing tells the model which language to translate into.

    Args:
        form: Format of the only task.
        instructions: Words in front of the sources.
    """
    tokenizer = instructions.tokenizer
    # A tag or words name the language, or the tokenizer declares it; a chosen prefix is the user's decision.
    names_language = form.tags or form.instruction or instructions.prefix is not None or declares_language(tokenizer)
    if names_language or tokenizer in _WARNED:
        return

    _WARNED.add(tokenizer)
    logger.warning(
        "this model has no language tags, so nothing tells it the language to translate into: right for a model of one "
        f"direction; otherwise {HOW_TO_PREFIX}"
    )


def _keep_visible(form: TaskFormat, *, training: bool) -> TaskFormat:
    """Return a format without the tokens that the model does not see before it writes."""
    # Decoding alone puts this tag in front; in training, the decoder does not read it.
    decoding_tag = () if training else form.decoding_tag
    return dataclasses.replace(form, target_suffix=(), tags=(), decoding_tag=decoding_tag)


def _look_the_same(
    first: str, second: str, *, form: TaskFormat, instructions: Instructions, training: bool
) -> NeuronspecError:
    # A tag that comes too late for the decoder; when it translates, the decoder begins with it.
    if training and form.decoding_tag:
        return NeuronspecError(
            f"{first} and {second} cannot be trained together: this tokenizer puts the tag after the text, where the "
            "decoder does not see it; save it again with legacy_behaviour=False"
        )

    # Words that do not name the target language
    if instructions.prefix is not None:
        words = instructions.fill(second, has_tags=bool(form.tags))
        return NeuronspecError(
            f"{first} and {second} have the same source_prefix, {words!r}, so the model would translate both into one "
            "language: write {tgt} or {tgt_name} in it"
        )

    # One tag for both languages, or no tags at all
    if form.tags:
        return NeuronspecError(
            f"{first} and {second} look the same to this model, which has one tag for both target languages: keep one "
            f"of the directions, or {HOW_TO_PREFIX}"
        )
    return NeuronspecError(
        f"{first} and {second} look the same to this model, which has no language tags, so it would translate both "
        f"into one language: {HOW_TO_PREFIX}"
    )
