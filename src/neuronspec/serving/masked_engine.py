"""One model of transformers for all directions: each row with the neurons of its direction, or with all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext

from transformers import PreTrainedModel

from neuronspec.config.sections import Translation
from neuronspec.errors import NeuronspecError
from neuronspec.models.codec import TextCodec
from neuronspec.models.transformers_internals import evaluating
from neuronspec.serving.engine import Sentence
from neuronspec.serving.firing import FiredLayer, find_fired
from neuronspec.serving.model_engine import ModelEngine
from neuronspec.specialization.masking import get_masks
from neuronspec.specialization.routing import dense, find_router
from neuronspec.specialization.steering import steer
from neuronspec.translation.beam_search import translate_sentences
from neuronspec.translation.system import TranslationSystem, load_system


class MaskedEngine(ModelEngine):
    """Translates with one model in memory, as `neuronspec translate` does with the same options.

    Args:
        system: Model, masks and options of decoding.
        tasks: Directions to offer; by default those of the masks, or of whatever else the model keeps for each
            direction. Masks of directions that were not trained are composed.

    Raises:
        NeuronspecError: If no direction is known, the model or the masks cannot be loaded, or the model cannot do a
            direction.
    """

    def __init__(self, system: TranslationSystem, tasks: Sequence[str] = ()) -> None:
        self._model, self._tokenizer = load_system(system, tasks)
        router = find_router(self._model)
        offered = tuple(dict.fromkeys(tasks or (() if router is None else router.tasks)))
        if not offered:
            raise NeuronspecError(f"{system.model} has no masks that name directions: name some, --task en-de,de-en")

        self._steerings = ExitStack()
        for steering in system.steerings:
            self._steerings.enter_context(steer(self._model, steering))

        codec = TextCodec(self._tokenizer, self._model.config)
        super().__init__(offered, codec, Translation.model_validate(system.options), has_masks=router is not None)

    def find_fired(self, row: Sentence, translation: str) -> list[FiredLayer]:
        """Return which neurons fire while the model reads a row and its translation.

        Args:
            row: Sentence with a visible character.
            translation: Its translation, with a visible character.
        """
        with self._switch_masks(row.masked):
            return find_fired(
                self._model,
                self._tokenizer,
                get_masks(self._model),
                task=row.task,
                source=row.text,
                translation=translation,
            )

    def close(self) -> None:
        """Leave the model as it was loaded; it goes with the engine."""
        self._steerings.close()

    def _decode(self, texts: list[str], tasks: list[str], options: Translation, *, masked: bool) -> list[str]:
        with evaluating(self._model), self._switch_masks(masked):
            return translate_sentences(self._model, self._tokenizer, texts, tasks, options, quiet=True)

    def _switch_masks(self, masked: bool) -> AbstractContextManager[PreTrainedModel]:
        """Return a context in which rows use the neurons of their direction, or all neurons."""
        return nullcontext(self._model) if masked or not self._has_masks else dense(self._model)
