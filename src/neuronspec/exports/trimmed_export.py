"""Trimming the vocabulary of an export to text in files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.data.normalization import is_empty
from neuronspec.data.streams import read_lines
from neuronspec.errors import NeuronspecError
from neuronspec.exports.vocabulary.trimming import TrimmedVocabulary, TrimmingReport, trim_vocabulary
from neuronspec.languages import same_language, split_direction

_HELD_OUT = 20  # every sentence with a number that this divides is held out to measure the change


def trim_for_export(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: str,
    files: Mapping[str, Path],
    min_count: int,
) -> TrimmedVocabulary:
    """Return a model and a tokenizer with the vocabulary of two languages.

    Of each text, every 20th sentence is held out: its tokens do not count, and the change is measured on it.

    Args:
        model: Model of the task.
        tokenizer: Tokenizer of the model.
        task: Direction.
        files: Text of each language, a sentence a line.
        min_count: Number of times that a token must occur to stay.

    Raises:
        NeuronspecError: If a language has no text, or the tokenizer cannot be trimmed.
    """
    texts, held_out = {}, {}
    for language in dict.fromkeys(split_direction(task)):
        lines = [line for line in read_lines(_find_file(language, files)) if not is_empty(line)]
        held_out[language] = lines[::_HELD_OUT] if len(lines) >= _HELD_OUT else []
        texts[language] = [line for number, line in enumerate(lines) if number % _HELD_OUT or not held_out[language]]
    return trim_vocabulary(model, tokenizer, texts, [task], min_count=min_count, held_out=held_out)


def describe_trimming(report: TrimmingReport) -> str:
    """Return a sentence about what trimming saved and changed, for a card."""
    saved = report.bytes_before - report.bytes_after
    text = (
        f"The vocabulary has {report.tokens_after:,} of the model's {report.tokens_before:,} tokens, which saves "
        f"{saved / 1e6:,.1f} MB of float32 weights."
    )
    change = report.change
    if change is not None and change.tokens_before:
        text += (
            f" In {change.sentences:,} sentences that it was not chosen by, {100 * change.changed:.2f} % of the tokens "
            f"are split otherwise than before: {change.tokens_before:,} tokens became {change.tokens_after:,}, with "
            f"{change.unknown_after} unknown ones (before: {change.unknown_before})."
        )
    return text


def _find_file(language: str, files: Mapping[str, Path]) -> Path:
    for name, path in files.items():
        if same_language(name, language):
            return path
    raise NeuronspecError(
        f"trim has no text in {language}: name a file for each language of the task, "
        f"as in trim='{{de: text.de, en: text.en}}' (given: {', '.join(files)})"
    )
