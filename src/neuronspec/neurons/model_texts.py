"""A model and the texts of its tasks, read from files: what recording and analysis need outside of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.columns import Columns
from neuronspec.config.model_loading import ModelLoading
from neuronspec.config.sections import TooLong
from neuronspec.data.corpora import CORPUS_FORMATS, guess_format, read_pairs
from neuronspec.data.normalization import is_empty
from neuronspec.data.streams import read_lines
from neuronspec.data.task_format import special_ids
from neuronspec.errors import NeuronspecError
from neuronspec.languages import split_direction
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.models.placement import place_model
from neuronspec.processes import join_processes


@dataclass(frozen=True, kw_only=True)
class ModelTexts:
    """A model with the text of each of its tasks.

    Attributes:
        model: Model, on the device that this process uses.
        tokenizer: Tokenizer of the model.
        texts: Text of each task: (source, target) pairs for an encoder-decoder, lines for any other model.
        too_long: Treatment of text that is longer than the model can read.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    texts: Mapping[str, list[Any]]
    too_long: TooLong = "cut"

    def find_special(self, kinds: Collection[str]) -> list[int]:
        """Return the ids of the tokens that surround the texts.

        Args:
            kinds: Kinds of such tokens: `tags`, `end_of_sentence`, or both.
        """
        if self.model.config.is_encoder_decoder:
            formats = TextCodec(self.tokenizer, self.model.config).formats(self.texts)
            return special_ids(formats.values(), kinds)

        # A decoder-only model has no language tags.
        end = self.tokenizer.eos_token_id
        return [end] if "end_of_sentence" in kinds and end is not None else []


def load_model_texts(
    name: str,
    files: Mapping[str, str],
    *,
    columns: Columns | Mapping[str, Columns] | None = None,
    formats: Mapping[str, str] | None = None,
    source_prefix: str | None = None,
    too_long: TooLong = "cut",
    loading: ModelLoading | None = None,
) -> ModelTexts:
    """Load a model and read the texts of its tasks.

    Args:
        name: Directory of the model, or its name on the Hugging Face hub.
        files: File of each task; `{lang}`, `{src}` and `{tgt}` stand for language codes.
        columns: Columns of the files' source and target, if the files are tables and these are not the first two; or
            those of the tasks whose files are such tables.
        formats: Format of the files of some tasks, by its name in `CORPUS_FORMATS`; those of others show it themselves.
        source_prefix: Words in front of each source, for a model without language tags; see `TextCodec`.
        too_long: Treatment of text that is longer than the model can read.
        loading: Numbers, devices and quantization of the model.

    Raises:
        NeuronspecError: If the model or a file cannot be read, or a file's name contradicts its task.
    """
    model = load_model(name, **asdict(loading or ModelLoading()))
    model, tokenizer = place_model(model, join_processes().device), load_tokenizer(name)
    if source_prefix is not None:
        # The codec finds it there.
        model.config.source_prefix = source_prefix

    texts = read_task_texts(files, pairs=model.config.is_encoder_decoder, columns=columns, formats=formats)
    return ModelTexts(model=model, tokenizer=tokenizer, texts=texts, too_long=too_long)


def read_task_texts(
    files: Mapping[str, str],
    *,
    pairs: bool,
    columns: Columns | Mapping[str, Columns] | None = None,
    formats: Mapping[str, str] | None = None,
) -> dict[str, list[Any]]:
    """Return the text of each task, read from files.

    Args:
        files: File of each task.
        pairs: Whether the model is an encoder-decoder, which reads pairs; any other reads the lines of one language.
        columns: Columns of the files, as in `load_model_texts`.
        formats: Formats of the files, as in `load_model_texts`.

    Raises:
        NeuronspecError: If a file cannot be read, or its name contradicts its task.
    """
    texts: dict[str, list[Any]] = {}
    for task, path in files.items():
        chosen = columns.get(task) if isinstance(columns, Mapping) else columns
        format = (formats or {}).get(task, "auto")
        if pairs:
            texts[task] = _read_text_pairs(task, path, format, chosen)
        elif chosen is None and format == "auto":
            texts[task] = [line for line in read_lines(path) if not is_empty(line)]
        else:
            option = "--format" if chosen is None else "--columns"
            raise NeuronspecError(f"{option} is for pairs of texts; a decoder-only model reads the lines of {path}")
    return texts


def _read_text_pairs(task: str, path: str, format: str, columns: Columns | None) -> list[tuple[str, str]]:
    source, target = split_direction(task)
    # A file that is named after the opposite direction would be read with its sides exchanged.
    if f"{target}-{source}" in Path(path).name and not _names_sides(path, format, columns):
        raise NeuronspecError(f"{path} is named as text of {target}-{source}, not of {task}: name two files, {{lang}}")

    return [(pair.source, pair.target) for pair in read_pairs(path, source, target, format=format, columns=columns)]


def _names_sides(path: str, format: str, columns: Columns | None) -> bool:
    """Return whether placeholders tell the source from the target: `{lang}` of two files, `{src}` in names."""
    place = " ".join([path, *map(str, columns or [])])
    if "{src}" in place or "{tgt}" in place:
        return True

    # In the name of a file that holds both texts, `{lang}` is one of the two languages.
    name = guess_format(path) if format == "auto" else format
    holds_both = columns is not None or (name is not None and CORPUS_FORMATS[name].files == "one")
    return "{lang}" in path and not holds_both
