"""Language tags: the tokens that name languages in a model's vocabulary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.languages import find_language, match_language, suggest_language
from neuronspec.models.vocabulary_cache import cached_by_vocabulary


@dataclass(frozen=True)
class Notation:
    """One way of writing a language as a token.

    Attributes:
        pattern: Regular expression of the whole token; its group is the language's code.
        place: Place of such tags in a model whose tokenizer does not add them itself. `both`: in front of the source
            and of the target. `source`: the target's tag in front of the source. `tokenizer`: decided by the tokenizer.
    """

    pattern: re.Pattern[str]
    place: Literal["both", "source", "tokenizer"]


# A token that several notations match has the first of them.
NOTATIONS = (
    Notation(re.compile(r"__([\w.+@-]+)__"), "both"),  # M2M-100, PLBart, and the vocabularies learned here
    Notation(re.compile(r"<2([\w-]+)>"), "source"),  # MADLAD-400
    Notation(re.compile(r">>([\w-]+)<<"), "source"),  # Marian
    Notation(re.compile(r"([a-z]{3}_[A-Z][a-z]{3})"), "tokenizer"),  # NLLB
    Notation(re.compile(r"([a-z]{2}_[A-Z]{2})"), "tokenizer"),  # mBART
)


@dataclass(frozen=True, kw_only=True)
class Tag:
    """A token that names a language.

    Attributes:
        token: Token in the vocabulary (`>>deu<<`).
        code: Language code in the token (`deu`).
        number: Id of the token.
        notation: Notation of the token.
    """

    token: str
    code: str
    number: int
    notation: Notation


@cached_by_vocabulary
def read_tags(tokenizer: PreTrainedTokenizerBase) -> Mapping[str, Tag]:
    """Return the language tags of a vocabulary by token, sorted: `__de__`, `deu_Latn`, `de_DE`, `>>deu<<`, `<2de>`.

    Args:
        tokenizer: Tokenizer of any model. Its vocabulary is searched once, and again after tokens were added.
    """
    numbers = dict(tokenizer.get_vocab())
    numbers |= tokenizer.get_added_vocab()
    numbers |= getattr(tokenizer, "lang_token_to_id", {})  # M2M-100's tags are not in its vocabulary

    roles = {str(token) for token in tokenizer.special_tokens_map.values()}  # such as `__end__`
    tags: dict[str, Tag] = {}
    for token in sorted(numbers.keys() - roles):
        for notation in NOTATIONS:
            found = notation.pattern.fullmatch(token)
            if found is not None:
                tags[token] = Tag(token=token, code=found[1], number=numbers[token], notation=notation)
                break
    return tags


def list_tags(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the tokens of a vocabulary that look like language tags, sorted."""
    return list(read_tags(tokenizer))


def tag_id(language: str, tokenizer: PreTrainedTokenizerBase, notation: Notation | None = None) -> int:
    """Return the id of the token that names a language in this vocabulary.

    Args:
        language: Any code of the language; a token with the same spelling is preferred.
        tokenizer: Tokenizer of the model.
        notation: Notation to look for; any notation if None.

    Raises:
        NeuronspecError: If the vocabulary has no such token; the message lists its tags.
    """
    # Of several tags with one code, the first counts.
    by_code: dict[str, Tag] = {}
    for tag in read_tags(tokenizer).values():
        if notation is None or tag.notation is notation:
            by_code.setdefault(tag.code, tag)

    # A token that was added for exactly this code, then a tag that spells the language in any way.
    own_token = _find_own_tag(language, tokenizer)
    if own_token is not None and language not in by_code:
        return own_token

    code = match_language(language, by_code)
    if code is not None:
        return by_code[code].number
    raise _no_tag(language, by_code, tokenizer)


def has_tag(language: str, tokenizer: PreTrainedTokenizerBase, notation: Notation) -> bool:
    """Return whether a vocabulary has a token for a language: in this notation, or added for exactly its code."""
    codes = [tag.code for tag in read_tags(tokenizer).values() if tag.notation is notation]
    return _find_own_tag(language, tokenizer) is not None or match_language(language, codes) is not None


def _find_own_tag(language: str, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the id of a special token that was added for exactly this code, in no notation; None for none.

    A token that was added as a word is not a tag: every such word in a text would become it.
    """
    has_role = language in tokenizer.special_tokens_map.values()  # such as the end of a sentence
    number: int | None = tokenizer.get_added_vocab().get(language)
    if number is None or has_role or not tokenizer.added_tokens_decoder[number].special:
        return None
    return number


def _no_tag(language: str, by_code: Mapping[str, Tag], tokenizer: PreTrainedTokenizerBase) -> NeuronspecError:
    if language in tokenizer.get_added_vocab():
        return NeuronspecError(
            f"the token {language!r} was added to the model's vocabulary as a word, so that every such word of a text "
            f"would become the tag: add it with add_tokens([{language!r}], special_tokens=True)"
        )

    name = find_language(language).name
    label = language if name == language else f"{name} ({language})"
    hint = did_you_mean(language, by_code) or suggest_language(language)

    # A vocabulary may have hundreds of tags.
    tokens = sorted(tag.token for tag in by_code.values())
    listed = ", ".join(tokens[:12]) or "none"
    more = f" and {len(tokens) - 12} more" if len(tokens) > 12 else ""
    return NeuronspecError(f"the model's vocabulary has no tag for {label}{hint}; its tags: {listed}{more}")
