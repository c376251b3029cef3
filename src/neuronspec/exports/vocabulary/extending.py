"""Extending a vocabulary for new languages, so that no text of the others is split otherwise than before."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError
from neuronspec.exports.vocabulary.new_pieces import find_new_pieces
from neuronspec.exports.vocabulary.trimming import list_tokens
from neuronspec.files import read_json, write_json
from neuronspec.models.encoding import encode, has_two_vocabularies
from neuronspec.models.escaping import escape_special_tokens
from neuronspec.models.restricted_tokenizers import FILLER, restrict_content
from neuronspec.models.tag_placement import TagPlacement
from neuronspec.models.tags import Notation, has_tag, read_tags

_JSON: Final = "tokenizer.json"
_WITHOUT_PIECES: Final = "set model.extend.pieces=0: the language is then written with the pieces that there are"


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Numbers about the way in which a tokenizer splits the text of a new language.

    Attributes:
        sentences: Number of sentences.
        words: Number of words, separated by spaces.
        tokens: Number of tokens.
        unknown: Number of unknown tokens among them.
    """

    sentences: int
    words: int
    tokens: int
    unknown: int


@dataclass(frozen=True, kw_only=True)
class ExtendedVocabulary:
    """A tokenizer with more tokens.

    Attributes:
        tokenizer: The tokenizer; all earlier tokens have their ids.
        tokens: New tokens in the order of their ids, which begin after the last row of the model's embeddings.
        parents: For each new token, the ids of the tokens that its row can begin with; empty for none.
        pieces: Number of pieces of a Unigram model before; None if it got none.
        before: Coverage of each new language by the tokens before.
        after: The same with the new tokens.
    """

    tokenizer: PreTrainedTokenizerBase
    tokens: tuple[str, ...]
    parents: tuple[tuple[int, ...], ...]
    pieces: int | None
    before: Mapping[str, Coverage]
    after: Mapping[str, Coverage]


def extend_vocabulary(
    tokenizer: PreTrainedTokenizerBase,
    *,
    rows: int,
    languages: Sequence[str],
    sentences: Mapping[str, Sequence[str]],
    pieces: int,
) -> ExtendedVocabulary:
    """Return a tokenizer with the tags of new languages and with pieces for their text.

    Args:
        tokenizer: Tokenizer of a model; it is not changed.
        rows: Number of rows of the model's embeddings: the id of the first new token.
        languages: Codes of the new languages.
        sentences: Text of each of them.
        pieces: Largest number of new pieces. They can be added to Unigram models of `tokenizer.json` only.

    Raises:
        NeuronspecError: If a code does not fit the tags of the model, or the tokenizer cannot be extended exactly.
    """
    if has_two_vocabularies(tokenizer) and getattr(tokenizer, "separate_vocabs", True):
        raise NeuronspecError(
            f"cannot add a language: {type(tokenizer).__name__} has a vocabulary for each side of one pair of languages"
        )
    tags = _name_tags(tokenizer, languages)
    before = {language: measure_coverage(tokenizer, sentences[language]) for language in languages}

    # Pieces first, then the tags of the languages
    content = _read_content(tokenizer)
    new = _choose_pieces(tokenizer, content, sentences, before=before, count=pieces) if pieces else {}
    if not new and not tags:
        content = None
    count = None if content is None else len(content["model"]["vocab"])

    extended = _add(tokenizer, content, new, tags, rows)
    _check(tokenizer, extended, {token: rows + number for number, token in enumerate([*new, *tags])})
    return ExtendedVocabulary(
        tokenizer=extended,
        tokens=(*new, *tags),
        parents=_find_parents(tokenizer, [*new], tags),
        pieces=count,
        before=before,
        after={language: measure_coverage(extended, sentences[language]) for language in languages},
    )


def _choose_pieces(
    tokenizer: PreTrainedTokenizerBase,
    content: dict[str, Any] | None,
    sentences: Mapping[str, Sequence[str]],
    *,
    before: Mapping[str, Coverage],
    count: int,
) -> dict[str, float]:
    """Return new pieces with their scores, for text in all new languages."""
    if content is None:
        found = "; ".join(f"{language}: {_describe(one)}" for language, one in before.items())
        raise NeuronspecError(
            f"{type(tokenizer).__name__} cannot get pieces and still split all other text as before ({found}): "
            f"{_WITHOUT_PIECES}"
        )

    known = {piece: score for piece, score in content["model"]["vocab"] if score < 0}
    texts = [text for language in before for text in sentences[language]]
    return find_new_pieces(_normalize(tokenizer, texts), known, count)


def measure_coverage(tokenizer: PreTrainedTokenizerBase, sentences: Sequence[str]) -> Coverage:
    """Return how a tokenizer splits text."""
    ids = encode(tokenizer, "source", escape_special_tokens(tokenizer, sentences))
    return Coverage(
        sentences=len(sentences),
        words=sum(len(sentence.split()) for sentence in sentences),
        tokens=sum(map(len, ids)),
        unknown=sum(row.count(tokenizer.unk_token_id) for row in ids) if tokenizer.unk_token_id is not None else 0,
    )


def _describe(coverage: Coverage) -> str:
    share = 100 * coverage.unknown / max(1, coverage.tokens)
    return f"{coverage.tokens / max(1, coverage.words):.2f} tokens a word, {share:.1f} % unknown"


