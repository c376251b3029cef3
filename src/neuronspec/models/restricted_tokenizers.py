"""Tokenizers as they were before tokens were added for new languages."""

from __future__ import annotations

import copy
import json
from typing import Any, Final

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from neuronspec.models.additions import Addition

FILLER: Final = "\ufdd0"  # begins the names of tokens that no text has: it is no character


def restrict_tokenizer(tokenizer: PreTrainedTokenizerBase, addition: Addition) -> PreTrainedTokenizerBase:
    """Return a copy of a tokenizer that splits text as it did before an addition.

    A tokenizer of Python has got special tokens only, which no text turns into: it stays as it is.

    Args:
        tokenizer: Tokenizer with the tokens of later languages.
        addition: First addition whose tokens it must not know.
    """
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return tokenizer

    content = restrict_content(json.loads(backend.to_str()), addition.vocabulary, addition.pieces)
    restricted: Any = copy.copy(tokenizer)
    restricted._tokenizer = Tokenizer.from_str(json.dumps(content))
    return restricted


def restrict_content(content: dict[str, Any], vocabulary: int, pieces: int | None) -> dict[str, Any]:
    """Return the content of a `tokenizer.json` without later tokens.

    Args:
        content: Content with all tokens.
        vocabulary: Id of the first token that is left out.
        pieces: Number of pieces of a Unigram model that stay; None for all.
    """
    model = content["model"]
    if model["type"] == "Unigram":
        kept = model["vocab"] if pieces is None else model["vocab"][:pieces]
        model = {**model, "vocab": kept}
    elif isinstance(model["vocab"], dict):
        model = {**model, "vocab": {token: number for token, number in model["vocab"].items() if number < vocabulary}}

    # Fillers have the numbers of embeddings without a token, and came with the later tokens.
    before = [token for token in content["added_tokens"] if token["id"] < vocabulary]
    added = [token for token in before if not token["content"].startswith(FILLER)]
    return {**content, "model": model, "added_tokens": added}
