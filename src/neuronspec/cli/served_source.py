"""Options that name what a service translates with: a model, or exports for CTranslate2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ByteSize, TypeAdapter, ValidationError

from neuronspec.cli.loading_options import LOADING
from neuronspec.cli.modes import Mode, reading
from neuronspec.cli.system_options import SystemOptions
from neuronspec.errors import NeuronspecError
from neuronspec.libraries import find_library
from neuronspec.models.directories import check_directory

if TYPE_CHECKING:
    from neuronspec.serving import ServingEngine

ExportsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--exports",
        metavar="DIR",
        help="In place of a model: an export for CTranslate2 (neuronspec export --format ct2), or a directory whose "
        "folders are such exports, one for each direction. Repeatable.",
    ),
]
MemoryLimitOption = Annotated[
    str | None,
    typer.Option(
        "--memory-limit",
        metavar="SIZE",
        help="Memory for the weights of --exports, such as 8GB or 1500MiB: beyond it, the export used longest ago is "
        "unloaded.",
    ),
]

_OF_A_MODEL = (
    "model",
    "masks",
    "dense",
    "pivot",
    "engine",
    "compute_type",
    "early_stopping",
    "source_prefix",
    *LOADING,
)
_OF_EXPORTS = ("exports", "memory_limit")


@dataclass(frozen=True, kw_only=True)
class ServedSource:
    """A model or exports, and the way they decode.

    Attributes:
        system: A model and the way it decodes; None with exports.
        tasks: Directions to offer; by default those of the masks or of the exports.
        exports: Exports, or directories of exports.
        memory_limit: Memory for the weights of the exports, with its unit; None for no limit.
        threads: Number of CPU threads.
    """

    system: SystemOptions | None
    tasks: Sequence[str]
    exports: Sequence[Path]
    memory_limit: str | None
    threads: int | None

    def check(self, context: Any) -> None:
        """Refuse what cannot work before anything is imported that takes seconds.

        Args:
            context: Context of the verb, as typer makes it, which knows what was given.

        Raises:
            NeuronspecError: If there is nothing to translate with, an option changes nothing or cannot be read, or a
                directory or a library is missing.
        """
        if self.system is None and not self.exports:
            raise NeuronspecError(
                "give a model, or exports: neuronspec serve --model DIR, or neuronspec serve --exports DIR"
            )

        # Options that have no effect: those of the other source
        every = reading(*(parameter.name for parameter in context.command.params))
        if self.exports:
            advice = "these options are for --model; exports were made with their own"
            both = {"model": "give --model or --exports, not both"}
            Mode(reads=every - set(_OF_A_MODEL), advice=advice, own_advice=both).check(context)
            find_library("ctranslate2", "Serving exports", "ct2")
            read_memory_limit(self.memory_limit)
            return

        Mode(reads=every - set(_OF_EXPORTS), advice="this option is for --exports").check(context)
        assert self.system is not None
        self.system.check()
        check_directory(self.system.model)

    @contextmanager
    def open(self) -> Iterator[ServingEngine]:
        """Yield what translates, and free it at the end.

        Raises:
            NeuronspecError: If the model, the masks or the exports cannot be loaded, or cannot do a direction.
        """
        from neuronspec.serving import open_exports, open_serving_engine

        if self.exports:
            limit = read_memory_limit(self.memory_limit)
            with open_exports(self.exports, tasks=self.tasks, memory_limit=limit, threads=self.threads) as engine:
                yield engine
            return

        if self.threads is not None:
            import torch

            torch.set_num_threads(self.threads)
        assert self.system is not None
        with open_serving_engine(self.system.describe(), self.tasks) as engine:
            yield engine


def read_memory_limit(text: str | None) -> int | None:
    """Return a number of bytes.

    Args:
        text: Number with its unit, such as `8GB` or `1500MiB`; None for no limit.

    Raises:
        NeuronspecError: If it is no such number.

    Example:
        >>> read_memory_limit("1.5GiB"), read_memory_limit(None)
        (1610612736, None)
    """
    if text is None:
        return None
    try:
        size = int(TypeAdapter(ByteSize).validate_python(text.strip()))
    except ValidationError:
        size = 0
    if size <= 0:
        raise NeuronspecError(f"--memory-limit {text!r} is no size; expected a number and its unit: 8GB, 1500MiB")
    return size
