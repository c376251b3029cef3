"""A model and the texts of its tasks, as `--model` and `--text` name them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuronspec.config.columns import Columns, parse_columns
from neuronspec.errors import NeuronspecError
from neuronspec.names import check_names

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from neuronspec.config.sections import TooLong


@dataclass(frozen=True)
class Reading:
    """A model, and what it reads.

    Attributes:
        model: on the device that there is.
        tokenizer: the model's.
        texts: for each task its text: pairs for an encoder-decoder, lines for any other model.
        too_long: what becomes of text that is longer than the model can read.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    texts: Mapping[str, list[Any]]
    too_long: TooLong = "cut"

    def find_special(self, kinds: Collection[str]) -> list[int]:
        """Return the ids of the tokens that are put around the texts, of the kinds `tags` and `end_of_sentence`."""
        from neuronspec.data.task_format import special_ids
        from neuronspec.models.codec import TextCodec

        if not self.model.config.is_encoder_decoder:
            end = self.tokenizer.eos_token_id
            return [end] if "end_of_sentence" in kinds and end is not None else []
        return special_ids(TextCodec(self.tokenizer, self.model.config).formats(self.texts).values(), kinds)


ColumnsOption = Annotated[
    str | None,
    typer.Option("--columns", metavar="A,B", help="The columns of --text tables that hold source and target: 2,3"),
]
SourcePrefixOption = Annotated[
    str | None,
    typer.Option(
        "--source-prefix",
        help="Words in front of each source, for a model without language tags: 'translate {src_name} to "
        "{tgt_name}: '.",
    ),
]


class TooLongChoice(StrEnum):
    """What becomes of a line that is longer than a model can read."""

    cut = "cut"
    skip = "skip"
    error = "error"


TooLongOption = Annotated[
    TooLongChoice,
    typer.Option("--too-long", help="What becomes of lines that are longer than the model can read."),
]


@dataclass(frozen=True)
class TextOptions:
    """Options that decide how texts are read.

    Attributes:
        columns: Columns of the files, which then are tables; see `parse_columns`.
        source_prefix: Words in front of each source, for a model without language tags: see `TextCodec`.
        too_long: What becomes of text that is longer than the model can read.
    """

    columns: str | None = None
    source_prefix: str | None = None
    too_long: TooLongChoice = TooLongChoice.cut


def open_reading(name: str, options: Sequence[str], reads: TextOptions) -> Reading:
    """Load a model and read the texts that `TASK=FILE` options name.

    Args:
        name: Directory of the model, or its name on the hub.
        options: `TASK=FILE`, one for each task.
        reads: Options that decide how they are read.

    Raises:
        NeuronspecError: an option is no such thing, a task comes twice, or something cannot be read.
    """
    from neuronspec.models.loading import load_model, load_tokenizer
    from neuronspec.processes import join_processes

    files, named = check_texts(options), parse_columns(reads.columns) if reads.columns is not None else None
    model, tokenizer = load_model(name).to(join_processes().device), load_tokenizer(name)
    if reads.source_prefix is not None:
        model.config.source_prefix = reads.source_prefix
    texts = {task: _read(model, task, path, named) for task, path in files.items()}
    return Reading(model, tokenizer, texts, reads.too_long.value)


def check_texts(options: Sequence[str]) -> dict[str, str]:
    """Return the file of each task that `TASK=FILE` options name.

    Raises:
        NeuronspecError: an option is no such thing, a task comes twice, or there is none.
    """
    files = dict(_split(option) for option in options)
    if len(files) < len(options) or not files:
        raise NeuronspecError("give --text TASK=FILE, once for each task")
    check_names(files)
    return files


def _split(option: str) -> tuple[str, str]:
    task, separator, path = option.partition("=")
    if not separator or not task or not path:
        raise NeuronspecError(f"cannot read --text {option!r}: expected TASK=FILE, as in de-en=news.tsv")
    return task, path


def _read(model: PreTrainedModel, task: str, path: str, columns: Columns | None) -> list[Any]:
    from neuronspec.data.corpora import read_pairs
    from neuronspec.data.normalization import is_empty
    from neuronspec.data.streams import read_lines
    from neuronspec.languages import split_direction

    if not model.config.is_encoder_decoder:
        if columns is not None:
            raise NeuronspecError(f"--columns is for pairs of texts; a decoder-only model reads the lines of {path}")
        return [line for line in read_lines(path) if not is_empty(line)]
    source, target = split_direction(task)
    if f"{target}-{source}" in Path(path).name and not _tells_sides(path, columns):
        raise NeuronspecError(f"{path} is named as text of {target}-{source}, not of {task}: name two files, {{lang}}")
    return [(pair.source, pair.target) for pair in read_pairs(path, source, target, columns=columns)]


def _tells_sides(path: str, columns: Columns | None) -> bool:
    """Tell whether placeholders say which text is the source: `{lang}` of two files, `{src}` of one or of columns."""
    from neuronspec.data.corpora import guess_format

    place = " ".join([path, *map(str, columns or [])])
    is_table = columns is not None or guess_format(path) == "tsv"
    return "{src}" in place or "{tgt}" in place or ("{lang}" in path and not is_table)
