"""Options that name the text of tasks, and how it is read: `--text`, `--columns`, `--source-prefix`, `--too-long`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from neuronspec.cli.choices import list_corpus_formats, list_identifiers
from neuronspec.config.columns import parse_columns
from neuronspec.config.model_loading import ModelLoading
from neuronspec.errors import NeuronspecError, did_you_mean
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
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="[TASK=]A,B",
        help="Columns of --text tables that hold source and target: 2,3, or de-en=2,3 for a single task. Repeatable.",
    ),
]
FormatOption = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="[TASK=]FORMAT",
        help="Format of --text files whose names do not show it: {corpus_formats}; or de-en=tmx for a single task. "
        "Repeatable.",
        autocompletion=list_corpus_formats,
    ),
]
IdentifierOption = Annotated[
    str | None,
    typer.Option(
        "--identifier",
        help="Language identifier that finds text in another language: {identifiers}. [default: py3langid]",
        autocompletion=list_identifiers,
    ),
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
        columns: Columns of the files that are tables, `A,B` or `TASK=A,B`; see `parse_columns`.
        formats: Formats of the files, `FORMAT` or `TASK=FORMAT`.
        source_prefix: Words in front of each source, for a model without language tags; see `TextCodec`.
        too_long: Treatment of text that is longer than the model can read.
        loading: Numbers, devices and quantization of the model that reads the text.
    """

    texts: Sequence[str]
    columns: Sequence[str] = ()
    formats: Sequence[str] = ()
    source_prefix: str | None = None
    too_long: TooLongChoice = TooLongChoice.cut
    loading: ModelLoading = field(default_factory=ModelLoading)

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
        # Reading the properties checks every option.
        assert self.files
        assert self.columns_by_task is not None
        if self.formats:
            from neuronspec.data.corpora import CORPUS_FORMATS

            for name in self.formats_by_task.values():
                CORPUS_FORMATS[name]  # which says so where it is unknown

    @property
    def columns_by_task(self) -> dict[str, list[int | str]]:
        """The columns of each task whose file is a table of more than two."""
        given = _divide(self.columns, "--columns", self.files)
        return {task: parse_columns(text) for task, text in given.items()}

    @property
    def formats_by_task(self) -> dict[str, str]:
        """The format of each task for which one was given."""
        return _divide(self.formats, "--format", self.files)

    def open(self, model: str) -> ModelTexts:
        """Load a model, by its directory or hub name, and read its texts."""
        from neuronspec.neurons.model_texts import load_model_texts

        return load_model_texts(
            model,
            self.files,
            columns=self.columns_by_task,
            formats=self.formats_by_task,
            source_prefix=self.source_prefix,
            too_long=self.too_long.value,
            loading=self.loading,
        )


def _divide(options: Sequence[str], flag: str, tasks: Iterable[str]) -> dict[str, str]:
    """Return what an option says of each task: a plain value is for all tasks that have none of their own.

    Raises:
        NeuronspecError: If there are two plain values, or two for one task, or one for a task without text.
    """
    names = list(tasks)
    plain: list[str] = []
    own: dict[str, str] = {}
    for option in options:
        task, separator, value = option.rpartition("=")
        if not separator:
            plain.append(option)
            continue

        if task not in names:
            raise NeuronspecError(f"{flag} {option}: there is no --text {task}=FILE{did_you_mean(task, names)}")
        if task in own:
            raise NeuronspecError(f"{flag} is given twice for {task}: {own[task]} and {value}")
        own[task] = value

    if len(plain) > 1:
        raise NeuronspecError(f"{flag} is given twice for all tasks: write TASK={plain[1]} for a single one")
    return {task: own.get(task, plain[0] if plain else "") for task in names if task in own or plain}


def _split_text(option: str) -> tuple[str, str]:
    task, separator, path = option.partition("=")
    if not separator or not task or not path:
        raise NeuronspecError(f"cannot read --text {option!r}: expected TASK=FILE, as in de-en=news.tsv")
    return task, path
