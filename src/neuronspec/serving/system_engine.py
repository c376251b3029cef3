"""A model that any other engine translates with, such as CTranslate2 with conversions made when needed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from neuronspec.config.sections import Translation
from neuronspec.models.codec import TextCodec
from neuronspec.serving.model_engine import ModelEngine
from neuronspec.translation.engines import Decode
from neuronspec.translation.system import TranslationSystem, open_system


class SystemEngine(ModelEngine):
    """Translates with one model as `neuronspec translate` does; rows without masks open the dense model next to it.

    Args:
        system: Model, masks and options of decoding.
        tasks: Directions to offer.
        has_masks: Whether rows without masks have another model.

    Raises:
        NeuronspecError: If the model or the masks cannot be loaded, or the engine cannot run the model.
    """

    def __init__(self, system: TranslationSystem, tasks: Sequence[str], *, has_masks: bool) -> None:
        self.tasks = tuple(dict.fromkeys(tasks))
        self._system = system
        self._stack = ExitStack()
        self._opened: dict[bool, tuple[Decode, TextCodec]] = {}  # with all neurons, and with those of each direction
        _, codec = self._open(has_masks)
        super().__init__(self.tasks, codec, Translation.model_validate(system.options), has_masks=has_masks)

    def close(self) -> None:
        """Free the models and their conversions."""
        self._opened.clear()
        self._stack.close()

    def _decode(self, texts: list[str], tasks: list[str], options: Translation, *, masked: bool) -> list[str]:
        decode, _ = self._open(masked)
        return decode(texts, tasks, options=options, quiet=True)

    def _open(self, masked: bool) -> tuple[Decode, TextCodec]:
        """Return what translates with or without masks, opened when first needed."""
        if masked not in self._opened:
            system = self._system if masked else replace(self._system, dense=True)
            self._opened[masked] = self._stack.enter_context(open_system(system, self.tasks))
        return self._opened[masked]
