"""A model that any other engine translates with, such as CTranslate2 with conversions made when needed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from neuronspec.config.sections import Translation
from neuronspec.models.codec import TextCodec
from neuronspec.serving.engine import Sentence
from neuronspec.serving.rows import choose_longest, group_rows
from neuronspec.translation.engines import Decode
from neuronspec.translation.system import TranslationSystem, open_system


class SystemEngine:
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
        self._has_masks = has_masks
        self._options = Translation.model_validate(system.options)
        self._stack = ExitStack()
        self._opened: dict[bool, tuple[Decode, TextCodec]] = {}  # with all neurons, and with those of each direction
        self._codec = self._open(has_masks)[1]
        self._formats = self._codec.formats(self.tasks)

    @property
    def base_tasks(self) -> tuple[str, ...]:
        """All directions whose rows can be translated with all neurons, too: none if the model has no masks."""
        return self.tasks if self._has_masks else ()

    def translate(self, rows: Sequence[Sentence]) -> list[str]:
        """Return the translations, (n,), in the order of the rows.

        Args:
            rows: (n,) sentences with any mix of directions, masks and beam sizes.

        Raises:
            NeuronspecError: If a row cannot be translated.
        """
        translations = [""] * len(rows)
        groups = group_rows(rows, lambda row: (row.masked and self._has_masks, row.beams))
        for (masked, beams), places in groups.items():
            found = self._open(masked)[0](
                [rows[place].text for place in places],
                [rows[place].task for place in places],
                options=self._options.model_copy(update={"beams": beams}),
                quiet=True,
            )
            for place, text in zip(places, found, strict=True):
                translations[place] = text
        return translations

    def count_tokens(self, rows: Sequence[Sentence]) -> list[int]:
        """Return the number of source tokens of each row, (n,), without those that stand around the text."""
        return [len(ids) for ids in self._codec.encode_sources([row.text for row in rows])]

    def find_longest(self, task: str) -> int | None:
        """Return the largest number of source tokens of a row that is translated whole."""
        return choose_longest(self._formats[task].room[0], self._options.max_tokens)

    def close(self) -> None:
        """Free the models and their conversions."""
        self._opened.clear()
        self._stack.close()

    def _open(self, masked: bool) -> tuple[Decode, TextCodec]:
        """Return what translates with or without masks, opened when first needed."""
        if masked not in self._opened:
            system = self._system if masked else replace(self._system, dense=True)
            self._opened[masked] = self._stack.enter_context(open_system(system, self.tasks))
        return self._opened[masked]
