"""What decodes: transformers as it is, or CTranslate2; both take any mix of tasks and apply the masks."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import Translation
from neuronspec.progress import Advance
from neuronspec.translation.ct2 import CT2Translator
from neuronspec.translation.decoding import translate


class Decode(Protocol):
    """Translates sentences, each in the direction of its task, in their order."""

    def __call__(
        self,
        sentences: Sequence[str],
        tasks: Sequence[str],
        options: Translation | None = None,
        *,
        advance: Advance | None = None,
        quiet: bool = False,
    ) -> list[str]:
        """Return the translations of `sentences`, (n,), in the directions `tasks`, (n,); see `translate`."""


@contextmanager
def open_engine(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, options: Translation) -> Iterator[Decode]:
    """Yield what translates with a model, with the engine that the options name.

    Args:
        model: an encoder-decoder; where it is specialised, each sentence is decoded with the neurons of its task.
        tokenizer: the model's.
        options: the engine, beam size and lengths.

    Raises:
        NeuronspecError: the engine is not installed, or does not know the model's architecture.
    """
    if options.engine == "transformers":
        yield functools.partial(translate, model, tokenizer, options=options)
        return
    device = "cuda" if model.device.type == "cuda" else "cpu"
    with CT2Translator(
        model, tokenizer, options.compute_type, device, torch.get_num_threads(), model.device.index or 0
    ) as translator:
        yield functools.partial(translator, options=options)
