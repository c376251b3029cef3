"""Silence about spellings while files are only looked at."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def without_spelling_logs() -> Iterator[None]:
    """Silence messages about spellings: the proposal names them."""
    logger = logging.getLogger("neuronspec.data.locations")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
