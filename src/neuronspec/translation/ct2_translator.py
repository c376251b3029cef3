"""CTranslate2 as an engine: the translations of `translate_sentences`, faster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import Translation
from neuronspec.data.sampling import cut_by_tokens
from neuronspec.errors import NeuronspecError, first_line
from neuronspec.libraries import import_library
from neuronspec.models.codec import TextCodec
from neuronspec.models.source_prefixes import SourcePrefix
from neuronspec.progress import Advance
from neuronspec.specialization.steered_model import refuse_steered
from neuronspec.translation.ct2_conversion import check_convertible
from neuronspec.translation.ct2_models import ConvertedModels
from neuronspec.translation.ct2_search import find_best
from neuronspec.translation.sources import Sources, prepare_sources


class CT2Translator:
    """Translates with CTranslate2; called like `translate_sentences`, without model and tokenizer.

    A specialized model is pruned to a task's neurons and converted when the task first occurs, with its weights at that
    time; tasks with the same neurons share a conversion. In float32, greedy translations are those of
    `translate_sentences`; with a beam search a few differ, because the stopping criteria of the two libraries differ.

    Args:
        model: Encoder-decoder, specialized or not; it is not changed.
        tokenizer: Tokenizer of the model.
        compute_type: Precision of CTranslate2: `default` is float32, `int8` is the fastest on most CPUs.
        device: `cpu`, `cuda`, or `auto`: a GPU if CTranslate2 finds one.
        threads: Number of CPU threads; by default CTranslate2 decides.
        device_index: Number of the GPU, if there are several.
        source_prefix: Words in front of each source, for a model without language tags: see `TextCodec`.

    Raises:
        NeuronspecError: If CTranslate2 is not installed, or does not know the architecture, the device or the
            precision.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        compute_type: str = "default",
        device: str = "auto",
        threads: int | None = None,
        device_index: int = 0,
        source_prefix: SourcePrefix | None = None,
    ) -> None:
        ctranslate2 = import_library("ctranslate2", "this engine", "ct2")
        check_convertible(model)
        if device == "auto":
            device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"

        # Before any conversion, which takes long
        _check_compute_type(ctranslate2, compute_type, device)

        self._model = model
        self._tokenizer = tokenizer
        self._source_prefix = source_prefix
        # As `ctranslate2.Translator` has them: with 0 threads it decides itself.
        options = {
            "device": device,
            "compute_type": compute_type,
            "intra_threads": threads or 0,
            "device_index": device_index,
        }
        self._converted = ConvertedModels(model, tokenizer, options)

    def __enter__(self) -> CT2Translator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the converted models from disk and memory."""
        self._converted.close()

    def __call__(
        self,
        sentences: Sequence[str],
        tasks: Sequence[str],
        options: Translation | None = None,
        advance: Advance | None = None,
        *,
        quiet: bool = False,
    ) -> list[str]:
        """Translate sentences; arguments, result and errors are those of `translate_sentences`."""
        refuse_steered(self._model, "CTranslate2, which converts weights, cannot steer")
        options = options or Translation()
        codec = TextCodec(self._tokenizer, self._model.config, self._source_prefix, fixed_tables=True)
        sources = prepare_sources(codec, sentences, tasks, too_long=options.too_long, quiet=quiet)
        translations = [""] * len(sentences)

        # Models in memory go first: loading others could push them out.
        groups = self._group_rows(sources, tasks)
        keys = sorted(groups, key=lambda key: not self._converted.is_loaded(key))

        end = str(self._tokenizer.eos_token_id)
        for key in keys:
            # All tasks of a group have the same neurons, so any of them will do.
            translator = self._converted.load(key, tasks[groups[key][0]])
            for rows in _cut_group(groups[key], sources, options):
                best = find_best(translator, self._model, sources, rows=rows, end=end, options=options)
                for row, text in zip(rows, codec.decode(best), strict=True):
                    translations[row] = text
                if advance is not None:
                    advance(len(rows))

        # Sentences that were not decoded count as done.
        if advance is not None and len(sources.rows) < len(sentences):
            advance(len(sentences) - len(sources.rows))
        return translations

    def _group_rows(self, sources: Sources, tasks: Sequence[str]) -> dict[str, list[int]]:
        """Return the rows of each set of neurons, short sentences first."""
        # The key hashes all masks of a task: once for each task, not for each sentence.
        keys = {task: self._converted.find_key(task) for task in dict.fromkeys(tasks)}

        groups: dict[str, list[int]] = {}
        for row in sorted(sources.rows, key=lambda row: len(sources.ids[row])):
            groups.setdefault(keys[tasks[row]], []).append(row)
        return groups


def _cut_group(group: Sequence[int], sources: Sources, options: Translation) -> list[list[int]]:
    """Return the rows of each batch."""
    widths = [len(sources.ids[row]) for row in group]

    # Each beam is a row of the decoder's batch.
    budget = max(1, options.tokens_per_batch // options.beams)
    return [rows.tolist() for rows in cut_by_tokens(np.array(group), widths, budget)]


def _check_compute_type(ctranslate2: Any, compute_type: str, device: str) -> None:
    """Refuse a device or a precision that CTranslate2 does not have."""
    try:
        supported = ctranslate2.get_supported_compute_types(device)
    except (RuntimeError, ValueError) as error:
        raise NeuronspecError(f"CTranslate2 cannot use the device {device!r}: {first_line(error)}") from error

    known = ["default", "auto", *sorted(supported)]
    if compute_type not in known:
        raise NeuronspecError(f"no compute type {compute_type!r} on this {device}; choose {', '.join(known)}")
