"""Batches across requests: one thread translates what all requests wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from neuronspec.serving.engine import Sentence, ServingEngine
from neuronspec.serving.limits import ServingLimits


class Batcher:
    """Translates for many requests with one engine, in one thread."""

    def __init__(self, engine: ServingEngine, limits: ServingLimits) -> None:
        self._engine = engine
        self._limits = limits
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")

    async def translate(self, rows: Sequence[Sentence]) -> list[str]:
        """Return the translations of the rows of a request, in their order."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.translate, list(rows))
