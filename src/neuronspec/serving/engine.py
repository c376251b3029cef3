"""The interface of an engine: sentences of any mix of directions in, their translations out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from neuronspec.errors import NeuronspecError

# Beam size of the paper
BEAMS = 5


class UnavailableError(NeuronspecError):
    """A direction that cannot be translated at the moment, such as one whose model was removed: status 503.

    Clients do not read the message. An engine logs it as a warning, once as long as the reason lasts.
    """


class NotOfferedError(NeuronspecError):
    """Something that an engine does not offer for a direction, such as all neurons: status 400.

    Clients read the message, which quotes no text.
    """


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A text to translate, with everything that its translation depends on.

    Attributes:
        text: Plain text. What `translate` gets is one line, and no longer than `find_longest` says.
        task: Direction, as the engine writes it: `en-de`.
        masked: Whether only the neurons of the direction are used, where the model has masks.
        beams: Beam size; 1 is greedy search.
    """

    text: str
    task: str
    masked: bool = True
    beams: int = BEAMS


class ServingEngine(Protocol):
    """A model, or several, that translate for the service.

    All methods are called from one thread, one at a time; `tasks` may be read from any thread.
    """

    @property
    def tasks(self) -> Sequence[str]:
        """All directions that can be translated, each as the user wrote it; they stay the same."""

    def translate(self, rows: Sequence[Sentence]) -> list[str]:
        """Return the translations, (n,), in the order of the rows: each what its row alone would give.

        Args:
            rows: (n,) sentences with any mix of directions, masks and beam sizes.

        Raises:
            UnavailableError: If a direction cannot be translated at the moment.
            NotOfferedError: If a direction has no model for a row without masks.
            NeuronspecError: If a row cannot be translated. No other row is to blame: the service asks again for each.
        """

    def count_tokens(self, rows: Sequence[Sentence]) -> list[int]:
        """Return the number of source tokens of each row, (n,), by which texts are split and batches filled."""

    def find_longest(self, task: str) -> int | None:
        """Return the largest number of source tokens of a row that is translated whole; None for no limit.

        The service splits longer texts (`serving.texts`) before it asks for translations, and joins those.
        """

    def close(self) -> None:
        """Free models and temporary files; no other method is called after it."""
