"""CTranslate2 as the engine of translation: the outputs of `translate`, sooner."""

from __future__ import annotations

import copy
import hashlib
import shutil
import tempfile
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import Translation
from neuronspec.data.sampling import cut_by_tokens
from neuronspec.errors import NeuronspecError, NeuronspecWarning, first_line
from neuronspec.files import explained
from neuronspec.libraries import import_library
from neuronspec.models.codec import TextCodec
from neuronspec.models.source_prefixes import SourcePrefix
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.progress import Advance
from neuronspec.specialization.masking import find_specialization
from neuronspec.specialization.pruning import prune
from neuronspec.specialization.routing import find_router
from neuronspec.translation.ct2_conversion import INSTEAD, check_convertible, convert
from neuronspec.translation.nonfinite_scores import NO_NUMBERS
from neuronspec.translation.sources import Sources, prepare_sources

LOADED = 8  # converted models in memory
STORED = 16 * 2**30  # bytes of converted models on disk
PATIENCE = 2  # times `beams` hypotheses end a search, where transformers goes on while a better one may come
_Ids = list[list[int]]


class CT2Translator:
    """Translates with CTranslate2, called as `translate` is, without model and tokenizer.

    A specialised model is pruned to a task's neurons and converted when the task is first met, with the weights of
    that time; tasks with the same neurons share a conversion. In float32, greedy outputs are those of `translate`; of a
    beam search a few differ, since the libraries do not end a search at the same moment.

    Args:
        model: an encoder-decoder, specialised or not; stays as it is.
        tokenizer: the model's.
        compute_type: CTranslate2's: `default` is float32, `int8` the fastest on most CPUs.
        device: `cpu`, `cuda`, or `auto`: a GPU where CTranslate2 finds one.
        threads: on the CPU; CTranslate2 decides where not given.
        device_index: which of several GPUs.
        source_prefix: words in front of each source, for a model without language tags: see `TextCodec`.

    Raises:
        NeuronspecError: CTranslate2 is not installed, or does not know the architecture, the device or the type.
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
        self._ct2 = import_library("ctranslate2", "this engine", "ct2")
        check_convertible(model)
        if device == "auto":
            device = "cuda" if self._ct2.get_cuda_device_count() else "cpu"
        try:
            known = ["default", "auto", *sorted(self._ct2.get_supported_compute_types(device))]
        except (RuntimeError, ValueError) as error:
            raise NeuronspecError(f"CTranslate2 cannot use the device {device!r}: {first_line(error)}") from error
        if compute_type not in known:
            raise NeuronspecError(f"no compute type {compute_type!r} on this {device}; choose {', '.join(known)}")
        self._model, self._tokenizer, self._masks = model, tokenizer, _read_masks(model)
        self._source_prefix = source_prefix
        self._options = {
            "device": device,
            "compute_type": compute_type,
            "intra_threads": threads or 0,
            "device_index": device_index,
        }
        self._directory = tempfile.TemporaryDirectory(prefix="neuronspec-", ignore_cleanup_errors=True)
        self._loaded: OrderedDict[str, Any] = OrderedDict()  # the one last used is the last

    def __enter__(self) -> CT2Translator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the converted models from disk and memory."""
        self._loaded.clear()
        self._directory.cleanup()

    def __call__(
        self,
        sentences: Sequence[str],
        tasks: Sequence[str],
        options: Translation | None = None,
        advance: Advance | None = None,
        *,
        quiet: bool = False,
    ) -> list[str]:
        """Translate sentences, in the order in which they were given: arguments, result and errors of `translate`."""
        options = options or Translation()
        codec = TextCodec(self._tokenizer, self._model.config, self._source_prefix, fixed_tables=True)
        sources = prepare_sources(codec, sentences, tasks, options.too_long, quiet=quiet)
        keys = {task: self._key(task) for task in dict.fromkeys(tasks)}
        groups: dict[str, list[int]] = {}
        for row in sorted(sources.rows, key=lambda row: len(sources.ids[row])):
            groups.setdefault(keys[tasks[row]], []).append(row)

        translations = [""] * len(sentences)
        budget = max(1, options.tokens_per_batch // options.beams)
        for key in sorted(groups, key=lambda key: key not in self._loaded):  # others would push these out
            translator = self._load(key, tasks[groups[key][0]])
            widths = [len(sources.ids[row]) for row in groups[key]]
            for rows in cut_by_tokens(np.array(groups[key]), widths, budget):
                best = self._decode(translator, sources, rows.tolist(), options)
                for row, text in zip(rows.tolist(), codec.decode(best), strict=True):
                    translations[row] = text
                if advance is not None:
                    advance(len(rows))

        if advance is not None and len(sources.rows) < len(sentences):
            advance(len(sentences) - len(sources.rows))
        return translations

    def _decode(self, translator: Any, sources: Sources, rows: list[int], options: Translation) -> _Ids:
        """Return the ids of the best translation of each row."""
        starts = [sources.starts[row] for row in rows]
        also: Any = self._model.generation_config  # what transformers' generate obeys beside the options
        given = len(starts[0]) - 1  # tokens that CTranslate2 counts as new ones, transformers not
        if also.forced_bos_token_id is not None and not given:
            starts = [[*start, also.forced_bos_token_id] for start in starts]
        end, ends_early = str(self._tokenizer.eos_token_id), also.forced_eos_token_id is not None
        early_stopping = also.early_stopping if options.early_stopping is None else options.early_stopping
        patience = 1 if options.beams == 1 or early_stopping is True else PATIENCE
        try:
            results = translator.translate_batch(
                [[*map(str, sources.ids[row])] for row in rows],
                [[*map(str, start)] for start in starts],
                beam_size=options.beams,
                patience=patience,
                num_hypotheses=options.beams * patience,
                length_penalty=options.length_penalty,
                max_decoding_length=max(1, sources.cap(options.max_tokens) + given - ends_early),
                min_decoding_length=0,
                max_input_length=0,
                repetition_penalty=also.repetition_penalty or 1,
                no_repeat_ngram_size=also.no_repeat_ngram_size or 0,
                suppress_sequences=[[*map(str, words)] for words in also.bad_words_ids or ()] or None,
                return_end_token=True,
                return_scores=True,
            )
        except (RuntimeError, ValueError) as error:  # such as a source that is longer than the table of positions
            raise NeuronspecError(f"CTranslate2 cannot translate this: {first_line(error)}; {INSTEAD}") from error
        if any(np.isnan(result.scores).any() for result in results):
            raise NeuronspecError(NO_NUMBERS)
        best = []
        for result in results:
            lengths = np.array([len(tokens) for tokens in result.hypotheses])
            counted = lengths - given + [ends_early and tokens[-1] != end for tokens in result.hypotheses]
            scores = np.array(result.scores) * (lengths / np.maximum(counted, 1)) ** options.length_penalty
            best.append([int(token) for token in result.hypotheses[int(scores.argmax())]])
        return best

    def _key(self, task: str) -> str:
        if self._masks is None:
            return "dense"
        row = self._masks.task_index(task)
        bits = [np.packbits(self._masks.layer(layer)[row].numpy()).tobytes() for layer in self._masks.layers]
        return hashlib.sha256(b"".join(bits)).hexdigest()

    def _copy(self, task: str) -> PreTrainedModel:
        """Return a copy of the model, with a task's neurons only."""
        if self._masks is None:
            return copy.deepcopy(self._model)
        with warnings.catch_warnings():  # of how to load a pruned model, which is converted at once
            warnings.simplefilter("ignore", NeuronspecWarning)
            return prune(self._model, self._masks, task)

    def _load(self, key: str, task: str) -> Any:
        root = Path(self._directory.name)
        if not root.is_dir():
            raise NeuronspecError("this CT2Translator was closed: make another")
        if key not in self._loaded:
            if not (root / key).is_dir():
                model = self._copy(task)
                with explained(root):
                    while sum(file.stat().st_size for file in root.rglob("*.bin")) > STORED:
                        shutil.rmtree(min(root.iterdir(), key=lambda path: path.stat().st_mtime))
                    convert(model, self._tokenizer, root / "new", str(self._options["compute_type"]))
                    (root / "new").rename(root / key)
            while len(self._loaded) >= LOADED:
                self._loaded.popitem(last=False)
            self._loaded[key] = self._ct2.Translator(str(root / key), **self._options)
        self._loaded.move_to_end(key)
        return self._loaded[key]


def _read_masks(model: PreTrainedModel) -> NeuronMasks | None:
    """Return the masks of a model, with `bias` as it computes: `specialize(released=...)` may differ from them."""
    if (specialization := find_specialization(model)) is None:
        if find_router(model) is not None:
            raise NeuronspecError(f"CTranslate2 cannot convert what this model has beside its weights: {INSTEAD}")
        return None
    masks, bias = specialization.masks, "kept" if specialization.keeps_bias else "masked"
    values = {layer: masks.layer(layer) for layer in masks.layers}
    return NeuronMasks(masks.tasks, values, masks.signature | {"bias": bias})
