"""Checks of language tags: from the code of a language to the token, its id and back, and where the model sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from neuronspec.checking.problem import Problem
from neuronspec.data.task_format import TaskFormat
from neuronspec.errors import NeuronspecError
from neuronspec.languages import same_language, split_direction
from neuronspec.models.codec import TextCodec
from neuronspec.models.encoding import find_target_id, name_tokens
from neuronspec.models.tag_placement import TagPlacement


def check_tags(codec: TextCodec, tasks: Sequence[str], *, training: bool = False) -> Iterator[Problem]:
    """Yield the problems of the tags of some directions.

    Args:
        codec: Codec of the model.
        tasks: Directions.
        training: Whether the model will also be trained on them.
    """
    # Each direction by itself, so that all that the model cannot translate are named at once.
    formats: dict[str, TaskFormat] = {}
    for task in tasks:
        try:
            formats[task] = codec.format(task)
        except NeuronspecError as error:
            yield Problem(level="error", subject=task, message=f"{task}: {error}")

    # Together: the model must be able to tell them apart.
    if len(formats) > 1:
        try:
            codec.formats(formats, training=training)
        except NeuronspecError as error:
            yield Problem(level="error", subject="directions", message=str(error))

    tags = find_tags(codec.tokenizer, list(formats))
    yield from _check_tokens(codec.tokenizer, tags)
    yield from _check_places(codec, formats)


def find_tags(tokenizer: PreTrainedTokenizerBase, tasks: Sequence[str]) -> dict[str, int]:
    """Return the id of the tag of each language in some directions; empty for a model without tags.

    Args:
        tokenizer: Tokenizer of the model.
        tasks: Directions that the model can translate.
    """
    placement, tags = TagPlacement(tokenizer), {}
    for task in tasks:
        if placement.has_tags(task):
            for code, tag in placement.label(task).items():
                if tag is not None:
                    tags[code] = tag
    return tags


def name_tags(tokenizer: PreTrainedTokenizerBase, tags: Mapping[str, int]) -> dict[str, str]:
    """Return the token of each language's tag."""
    return dict(zip(tags, name_tokens(tokenizer, "source", list(tags.values())), strict=True))


def _check_tokens(tokenizer: PreTrainedTokenizerBase, tags: Mapping[str, int]) -> Iterator[Problem]:
    """Yield a problem for each tag that is lost on its way through the tokenizer."""
    for code, token in name_tags(tokenizer, tags).items():
        subject, number = f"tag of {code}", tags[code]
        if number == tokenizer.unk_token_id:
            yield Problem(
                level="error",
                subject=subject,
                message=f"the tag of {code} is the unknown token {token}: the model cannot know the language",
                fix="take the tokenizer that the model was trained with",
            )
            continue

        # From the token back to its id
        read = {find_target_id(tokenizer, token), tokenizer.convert_tokens_to_ids(token)}
        if number not in read:
            yield Problem(
                level="error",
                subject=subject,
                message=f"the tokenizer does not know its own tag of {code} again: {token} has the id {number}, but is "
                f"read as {', '.join(map(str, sorted(read - {None})))}",
                fix="take the tokenizer that the model was trained with, and save it again",
            )

    # Two languages with one tag would be one language to the model.
    seen: dict[int, str] = {}
    for code, number in tags.items():
        other = seen.setdefault(number, code)
        if not same_language(code, other):
            yield Problem(
                level="warning",
                subject=f"tag of {code}",
                message=f"{other} and {code} have the same tag in this model, so it cannot tell them apart",
            )


def _check_places(codec: TextCodec, formats: Mapping[str, TaskFormat]) -> Iterator[Problem]:
    """Yield a problem for each direction whose target the model does not see before it writes."""
    placement = TagPlacement(codec.tokenizer)
    for task, form in formats.items():
        if not placement.has_tags(task) or form.instruction:
            continue
        _, language = split_direction(task)
        target = placement.label(task)[language]
        if target not in (*form.source([]), *form.decoding_start):
            yield Problem(
                level="error",
                subject=task,
                message=f"{task}: neither the source nor the start of the translation shows the model the target's tag",
                fix="take the tokenizer that the model was trained with",
            )
