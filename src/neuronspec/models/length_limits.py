"""Limits of length: how many tokens a model can read, and the warning about text that is longer."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from transformers import PretrainedConfig

from neuronspec.config.sections import TooLong
from neuronspec.errors import NeuronspecError

logger = logging.getLogger(__name__)

# Transformers computes their positions for any length; other engines keep a table of a fixed size.
EXPANDING = frozenset({"m2m_100", "nllb-moe", "fsmt"})
# Their positions are relative.
UNLIMITED = frozenset({"t5", "mt5", "umt5", "longt5", "switch_transformers", "t5gemma"})

_LISTED_LINES = 10  # line numbers in a message


def read_limits(config: PretrainedConfig, *, fixed_tables: bool = False) -> tuple[int | None, int | None]:
    """Return how many tokens the encoder and the decoder of a model can read; None for no limit.

    Args:
        config: Configuration of the model.
        fixed_tables: Whether positions beyond the configured number do not exist, as in CTranslate2. Transformers
            computes them for some architectures.
    """
    if config.model_type in UNLIMITED or (config.model_type in EXPANDING and not fixed_tables):
        return None, None

    # A number of one stack goes before that of both.
    positions = _read_limit(config, "max_position_embeddings", "n_positions")
    encoder = _read_limit(config, "max_encoder_position_embeddings")
    decoder = _read_limit(config, "max_decoder_position_embeddings")
    return encoder or positions, decoder or positions


def announce_too_long(
    numbers: Sequence[int], *, total: int, limit: int | None, too_long: TooLong, name: str = ""
) -> None:
    """Warn that some lines are longer than a model can read, and say what happens to them.

    Args:
        numbers: Numbers of these lines, from 1.
        total: Number of all lines.
        limit: Number of tokens that the model can read.
        too_long: Treatment of these lines: `cut`, `skip` or `error`.
        name: Name of the text.

    Raises:
        NeuronspecError: If `too_long` is `error`.
    """
    # The first lines by number, the others counted.
    listed = ", ".join(map(str, numbers[:_LISTED_LINES]))
    more = f" and {len(numbers) - _LISTED_LINES} more" if len(numbers) > _LISTED_LINES else ""
    lines, are = ("line", "is") if len(numbers) == 1 else ("lines", "are")

    place = f"{name}: " if name else ""
    found = f"{place}{len(numbers)} of {total} {are} longer than {limit} tokens, the most that are read"
    found = f"{found} ({lines} {listed}{more})"
    if too_long == "error":
        raise NeuronspecError(f"{found}: shorten them, or choose cut or skip for what is too long")

    outcome = "cut to that length" if too_long == "cut" else "left out"
    logger.warning(f"{found}: {outcome}")


def _read_limit(config: PretrainedConfig, *keys: str) -> int | None:
    # Configurations differ in the key; some have it with None.
    for key in keys:
        value = getattr(config, key, None)
        if isinstance(value, int):
            return value
    return None
