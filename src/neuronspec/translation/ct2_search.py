"""CTranslate2's beam search, with the results that transformers' search would choose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from neuronspec.config.sections import Translation
from neuronspec.errors import NeuronspecError, first_line
from neuronspec.translation.ct2_conversion import USE_DEFAULT_ENGINE
from neuronspec.translation.ct2_settings import find_least_length, list_forbidden
from neuronspec.translation.nonfinite_scores import NAN_SCORES
from neuronspec.translation.sources import Sources

# Transformers continues a search while a better hypothesis may come. CTranslate2 ends it at this many times `beams`.
SEARCH_PATIENCE = 2


def find_best(
    translator: Any, model: PreTrainedModel, sources: Sources, rows: Sequence[int], *, end: str, options: Translation
) -> list[list[int]]:
    """Return the ids of the best translation of each row.

    Args:
        translator: Translator of CTranslate2 with the converted model, whose tokens are called by their numbers.
        model: Model before its conversion; its generation configuration is obeyed in addition to the options.
        sources: Sentences ready for decoding.
        rows: Positions of the sentences to translate.
        end: Token that ends a sentence.
        options: Beam size and lengths.

    Raises:
        NeuronspecError: If CTranslate2 cannot translate a sentence, or a score is NaN.
    """
    settings: Any = model.generation_config
    starts = [sources.starts[row] for row in rows]
    given = len(starts[0]) - 1  # CTranslate2 counts these tokens as new ones, transformers does not
    # What transformers would force as the first token is given here.
    if settings.forced_bos_token_id is not None and not given:
        starts = [[*start, settings.forced_bos_token_id] for start in starts]

    # Where transformers forces the end, the last of its tokens is that end, which CTranslate2 does not write.
    forces_end = settings.forced_eos_token_id is not None
    longest = max(1, sources.cap(options.max_tokens) + given - forces_end)

    try:
        results = translator.translate_batch(
            _name_all([sources.ids[row] for row in rows]),
            _name_all(starts),
            max_decoding_length=longest,
            min_decoding_length=find_least_length(settings, given=given),
            # No limit: what is too long was cut when the sources were prepared.
            max_input_length=0,
            return_end_token=True,
            return_scores=True,
            **_translate_settings(settings, options),
        )
    except (RuntimeError, ValueError) as error:  # such as a source that is longer than the table of positions
        reason = first_line(error)
        raise NeuronspecError(f"CTranslate2 cannot translate this: {reason}; {USE_DEFAULT_ENGINE}") from error

    if any(np.isnan(result.scores).any() for result in results):
        raise NeuronspecError(NAN_SCORES)

    # The libraries divide scores by different lengths, so that another hypothesis may be the best.
    best = []
    forced_end = end if forces_end else None
    for result in results:
        tokens = choose_best(result, given=given, forced_end=forced_end, length_penalty=options.length_penalty)
        best.append([int(token) for token in tokens])
    return best


def _translate_settings(settings: Any, options: Translation) -> dict[str, Any]:
    """Return the settings of a search in the words of CTranslate2.

    Args:
        settings: Generation configuration of the model.
        options: Beam size and lengths, which go before those of the model.
    """
    early_stopping = settings.early_stopping if options.early_stopping is None else options.early_stopping
    # With patience 1, the search ends at the first `beams` finished hypotheses.
    patience = 1 if options.beams == 1 or early_stopping is True else SEARCH_PATIENCE
    forbidden = _name_all(list_forbidden(settings))

    return {
        "beam_size": options.beams,
        "patience": patience,
        "num_hypotheses": options.beams * patience,
        "length_penalty": options.length_penalty,
        "repetition_penalty": settings.repetition_penalty or 1,
        "no_repeat_ngram_size": settings.no_repeat_ngram_size or 0,
        "suppress_sequences": forbidden or None,
    }


def _name_all(sequences: Iterable[Sequence[int]]) -> list[list[str]]:
    """Return the names of the tokens of sequences in a converted model: their numbers."""
    return [[*map(str, ids)] for ids in sequences]


def choose_best(result: Any, *, given: int, forced_end: str | None = None, length_penalty: float = 1.0) -> list[str]:
    """Return the tokens of the hypothesis with the highest score, normalized by the length that transformers counts.

    Args:
        result: Result of CTranslate2 for a sentence, with scores and with the tokens that end hypotheses.
        given: Number of tokens that each hypothesis was given to begin with.
        forced_end: Token that transformers forces at the largest length and CTranslate2 leaves out; None for none.
        length_penalty: Power of the length that scores are divided by.
    """
    lengths = np.array([len(tokens) for tokens in result.hypotheses])

    # Transformers does not count the given tokens, and counts a forced end that CTranslate2 has left out.
    lacks_end = [forced_end is not None and tokens[-1] != forced_end for tokens in result.hypotheses]
    counted = np.maximum(lengths - given + lacks_end, 1)

    # CTranslate2 has divided by its own lengths: multiply by them, then divide by the counted ones.
    scores = np.array(result.scores) * (lengths / counted) ** length_penalty
    best: list[str] = result.hypotheses[int(scores.argmax())]
    return best
