"""Converted models of CTranslate2, one for each set of neurons: made when first needed, kept on disk and in memory."""

from __future__ import annotations

import copy
import hashlib
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError
from neuronspec.files import explained
from neuronspec.libraries import import_library
from neuronspec.models.additions import find_vocabulary_limit, read_additions
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import find_specialization
from neuronspec.specialization.pruning import prune
from neuronspec.specialization.routing import find_router
from neuronspec.translation.ct2_conversion import USE_DEFAULT_ENGINE, convert

# Limits for models with many directions: what is over them is loaded or converted again when needed.
MAX_IN_MEMORY = 8  # converted models
MAX_ON_DISK = 16 * 2**30  # bytes


class ConvertedModels:
    """The conversions of a model, pruned to the neurons of each task if it is specialized.

    Tasks with the same neurons share a conversion. The model itself is not changed.

    Args:
        model: Encoder-decoder that CTranslate2 can convert.
        tokenizer: Tokenizer of the model.
        options: Keyword arguments of `ctranslate2.Translator`, with `compute_type`.

    Raises:
        NeuronspecError: If the model computes with something next to its weights, such as adapters of tasks.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, options: Mapping[str, Any]) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._options = options
        self._masks = _read_masks(model)
        self._loaded: OrderedDict[str, Any] = OrderedDict()  # the one used last is the last
        self._directory = tempfile.TemporaryDirectory(prefix="neuronspec-", ignore_cleanup_errors=True)

    @property
    def root(self) -> Path:
        """Directory with the conversions."""
        return Path(self._directory.name)

    def close(self) -> None:
        """Remove the conversions from disk and memory."""
        self._loaded.clear()
        self._directory.cleanup()

    def find_key(self, task: str) -> str:
        """Return the key of a task's neurons; equal for tasks with the same neurons.

        Raises:
            NeuronspecError: If there are masks, but none for this task.
        """
        if self._masks is None:
            return "dense"

        # Equal neurons in all layers give equal keys, if the tasks can write the same tokens.
        row = self._masks.task_index(task)
        bits = [np.packbits(self._masks.layer(layer)[row].numpy()).tobytes() for layer in self._masks.layers]
        limit = find_vocabulary_limit(read_additions(self._model.config), task)
        bits += [] if limit is None else [str(limit).encode()]
        return hashlib.sha256(b"".join(bits)).hexdigest()

    def is_loaded(self, key: str) -> bool:
        """Return whether the translator of a key is in memory."""
        return key in self._loaded

    def load(self, key: str, task: str) -> Any:
        """Return the translator of CTranslate2 for some neurons, converting the model first if necessary.

        Args:
            key: Key of the neurons.
            task: Any task with these neurons.

        Raises:
            NeuronspecError: If CTranslate2 cannot convert the model, or the conversions were removed.
        """
        if not self.root.is_dir():
            raise NeuronspecError("this CT2Translator was closed: make another")

        if key not in self._loaded:
            place = self.root / key
            if not place.is_dir():
                self._convert(task, place)

            # Make room in memory: the one used longest ago goes first.
            while len(self._loaded) >= MAX_IN_MEMORY:
                self._loaded.popitem(last=False)
            ctranslate2 = import_library("ctranslate2", "this engine", "ct2")
            self._loaded[key] = ctranslate2.Translator(str(place), **self._options)

        # The one used last is the last to go.
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def _convert(self, task: str, place: Path) -> None:
        """Convert the model with the neurons of a task, in place of the oldest conversions if the disk is too full."""
        model = self._copy_model(task)
        with explained(self.root):
            # Almost all bytes of a conversion are weights, in `model.bin`.
            while sum(file.stat().st_size for file in self.root.rglob("*.bin")) > MAX_ON_DISK:
                oldest = min(self.root.iterdir(), key=lambda path: path.stat().st_mtime)
                shutil.rmtree(oldest)

            # A conversion appears under its key when it is complete.
            unfinished = self.root / "new"
            convert(model, self._tokenizer, unfinished, compute_type=str(self._options["compute_type"]))
            unfinished.rename(place)

    def _copy_model(self, task: str) -> PreTrainedModel:
        """Return a copy of the model with the neurons of a task only."""
        if self._masks is None:
            return copy.deepcopy(self._model)

        return prune(self._model, self._masks, task)


def _read_masks(model: PreTrainedModel) -> NeuronMasks | None:
    """Return the masks of a model; None without any.

    Their signature says how the model treats biases, which `specialize(released=...)` may have changed.
    """
    specialization = find_specialization(model)
    if specialization is None:
        # Of all that depends on tasks, only neuron masks can be pruned away.
        if find_router(model) is not None:
            raise NeuronspecError(
                f"CTranslate2 cannot convert what this model has in addition to its weights: {USE_DEFAULT_ENGINE}"
            )
        return None

    masks = specialization.masks
    bias = "kept" if specialization.keeps_bias else "masked"
    values = {layer: masks.layer(layer) for layer in masks.layers}
    return NeuronMasks(masks.tasks, values, masks.signature | {"bias": bias})