def _name_tags(tokenizer: PreTrainedTokenizerBase, languages: Sequence[str]) -> list[str]:
    """Return the tags that the new languages lack, written as those of the model.

    Raises:
        NeuronspecError: If a code does not fit their notation.
    """
    notation = TagPlacement(tokenizer).notation
    if notation is None:  # the model knows its direction by words in front of the source, or knows only one
        return []

    example = next(tag for tag in read_tags(tokenizer).values() if tag.notation is notation)
    names = []
    for language in languages:
        if has_tag(language, tokenizer, notation):
            continue
        start, _, end = example.token.partition(example.code)
        token = f"{start}{language}{end}"
        _check_tag(token, language, notation, example.token)
        names.append(token)
    return names


def _check_tag(token: str, language: str, notation: Notation, example: str) -> None:
    found = notation.pattern.fullmatch(token)
    if found is None or found[1] != language:
        raise NeuronspecError(
            f"the model's tags look like {example}, and {token} does not: write the new language {language!r} in that "
            "spelling in the configuration, such as lit_Latn for NLLB or lt_LT for mBART"
        )


def _read_content(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any] | None:
    """Return the content of `tokenizer.json` if it has a Unigram model, which can get pieces; otherwise None."""
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    content: dict[str, Any] = json.loads(backend.to_str())
    return content if content["model"]["type"] == "Unigram" else None


def _normalize(tokenizer: PreTrainedTokenizerBase, sentences: Sequence[str]) -> list[str]:
    backend: Any = tokenizer.backend_tokenizer
    normalizer = backend.normalizer
    return list(sentences) if normalizer is None else [normalizer.normalize_str(text) for text in sentences]


def _add(
    tokenizer: PreTrainedTokenizerBase,
    content: dict[str, Any] | None,
    pieces: Mapping[str, float],
    tags: Sequence[str],
    rows: int,
) -> PreTrainedTokenizerBase:
    """Return a tokenizer with new pieces and tags, loaded from files as anybody will load it."""
    with tempfile.TemporaryDirectory(prefix="neuronspec-") as folder:
        tokenizer.save_pretrained(folder)
        path = Path(folder) / _JSON
        if content is not None:
            write_json(path, _add_pieces(read_json(path), pieces, tags, rows))
        extended = _reload(folder, tokenizer)

    # Tokens that no text has fill up the numbers to the end of the embeddings. M2M-100's tags stand there already.
    if content is None and tags:
        names = {number: token for token, number in list_tokens(extended).items()}
        fillers = [names.get(number, f"{FILLER}{number}") for number in range(len(extended), rows)]
        extended.add_tokens([AddedToken(name, special=True) for name in fillers], special_tokens=True)
    extended.add_tokens([AddedToken(tag, special=True, normalized=False) for tag in tags], special_tokens=True)
    return extended


def _add_pieces(content: dict[str, Any], pieces: Mapping[str, float], tags: Sequence[str], rows: int) -> dict[str, Any]:
    """Return the content of `tokenizer.json` with more pieces, whose places in the list are their ids."""
    vocabulary = list(content["model"]["vocab"])
    lowest = min(score for _, score in vocabulary)

    # The places up to the end of the embeddings belong to tokens that were added to the pieces, or to none.
    added = {token["id"]: token["content"] for token in content["added_tokens"]}
    for number in range(len(vocabulary), rows):
        vocabulary.append([added.get(number, f"{FILLER}{number}"), lowest])

    vocabulary += [[piece, score] for piece, score in pieces.items()]
    vocabulary += [[tag, lowest] for tag in tags]
    return {**content, "model": {**content["model"], "vocab": vocabulary}}


def _reload(folder: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    reloaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    reloaded.name_or_path = tokenizer.name_or_path  # the folder disappears
    return reloaded


def _check(before: PreTrainedTokenizerBase, after: PreTrainedTokenizerBase, expected: Mapping[str, int]) -> None:
    """Refuse a tokenizer whose tokens have other ids than planned, now or once it is saved and loaded again."""
    with tempfile.TemporaryDirectory(prefix="neuronspec-") as folder:
        after.save_pretrained(folder)
        again = _reload(folder, after)

    old = list_tokens(before)
    for tokenizer in (after, again):
        found = list_tokens(tokenizer)
        wrong = [token for token, number in {**old, **expected}.items() if found.get(token) != number]
        if wrong:
            raise NeuronspecError(
                f"cannot add a language: {type(before).__name__} gives {wrong[0]!r} another id when it has more "
                f"tokens; {_WITHOUT_PIECES}"
            )


def _find_parents(
    tokenizer: PreTrainedTokenizerBase, pieces: Sequence[str], tags: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    """Return for each new token the tokens that its row can begin with: known parts of a piece, and all other tags."""
    unknown = tokenizer.unk_token_id
    texts = [piece.replace("▁", " ").strip() for piece in pieces]
    parts = [tuple(number for number in row if number != unknown) for row in encode(tokenizer, "source", texts)]

    notation = TagPlacement(tokenizer).notation if tags else None
    others = tuple(tag.number for tag in read_tags(tokenizer).values() if tag.notation is notation)
    return (*parts, *[others for _ in tags])


def is_restored(before: PreTrainedTokenizerBase, after: PreTrainedTokenizerBase, rows: int, pieces: int | None) -> bool:
    """Return whether the new tokens can be taken away again, so that exactly the tokenizer of before is left."""
    old: Any = getattr(before, "backend_tokenizer", None)
    new: Any = getattr(after, "backend_tokenizer", None)
    if old is None or new is None:
        return True
    restored = restrict_content(json.loads(new.to_str()), rows, pieces)
    return bool(restored == json.loads(old.to_str()))
