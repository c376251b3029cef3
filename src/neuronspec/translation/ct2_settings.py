"""A model's generation configuration in the words of CTranslate2, which reads none by itself."""

from __future__ import annotations

from typing import Any, Final

from neuronspec.errors import NeuronspecError
from neuronspec.translation.ct2_conversion import USE_DEFAULT_ENGINE

# Settings of transformers that change a beam search and that CTranslate2 does not have
_UNKNOWN: Final = (
    *("begin_suppress_tokens", "encoder_no_repeat_ngram_size", "encoder_repetition_penalty"),
    *("exponential_decay_length_penalty", "guidance_scale", "sequence_bias"),
)
_NEUTRAL: Final[tuple[Any, ...]] = (None, 0, 1, [], {})


def list_forbidden(settings: Any) -> list[list[int]]:
    """Return the sequences of ids that no translation contains.

    Args:
        settings: Generation configuration of transformers.

    Raises:
        NeuronspecError: If the configuration has a setting that CTranslate2 lacks.
    """
    for name in _UNKNOWN:
        if getattr(settings, name, None) not in _NEUTRAL:
            raise NeuronspecError(
                f"the model's generation configuration has {name}={getattr(settings, name)}, which CTranslate2 cannot "
                f"do: {USE_DEFAULT_ENGINE}"
            )
    return [
        *(list(ids) for ids in settings.bad_words_ids or ()),
        *([number] for number in settings.suppress_tokens or ()),
    ]


def find_least_length(settings: Any, *, given: int) -> int:
    """Return the smallest number of tokens of a translation as CTranslate2 counts them: with those that are given.

    Args:
        settings: Generation configuration of transformers.
        given: Number of tokens that the decoder is given after its first one, which transformers does not count as new.
    """
    new = max(settings.min_new_tokens or 0, (settings.min_length or 0) - 1 - given)
    return new + given if new > 0 else 0
