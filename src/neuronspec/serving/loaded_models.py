"""Converted models in memory: loaded when first needed, the one used longest ago unloaded when the memory is full."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError, first_line
from neuronspec.libraries import import_library
from neuronspec.serving.ct2_exports import CT2Export, read_export, read_stamp
from neuronspec.serving.engine import UnavailableError

logger = logging.getLogger(__name__)

# What a damaged or missing export raises in CTranslate2, transformers and tokenizers
_LOADING_ERRORS: Final = (
    *(OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, NeuronspecError),
    *(ArithmeticError, MemoryError, EOFError),  # sizes in a damaged file that cannot be
)
_BYTES: Final[Mapping[str, int]] = {"float32": 4, "float16": 2, "bfloat16": 2, "int16": 2}  # others: 1
_TOKENIZER_FILES: Final = ("*token*", "*vocab*", "*.model", "*.spm", "merges.txt")


@dataclass(eq=False)
class LoadedModel:
    """A converted model in memory.

    Attributes:
        export: Export that it was loaded from.
        tokenizer: Its tokenizer, which exports with the same tokenizer share.
        translator: Translator of CTranslate2; None while only the tokenizer is needed.
        bytes: Bytes that the weights take; 0 without the translator.
    """

    export: CT2Export
    tokenizer: PreTrainedTokenizerBase
    translator: Any = None
    bytes: int = 0


class LoadedModels:
    """The models of some exports that are in memory.

    Args:
        limit: Largest number of bytes of all weights in memory; None for no limit.
        threads: Number of CPU threads; 0 lets CTranslate2 decide.
    """

    def __init__(self, limit: int | None = None, threads: int = 0) -> None:
        self._limit = limit
        self._threads = threads
        self._loaded: OrderedDict[Path, LoadedModel] = OrderedDict()  # the one used last is the last
        self._failing: dict[Path, str] = {}  # with the reason, which the log has once
        self._tokenizers: WeakValueDictionary[str, PreTrainedTokenizerBase] = WeakValueDictionary()

    @property
    def bytes(self) -> int:
        """Bytes that all weights in memory take."""
        return sum(model.bytes for model in self._loaded.values())

    def is_loaded(self, export: CT2Export) -> bool:
        """Return whether the weights of an export are in memory."""
        model = self._loaded.get(export.directory)
        return model is not None and model.translator is not None

    def load_tokenizer(self, export: CT2Export) -> LoadedModel:
        """Return the model of an export, with or without its weights.

        An export that another one has replaced on disk is read again; one that is gone is used as long as it is in
        memory.

        Raises:
            UnavailableError: If it is missing or damaged.
        """
        model = self._loaded.get(export.directory)
        if model is None or _is_replaced(model.export):
            self._drop(export.directory)
            model = self._read(export)
            self._loaded[export.directory] = model

        # The one used last is the last to go.
        self._loaded.move_to_end(export.directory)
        return model

    def load(self, export: CT2Export) -> LoadedModel:
        """Return the model of an export with its weights, after unloading others if the memory is full.

        Raises:
            UnavailableError: If it is missing, damaged, or larger than the limit.
        """
        model = self.load_tokenizer(export)
        if model.translator is not None:
            return model

        self._make_room(model, model.export.bytes)
        ctranslate2 = import_library("ctranslate2", "This engine", "ct2")
        device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
        try:
            model.translator = ctranslate2.Translator(
                str(model.export.directory), device=device, intra_threads=self._threads
            )
        except _LOADING_ERRORS as error:
            self._drop(export.directory)
            raise self._fail(export, error) from error
        self._failing.pop(export.directory, None)

        # A processor that cannot compute in the stored precision keeps the weights in a larger one.
        stored, computed = (_BYTES.get(name, 1) for name in (model.export.stored, model.translator.compute_type))
        model.bytes = model.export.bytes * max(1, computed // stored)
        self._make_room(model, 0)
        return model

    def close(self) -> None:
        """Unload all models."""
        for directory in list(self._loaded):
            self._drop(directory)

    def _read(self, export: CT2Export) -> LoadedModel:
        """Return the model of an export without its weights."""
        try:
            found = read_export(export.directory)
            if (found.usage.task, found.masked) != (export.usage.task, export.masked):
                raise NeuronspecError(f"another export, of {found.usage.task}, is in its place")
            return LoadedModel(found, self._open_tokenizer(export.directory))
        except _LOADING_ERRORS as error:
            raise self._fail(export, error) from error

    def _fail(self, export: CT2Export, error: BaseException) -> UnavailableError:
        """Return the error of an export that cannot be loaded, after a warning to the operator if that is news."""
        failure = UnavailableError(
            f"{export.usage.task} cannot be translated at the moment: its export in {export.directory} cannot be "
            f"loaded ({first_line(error)})"
        )
        if self._failing.get(export.directory) != str(failure):
            logger.warning("%s", failure)
        self._failing[export.directory] = str(failure)
        return failure

    def _open_tokenizer(self, directory: Path) -> PreTrainedTokenizerBase:
        """Return the tokenizer of an export; exports with the same files share one."""
        files = sorted({file for pattern in _TOKENIZER_FILES for file in directory.glob(pattern)})
        texts = b"".join(file.name.encode() + hashlib.sha256(file.read_bytes()).digest() for file in files)

        key = hashlib.sha256(texts).hexdigest()
        tokenizer = self._tokenizers.get(key)
        if tokenizer is None:
            tokenizer = AutoTokenizer.from_pretrained(str(directory), trust_remote_code=False)
            self._tokenizers[key] = tokenizer
        return tokenizer

    def _make_room(self, wanted: LoadedModel, further: int) -> None:
        """Unload the models used longest ago until the limit holds.

        Args:
            wanted: Model that stays.
            further: Bytes that it will take in addition to what all models take.
        """
        if self._limit is None:
            return
        for model in self._loaded.values():
            if self.bytes + further <= self._limit:
                return
            if model is not wanted:
                _unload(model)

    def _drop(self, directory: Path) -> None:
        """Forget all of a model."""
        model = self._loaded.pop(directory, None)
        if model is not None:
            _unload(model)


def _unload(model: LoadedModel) -> None:
    """Free the weights of a model; its tokenizer, which others may share, stays."""
    if model.translator is not None:
        model.translator.unload_model()  # at once, whatever else refers to it
    model.translator, model.bytes = None, 0


def _is_replaced(export: CT2Export) -> bool:
    """Return whether other files are in the place of an export; not if nothing is there."""
    try:
        return read_stamp(export.directory) != export.stamp
    except NeuronspecError:
        return False
