"""The text of what a model writes: its tokens without those that are not text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from transformers import PreTrainedTokenizerBase

from neuronspec.models.encoding import decode, find_target_id, has_two_vocabularies
from neuronspec.models.special_tokens import read_special_tokens
from neuronspec.models.tags import read_tags
from neuronspec.models.vocabulary_cache import cached_by_vocabulary


def decode_text(tokenizer: PreTrainedTokenizerBase, sequences: Iterable[Sequence[int]]) -> list[str]:
    """Return the text of what a model wrote, without tags and other special tokens.

    A tag can be a plain piece of the vocabulary, such as MADLAD-400's `<2de>`, which `skip_special_tokens` keeps.

    Args:
        tokenizer: The model's tokenizer.
        sequences: Ids of each sentence, in the target's vocabulary.
    """
    dropped = _find_silent_ids(tokenizer)
    text = [[number for number in sequence if number not in dropped] for sequence in sequences]
    return [line.strip() for line in decode(tokenizer, text)]


@cached_by_vocabulary
def _find_silent_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the ids of the tokens that are not text when a model writes them."""
    layout = read_special_tokens(tokenizer)
    silent = {*layout.target_prefix, *layout.target_suffix}

    # Special tokens, each with its id in the target's vocabulary.
    for token in (tokenizer.pad_token, tokenizer.eos_token, tokenizer.bos_token, tokenizer.unk_token):
        number = find_target_id(tokenizer, token) if token else None
        if number is not None:
            silent.add(number)

    # With two vocabularies, tags are tokens of the source's one only.
    if not has_two_vocabularies(tokenizer):
        silent |= {tag.number for tag in read_tags(tokenizer).values()}
    return frozenset(silent)
