"""Text that proves an export: sentences of each task that every program reads whole, and the length of an answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.data.normalization import is_empty
from neuronspec.errors import NeuronspecError
from neuronspec.languages import match_direction
from neuronspec.models.codec import TextCodec
from neuronspec.models.length_limits import announce_too_long, read_limits
from neuronspec.models.tags import read_tags

logger = logging.getLogger(__name__)

TRANSLATED, CONTINUED = 200, 32  # tokens of an answer
LONGEST: Final = 1024  # tokens of a sentence of the proof, and of an answer of a model without a limit of its own


def choose_max_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tasks: Sequence[str], given: int | None
) -> int:
    """Return the largest number of tokens of an answer that a model, and every program with its positions, can write.

    Args:
        model: Model.
        tokenizer: Tokenizer of the model.
        tasks: Tasks of the export.
        given: Number that was asked for; None for the default, or what the model can write if that is less.

    Raises:
        NeuronspecError: If more was asked for.
    """
    translates = model.config.is_encoder_decoder
    limit = _find_answer_limit(model, tokenizer, tasks)
    default = TRANSLATED if translates else CONTINUED
    if given is None:
        return min(default, LONGEST if limit is None else limit)

    if given < 1:
        raise NeuronspecError(f"max_tokens={given}: an answer of the proof has 1 token or more (default: {default})")
    if limit is not None and given > limit:
        raise NeuronspecError(
            f"max_tokens={given} is more than this model can write: {limit} tokens, after those that it starts with; "
            "give fewer (--max-tokens)"
        )
    if limit is None and given > LONGEST:
        raise NeuronspecError(
            f"max_tokens={given} is too much for a proof: this model has no limit of its own, and an answer has up to "
            f"{LONGEST} tokens; give fewer (--max-tokens)"
        )
    return given


def choose_sentences(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sequence[str] | Mapping[str, Sequence[str]],
    tasks: Sequence[str],
    *,
    limit: int,
    max_tokens: int,
) -> dict[str, list[str]]:
    """Return the sentences that prove each task: the first ones with text that the model reads whole.

    Args:
        model: Model.
        tokenizer: Tokenizer of the model.
        sentences: Sentences of the only task, or of each task.
        tasks: Tasks of the export.
        limit: Largest number of sentences of a task.
        max_tokens: Largest number of tokens of an answer.

    Raises:
        NeuronspecError: If a task has no such sentence.
    """
    if isinstance(sentences, str):
        raise NeuronspecError(f"give the sentences as a list of texts, not {sentences!r:.60}")
    if not isinstance(sentences, Mapping) and len(tasks) > 1:
        raise NeuronspecError(f"give sentences by task, for {', '.join(tasks)}")

    chosen = {}
    for task in tasks:
        given = _find_text(sentences, task) if isinstance(sentences, Mapping) else sentences
        count, longest = _open_counter(model, tokenizer, task, max_tokens)
        chosen[task] = _take_sentences(given, task, limit=limit, count=count, longest=longest)
    return chosen


def leave_out_special(tokenizer: PreTrainedTokenizerBase, chosen: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the sentences of each task without those that hold a tag or another special token as text.

    Args:
        tokenizer: Tokenizer of the model.
        chosen: Sentences of each task.

    Raises:
        NeuronspecError: If a task has no other sentence.
    """
    special = [token for token in {*read_tags(tokenizer), *tokenizer.all_special_tokens} if token]
    kept = {
        task: [text for text in texts if not any(map(text.__contains__, special))] for task, texts in chosen.items()
    }

    for task, texts in chosen.items():
        left_out = len(texts) - len(kept[task])
        if not kept[task]:
            raise NeuronspecError(
                f"each sentence of {task} holds a special token such as </s>, which proves nothing: give other text "
                f"(--text {task}=FILE)"
            )
        if left_out:
            logger.warning(
                "%d sentences of %s hold special tokens such as </s>, which other programs do not read as text: they "
                "are left out of the proof",
                left_out,
                task,
            )
    return kept


def _find_answer_limit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tasks: Sequence[str]) -> int | None:
    """Return how many tokens a model can write, with the positions that its configuration names; None for no limit."""
    if not model.config.is_encoder_decoder:
        _, longest = read_limits(model.config, fixed_tables=True)
        return None if longest is None else max(1, longest - 1)  # after a text of one token

    forms = TextCodec(tokenizer, model.config, fixed_tables=True).formats(tasks).values()
    rooms = [form.longest_target - len(form.decoding_start) for form in forms if form.longest_target is not None]
    return max(1, min(rooms)) if rooms else None


def _open_counter(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: str, max_tokens: int
) -> tuple[Callable[[str], int], int]:
    """Return a function that counts the tokens of a sentence, and how many it may have."""
    if model.config.is_encoder_decoder:
        codec = TextCodec(tokenizer, model.config, fixed_tables=True)
        room = codec.format(task).room[0]
        return lambda text: len(codec.encode_sources([text])[0]), min(LONGEST, LONGEST if room is None else room)

    # A decoder-only model writes its answer into the same positions.
    _, positions = read_limits(model.config, fixed_tables=True)
    longest = LONGEST if positions is None else positions - max_tokens
    return lambda text: len(tokenizer(text)["input_ids"]), max(1, min(LONGEST, longest))


def _take_sentences(
    given: Sequence[str], task: str, *, limit: int, count: Callable[[str], int], longest: int
) -> list[str]:
    """Return the first sentences with text that are not too long; those on the way that are, are announced."""
    chosen: list[str] = []
    too_long: list[int] = []
    number = 0
    for number, text in enumerate(given, 1):
        if is_empty(text):
            continue
        if count(text) > longest:
            too_long.append(number)
        else:
            chosen.append(text)
        if len(chosen) == limit:
            break

    if not chosen and too_long:
        raise NeuronspecError(
            f"each sentence of {task} is longer than the {longest} tokens that the proof of an export reads: give "
            f"shorter ones (--text {task}=FILE)"
        )
    if not chosen:
        raise NeuronspecError(
            f"there is no text of {task} to prove the export with: give source sentences (--text {task}=FILE)"
        )
    if too_long:
        announce_too_long(too_long, total=number, limit=longest, too_long="skip", name=f"the text of {task}")
    return chosen


def _find_text(sentences: Mapping[str, Sequence[str]], task: str) -> Sequence[str]:
    found = match_direction(task, tuple(sentences))
    return sentences[found] if found is not None else ()
