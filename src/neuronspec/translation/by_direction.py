"""Translating the sentences of several directions in one call."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, overload

from pydantic import ValidationError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import Translation
from neuronspec.errors import NeuronspecError
from neuronspec.models.source_prefixes import SourcePrefix
from neuronspec.models.transformers_internals import evaluating
from neuronspec.translation.engines import DEFAULT_ENGINE, open_engine, resolve_engine


@overload
def translate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Mapping[str, Sequence[str]],
    *,
    beams: int = ...,
    max_tokens: int = ...,
    tokens_per_batch: int = ...,
    engine: str = ...,
    source_prefix: SourcePrefix | None = ...,
    **settings: Any,
) -> dict[str, list[str]]: ...


@overload
def translate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sequence[str],
    *,
    task: str,
    beams: int = ...,
    max_tokens: int = ...,
    tokens_per_batch: int = ...,
    engine: str = ...,
    source_prefix: SourcePrefix | None = ...,
    **settings: Any,
) -> list[str]: ...


def translate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Mapping[str, Sequence[str]] | Sequence[str],
    *,
    task: str | None = None,
    beams: int = 5,
    max_tokens: int = 200,
    tokens_per_batch: int = 4_096,
    engine: str = DEFAULT_ENGINE,
    source_prefix: SourcePrefix | None = None,
    **settings: Any,
) -> dict[str, list[str]] | list[str]:
    """Translate sentences of one or several directions.

    Each sentence of a specialized model is decoded with the neurons of its direction, so that the directions can share
    batches. The defaults are the paper's: a beam of 5 and a length penalty of 1.

    Args:
        model: Encoder-decoder, specialized or not. Its weights and its training mode stay as they are.
        tokenizer: Tokenizer of the model.
        sentences: Plain text of each direction `src-tgt`, or sentences that are all of the direction `task`. The
            translation of a sentence without a visible character is empty.
        task: Direction of all sentences, where they come without one.
        beams: Beam size; 1 is greedy search.
        max_tokens: Largest length of a translation, in tokens.
        tokens_per_batch: Padded source tokens of one batch, times beams.
        engine: Name of an entry of `ENGINES`: `transformers`, or the faster `ctranslate2`.
        source_prefix: Words in front of each source, for a model without language tags: see `TextCodec`.
        **settings: Other settings of the section `translate` of a configuration, such as `length_penalty=0.6` or
            `too_long="error"`.

    Returns:
        The translations in the order of the sentences: by direction, or a list where `task` is given.

    Raises:
        NeuronspecError: If a language has no tag in the vocabulary, the model cannot distinguish directions, a
            direction has no masks, a setting is unknown or out of range, or the engine cannot run the model.

    Example:
        >>> from neuronspec.data import learn_vocabulary
        >>> from neuronspec.models import build_model
        >>> tokenizer = learn_vocabulary(iter(["ein hund", "a dog"] * 9), 20, ["de", "en"])
        >>> model = build_model("tiny", tokenizer)
        >>> found = translate(model, tokenizer, {"de-en": ["ein hund"], "en-de": ["a dog", ""]}, max_tokens=3)
        >>> {task: len(lines) for task, lines in found.items()}
        {'de-en': 1, 'en-de': 2}
        >>> translate(model, tokenizer, ["ein hund"], task="de-en", max_tokens=3) == found["de-en"]
        True
    """
    by_task = _arrange(sentences, task)
    options = _read_options(
        beams=beams, max_tokens=max_tokens, tokens_per_batch=tokens_per_batch, engine=engine, **settings
    )

    # All directions are decoded together, so that they can share batches.
    flat: list[str] = []
    tasks: list[str] = []
    for name, lines in by_task.items():
        flat += lines
        tasks += [name] * len(lines)
    with evaluating(model), open_engine(model, tokenizer, options, source_prefix=source_prefix) as decode:
        translations = iter(decode(flat, tasks))

    # Translations come in the order of the sentences: each direction takes its share of them.
    found = {name: list(itertools.islice(translations, len(lines))) for name, lines in by_task.items()}
    return found if task is None else found[task]


def _arrange(sentences: Mapping[str, Sequence[str]] | Sequence[str], task: str | None) -> dict[str, list[str]]:
    """Return the sentences of each direction."""
    # The directions come with the sentences or as `task`, but not both.
    if isinstance(sentences, Mapping):
        if task is not None:
            raise NeuronspecError(f"the sentences have directions of their own: leave out task={task!r}")
        given = dict(sentences)
    elif task is None:
        raise NeuronspecError("these sentences have no direction: give task='de-en', or {'de-en': sentences}")
    else:
        given = {task: sentences}

    # A single text would be taken for a list of letters.
    for name, lines in given.items():
        if isinstance(lines, str):
            raise NeuronspecError(f"give the sentences of {name} as a list of texts, not {lines!r:.60}")
    return {name: list(lines) for name, lines in given.items()}


def _read_options(**settings: Any) -> Translation:
    """Return the settings as a section of a configuration, after checking them as a configuration is checked."""
    try:
        options = Translation.model_validate(settings)
    except ValidationError as error:
        # One problem at a time, in terms of the arguments of `translate`
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        reason = problem["msg"].removeprefix("Value error, ")
        raise NeuronspecError(f"cannot translate with {place}={problem['input']!r}: {reason}") from error

    # The section accepts any name, since engines can be registered later
    try:
        resolve_engine(options.engine)
    except NeuronspecError as error:
        raise NeuronspecError(f"cannot translate with engine={options.engine!r}: {error}") from error
    return options
