"""The base of all engines that read text with one model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from neuronspec.config.sections import Translation
from neuronspec.models.codec import TextCodec
from neuronspec.serving.engine import Sentence
from neuronspec.serving.rows import choose_longest, group_rows


class ModelEngine(ABC):
    """Translates all directions with one model; a subclass says how a batch is decoded.

    Args:
        tasks: Directions to offer.
        codec: Codec of the model, which reads text as the model does.
        options: Way of decoding.
        has_masks: Whether the model has masks, so that rows without them differ.
    """

    def __init__(self, tasks: Sequence[str], codec: TextCodec, options: Translation, *, has_masks: bool) -> None:
        self.tasks = tuple(tasks)
        self._has_masks = has_masks
        self._codec = codec
        self._options = options
        self._formats = codec.formats(self.tasks)

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
            found = self._decode(
                [rows[place].text for place in places],
                [rows[place].task for place in places],
                self._options.model_copy(update={"beams": beams}),
                masked=masked,
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

    @abstractmethod
    def _decode(self, texts: list[str], tasks: list[str], options: Translation, *, masked: bool) -> list[str]:
        """Return the translations of texts, (n,), that have their masks and their beam size in common.

        Args:
            texts: (n,) plain text.
            tasks: (n,) direction of each text.
            options: Way of decoding, with the beam size of these texts.
            masked: Whether each direction uses its own neurons only.
        """
