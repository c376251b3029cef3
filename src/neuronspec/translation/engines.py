"""Engines that translate: transformers itself, CTranslate2, and any other that is registered here.

Importing this module imports no engine: each one's libraries are imported when it is opened.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from neuronspec.registry import Registry

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from neuronspec.config.sections import Translation
    from neuronspec.models.source_prefixes import SourcePrefix
    from neuronspec.progress import Advance

DEFAULT_ENGINE = "transformers"


class Decode(Protocol):
    """An opened engine: a function that translates sentences, each in the direction of its task."""

    def __call__(
        self,
        sentences: Sequence[str],
        tasks: Sequence[str],
        options: Translation | None = None,
        *,
        advance: Advance | None = None,
        quiet: bool = False,
    ) -> list[str]:
        """Return the translations of `sentences`, (n,), in their order.

        Args:
            sentences: (n,) plain text.
            tasks: (n,) direction of each sentence.
            options: Other options than those that the engine was opened with.
            advance: Function that is called with the number of sentences after each batch.
            quiet: Whether to print no warning about sentences that are too long.
        """


class OpenEngine(Protocol):
    """A function that opens an engine."""

    def __call__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        options: Translation,
        *,
        source_prefix: SourcePrefix | None = None,
    ) -> AbstractContextManager[Decode]:
        """Return a context manager that yields a `Decode`, and frees at its end what the engine holds."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A way of translating with a model.

    Attributes:
        open: Function that opens the engine. It imports the engine's libraries.
        summary: One line about the engine, for help and documentation.
        aliases: Other names of the engine.
        library: Python library that the engine needs in addition to those of neuronspec; empty for none.
        extra: Extra of neuronspec that installs the library.
        options: Names of the settings in `Translation` that only some engines have, and this one reads.
        fixed_tables: Whether the engine keeps positions in a table of a fixed size, as `TextCodec` has it.
    """

    open: OpenEngine
    summary: str
    aliases: tuple[str, ...] = ()
    library: str = ""
    extra: str = ""
    options: frozenset[str] = frozenset()
    fixed_tables: bool = False


ENGINES: Registry[Engine] = Registry("engine")
"""Every engine that decodes, by name."""


def resolve_engine(name: str) -> str:
    """Return the registered name of an engine.

    Args:
        name: Name or alias of an engine.

    Raises:
        NeuronspecError: If no engine has this name; the known ones are listed.

    Example:
        >>> resolve_engine("ct2")
        'ctranslate2'
    """
    for registered, engine in ENGINES.items():
        if name == registered or name in engine.aliases:
            return registered

    # The registry lists the known names in its error.
    ENGINES[name]
    return name


@contextmanager
def open_engine(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    options: Translation,
    *,
    source_prefix: SourcePrefix | None = None,
) -> Iterator[Decode]:
    """Open the engine that the options name.

    Args:
        model: Encoder-decoder; if it is specialized, each sentence is decoded with the neurons of its task.
        tokenizer: Tokenizer of the model.
        options: Engine, beam size and lengths.
        source_prefix: Words in front of each source, for a model without language tags: see `TextCodec`.

    Yields:
        The function that translates.

    Raises:
        NeuronspecError: If there is no such engine, it is not installed, or it cannot run the model.
    """
    engine = ENGINES[resolve_engine(options.engine)]
    with engine.open(model, tokenizer, options, source_prefix=source_prefix) as decode:
        yield decode


@contextmanager
def _open_transformers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    options: Translation,
    *,
    source_prefix: SourcePrefix | None = None,
) -> Iterator[Decode]:
    from neuronspec.translation.beam_search import translate_sentences

    yield functools.partial(translate_sentences, model, tokenizer, options=options, source_prefix=source_prefix)


@contextmanager
def _open_ctranslate2(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    options: Translation,
    *,
    source_prefix: SourcePrefix | None = None,
) -> Iterator[Decode]:
    import torch

    from neuronspec.translation.ct2_translator import CT2Translator

    # CTranslate2 runs where the model is, with as many threads.
    device = "cuda" if model.device.type == "cuda" else "cpu"
    translator = CT2Translator(
        model,
        tokenizer,
        compute_type=options.compute_type,
        device=device,
        threads=torch.get_num_threads(),
        device_index=model.device.index or 0,
        source_prefix=source_prefix,
    )
    with translator:
        yield functools.partial(translator, options=options)


ENGINES.register(DEFAULT_ENGINE)(
    Engine(
        open=_open_transformers,
        summary="beam search of transformers, for every encoder-decoder",
    )
)
ENGINES.register("ctranslate2")(
    Engine(
        open=_open_ctranslate2,
        summary="CTranslate2, faster on CPUs",
        aliases=("ct2",),
        library="ctranslate2",
        extra="ct2",
        options=frozenset({"compute_type"}),
        fixed_tables=True,
    )
)
