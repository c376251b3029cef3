"""Options that name what a service translates with: a model, or exports for CTranslate2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ByteSize, TypeAdapter, ValidationError

from neuronspec.cli.loading_options import LOADING
from neuronspec.cli.modes import Mode, reading
from neuronspec.config.model_loading import ModelLoading
from neuronspec.errors import NeuronspecError
from neuronspec.libraries import find_library
from neuronspec.models.directories import check_directory
from neuronspec.translation.engines import ENGINES, resolve_engine

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
        model: Directory of a model, or its name on the hub; None with exports.
        tasks: Directions to offer; by default those of the masks or of the exports.
        masks: Masks to specialize the model with.
        dense: Whether to leave out all masks.
        pivot: Language that the trained directions share.
        beams: Beam size.
        engine: Name of the engine that decodes.
        compute_type: Precision of CTranslate2.
        early_stopping: Whether a beam search ends at as many finished hypotheses as beams.
        source_prefix: Words in front of each source.
        loading: Numbers, devices and quantization of the model.
        exports: Exports, or directories of exports.
        memory_limit: Memory for the weights of the exports, with its unit; None for no limit.
        threads: Number of CPU threads.
    """

    model: str | None
    tasks: Sequence[str]
    masks: Path | None
    dense: bool
    pivot: str
    beams: int
    engine: str
    compute_type: str
    early_stopping: bool | None
    source_prefix: str | None
    loading: ModelLoading = field(default_factory=ModelLoading)
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
        if self.model is None and not self.exports:
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
        engine = ENGINES[resolve_engine(self.engine)]
        if self.compute_type != "default" and "compute_type" not in engine.options:
            raise NeuronspecError("--compute-type is for --engine ctranslate2")
        assert self.model is not None
        check_directory(self.model)

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

        from neuronspec.translation.system import TranslationSystem

        if self.threads is not None:
            import torch

            torch.set_num_threads(self.threads)
        assert self.model is not None
        system = TranslationSystem(
            model=self.model,
            masks=self.masks,
            dense=self.dense,
            pivot=self.pivot,
            beams=self.beams,
            engine=resolve_engine(self.engine),
            compute_type=self.compute_type,
            early_stopping=self.early_stopping,
            too_long="cut",
            source_prefix=self.source_prefix,
            loading=self.loading,
        )
        with open_serving_engine(system, self.tasks) as engine:
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
