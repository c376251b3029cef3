"""Language tags: which tokens name the languages of a task in a model's vocabulary."""

from __future__ import annotations

import re

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from neuronspec.data.batches import TaskFormat
from neuronspec.data.vocabulary import tag_token
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.languages import find_language, match_language, split_direction

# Families of models that read "tag x eos" and write "tag y eos": ours, M2M-100, NLLB, mBART-50.
TAGGED_BOTH_SIDES = ("m2m_100", "nllb-moe", "mbart")
# Marian: the target's tag in front of the source, where the model has several targets.
TAGGED_SOURCE = ("marian",)


def task_format(task: str, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> TaskFormat:
    """Return how the sequences of a task are dressed for a model.

    Args:
        task: a direction `src-tgt`.
        tokenizer: the model's.
        config: the model's; its type decides where tags stand.

    Raises:
        NeuronspecError: a language has no tag in the vocabulary (never `<unk>` in its place).
    """
    source, target = split_direction(task)
    source_prefix: tuple[int, ...] = ()
    target_prefix: tuple[int, ...] = ()
    if config.model_type in TAGGED_BOTH_SIDES:
        source_prefix, target_prefix = (tag_id(source, tokenizer),), (tag_id(target, tokenizer),)
    elif config.model_type in TAGGED_SOURCE and list_tags(tokenizer):
        source_prefix = (tag_id(target, tokenizer),)
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    start = config.decoder_start_token_id
    if start is None:
        raise NeuronspecError(f"the model ({config.model_type}) has no decoder_start_token_id in its configuration")
    return TaskFormat(source_prefix, target_prefix, start=start, eos=eos, pad=pad)


def tag_id(language: str, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id of the token that names a language in this vocabulary.

    Args:
        language: any code that `find_language` knows.
        tokenizer: ours (`__de__`), M2M-100's (`__de__`), NLLB's (`deu_Latn`), mBART-50's (`de_DE`), Marian's
            (`>>deu<<`).

    Raises:
        NeuronspecError: none of them is a token of its own; the nearest that the model has are named.
    """
    known = find_language(language)
    codes = [code for code in (language, known.code, known.m2m) if code]
    spellings = [
        *map(tag_token, codes),
        known.nllb,
        known.mbart,
        *(f">>{code}<<" for code in (*codes, known.iso3)),
    ]
    for spelling in filter(None, spellings):
        number = tokenizer.convert_tokens_to_ids(spelling)
        if isinstance(number, int) and number != tokenizer.unk_token_id:
            return number

    tags = list_tags(tokenizer)
    by_code = {tag.strip("_<>"): tag for tag in tags}
    found = match_language(language, by_code)
    if found is not None:
        return int(tokenizer.convert_tokens_to_ids(by_code[found]))
    raise NeuronspecError(
        f"the model's vocabulary has no tag for {known.name} ({language}){did_you_mean(spellings[0], tags)}; "
        f"its tags: {', '.join(tags[:12]) or 'none'}{f' and {len(tags) - 12} more' if len(tags) > 12 else ''}"
    )


def list_tags(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the tokens of a vocabulary that look like language tags: `__de__`, `deu_Latn`, `de_DE`, `>>deu<<`."""
    shape = re.compile(r"__[\w.+@-]+__|[a-z]{3}_[A-Z][a-z]{3}|[a-z]{2}_[A-Z]{2}|>>[\w-]+<<")
    beside = getattr(tokenizer, "lang_token_to_id", ())  # M2M-100's tags are not in its vocabulary
    return sorted(filter(shape.fullmatch, {*tokenizer.get_vocab(), *beside}))
