"""Options that name the text of tasks, and how it is read: `--text`, `--columns`, `--source-prefix`, `--too-long`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from neuronspec.config.columns import parse_columns
from neuronspec.errors import NeuronspecError
from neuronspec.names import check_names

if TYPE_CHECKING:
    from neuronspec.neurons.model_texts import ModelTexts


class TooLongChoice(StrEnum):
    """Treatment of a line that is longer than a model can read."""

    # The values are those of `config.sections.TooLong`.
    cut = "cut"
    skip = "skip"
    error = "error"


ColumnsOption = Annotated[
    str | None,
    typer.Option("--columns", metavar="A,B", help="Columns of --text tables that hold source and target: 2,3."),
]
SourcePrefixOption = Annotated[
    str | None,
    typer.Option(
        "--source-prefix",
        help="Words in front of each source, for a model without language tags: 'translate {src_name} to "
        "{tgt_name}: '.",
    ),
]
TooLongOption = Annotated[
    TooLongChoice,
    typer.Option(
        "--too-long",
        help="Treatment of lines that are longer than the model can read: cut their end, skip them, or stop.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """Options that name text and decide how it is read.

    Attributes:
        texts: `TASK=FILE` of each task.
        columns: Columns of the files, which then are tables; see `parse_columns`.
        source_prefix: Words in front of each source, for a model without language tags; see `TextCodec`.
        too_long: Treatment of text that is longer than the model can read.
    """

    texts: Sequence[str]
    columns: str | None = None
    source_prefix: str | None = None
    too_long: TooLongChoice = TooLongChoice.cut

    @property
    def files(self) -> dict[str, str]:
        """The file of each task.

        Raises:
            NeuronspecError: If an option cannot be read, a task comes twice, or there is none.
        """
        # A task that comes twice would silently lose its first file.
        files = dict(_split_text(option) for option in self.texts)
        if len(files) < len(self.texts) or not files:
            raise NeuronspecError("give --text TASK=FILE, once for each task")

        check_names(files)
        return files

    def check(self) -> None:
        """Refuse options that cannot be read, before a model is loaded."""
        # Reading the property checks every option.
        assert self.files

    def open(self, model: str) -> ModelTexts:
        """Load a model, by its directory or hub name, and read its texts."""
        from neuronspec.neurons.model_texts import load_model_texts

        return load_model_texts(
            model,
            self.files,
            columns=parse_columns(self.columns) if self.columns is not None else None,
            source_prefix=self.source_prefix,
            too_long=self.too_long.value,
        )


def _split_text(option: str) -> tuple[str, str]:
    task, separator, path = option.partition("=")
    if not separator or not task or not path:
        raise NeuronspecError(f"cannot read --text {option!r}: expected TASK=FILE, as in de-en=news.tsv")
    return task, path
