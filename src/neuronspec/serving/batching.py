"""Batches across requests: one thread translates what all requests wait for."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from neuronspec.errors import NeuronspecError
from neuronspec.serving.batch import BatchOutcome, translate_batch
from neuronspec.serving.engine import NotOfferedError, Sentence, ServingEngine, UnavailableError
from neuronspec.serving.limits import ServingLimits
from neuronspec.serving.metrics import Metrics
from neuronspec.serving.refusals import RefusedError, describe_error
from neuronspec.serving.waiting import Entry, FairQueue, WaitingRequest, WaitingText

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
LONGEST_WAIT = 60  # seconds, in a Retry-After
_CHARACTERS_PER_TOKEN = 8  # more than there are in most texts
SMOOTHING = 0.2  # weight of the latest batch in the mean speed


class Batcher:
    """Translates for many requests with one engine, in one thread.

    A batch takes one text of each waiting request in turn, until it has as many tokens as the limits allow. An idle
    engine starts at once. Right after a batch, it waits a moment for the clients of that batch to ask again, so that
    they stay together in one batch.

    Args:
        engine: Engine, which only the thread of this object calls.
        limits: Size of batches and of the queue, and the time that requests have.
        metrics: Counters of batches and waiting texts.
    """

    def __init__(self, engine: ServingEngine, limits: ServingLimits, metrics: Metrics | None = None) -> None:
        self._engine = engine
        self._limits = limits
        self._metrics = metrics or Metrics()
        self._metrics.watch_queue(lambda: len(self._queue))
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._queue = FairQueue()
        self._open: set[WaitingRequest] = set()
        self._characters = 0  # of all open requests
        self._calls = 0
        self._work = asyncio.Event()
        self._enough = asyncio.Event()
        self._dispatcher: asyncio.Task[None] | None = None
        self._batch_began: float | None = None
        self._batch_ended = -math.inf
        self._expected = 0  # requests that a batch waits for, for a moment after the one before it
        self._speed = 0.0  # texts a second

    @property
    def is_stalled(self) -> bool:
        """Whether the batch at work takes longer than a request may."""
        began = self._batch_began
        return began is not None and time.monotonic() - began > self._limits.request_seconds

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, and nothing is at work."""
        return self._batch_began is None and not self._calls and not len(self._queue)

    async def translate(self, rows: Sequence[Sentence]) -> list[str]:
        """Return the translations of the texts of a request, in their order.

        If the caller is canceled, as when its client is gone, the texts that still wait are dropped.

        Args:
            rows: (n,) texts of any length, with any mix of directions.

        Raises:
            RefusedError: If too many texts wait (503), a text cannot be translated (400, 500 or 503), or the time of
                the request is over (504).
        """
        if not rows:
            return []
        characters = sum(len(row.text) for row in rows)
        self._check_room(len(rows), characters)

        request = WaitingRequest(rows, asyncio.get_running_loop().create_future())
        self._open.add(request)
        self._characters += characters
        self._queue.add(request)
        self._wake()
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                return await request.answer
        except TimeoutError:
            raise self._refuse_late() from None
        finally:
            request.answer.cancel()
            self._queue.remove(request)
            self._open.remove(request)
            self._characters -= characters

    async def call(self, function: Callable[[], Result]) -> Result:
        """Call a function in the thread of the engine, between two batches.

        Args:
            function: Function that uses the engine.

        Raises:
            RefusedError: As for `translate`.
        """
        if self._calls >= self._limits.sentences:
            raise self._refuse_full()
        self._calls += 1
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                return await asyncio.get_running_loop().run_in_executor(self._thread, function)
        except TimeoutError:
            raise self._refuse_late() from None
        except Exception as error:
            raise refuse_failed(error) from error
        finally:
            self._calls -= 1

    def refuse_all(self, refusal: RefusedError) -> None:
        """Answer all requests that wait, or are at work, with a refusal."""
        for request in self._open:
            if not request.answer.done():
                request.answer.set_exception(refusal)

    async def close(self) -> None:
        """End the thread; the batch at work is finished by itself."""
        if self._dispatcher is not None:
            self._dispatcher.cancel()
            await asyncio.gather(self._dispatcher, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _check_room(self, texts: int, characters: int) -> None:
        """Refuse a request that does not fit into the queue."""
        has_room = self._queue.count_texts() + texts <= self._limits.queue
        if not has_room or self._characters + characters > self._limits.queue_characters:
            raise self._refuse_full()

    def _refuse_full(self) -> RefusedError:
        self._metrics.refused.labels("queue").inc()
        wait = math.ceil(len(self._queue) / self._speed) if self._speed else 1
        return RefusedError(
            503, "too many texts wait at the moment: ask again later", retry_after=max(1, min(wait, LONGEST_WAIT))
        )

    def _refuse_late(self) -> RefusedError:
        self._metrics.refused.labels("time").inc()
        return RefusedError(
            504, f"no translation within {self._limits.request_seconds:g} seconds: send fewer texts, or ask again later"
        )

    def _wake(self) -> None:
        """Let the dispatcher look at the queue."""
        self._work.set()
        if self._has_enough():
            self._enough.set()

        # It starts with the first request, in the loop that serves requests.
        if self._dispatcher is None or self._dispatcher.done():
            self._work, self._enough = asyncio.Event(), asyncio.Event()
            self._dispatcher = asyncio.get_running_loop().create_task(self._dispatch())

    async def _dispatch(self) -> None:
        """Translate batch after batch."""
        while True:
            await self._gather()

            # Splitting more text than a batch may hold would only delay it.
            enough = self._limits.batch_tokens * _CHARACTERS_PER_TOKEN
            entries = self._queue.take(self._limits.batch_rows, enough)
            if entries:
                await self._translate_entries(entries)

    async def _gather(self) -> None:
        """Wait for a request; and right after a batch, a moment longer for those that it answered to ask again."""
        if not len(self._queue):
            self._work.clear()
            await self._work.wait()

        patience = self._batch_ended + self._limits.gather_seconds - time.monotonic()
        if patience <= 0 or self._has_enough():
            return
        self._enough.clear()
        try:
            async with asyncio.timeout(patience):
                await self._enough.wait()
        except TimeoutError:
            pass

    def _has_enough(self) -> bool:
        """Return whether waiting for further requests would gain nothing."""
        return self._queue.count_requests() >= self._expected or len(self._queue) >= self._limits.batch_rows

    async def _translate_entries(self, entries: list[Entry]) -> None:
        """Translate one batch and give the requests what came of it."""
        loop = asyncio.get_running_loop()
        began = self._batch_began = time.monotonic()
        try:
            outcome = await loop.run_in_executor(
                self._thread, translate_batch, self._engine, entries, self._limits.batch_tokens
            )
        except Exception as error:
            # A bug of ours: these requests fail, and the next ones are served.
            outcome = BatchOutcome(failures=[(_find_text(entry), error) for entry in entries])
        finally:
            self._batch_began = None

        # As many requests as before can wait again in a moment, unless what waits already fills a batch.
        self._batch_ended = time.monotonic()
        self._expected = 0 if outcome.left else len(self._open)

        self._queue.put_back(outcome.left)
        _deliver(outcome)
        self._note_batch(outcome, time.monotonic() - began)

    def _note_batch(self, outcome: BatchOutcome, seconds: float) -> None:
        """Count a batch, and estimate the speed."""
        self._metrics.note_batch(outcome.rows, outcome.tokens, outcome.repeats, seconds)
        if outcome.rows:
            speed = outcome.rows / max(seconds, 1e-6)
            self._speed = speed if not self._speed else (1 - SMOOTHING) * self._speed + SMOOTHING * speed


def _find_text(entry: Entry) -> WaitingText:
    return entry if isinstance(entry, WaitingText) else entry.text


def _deliver(outcome: BatchOutcome) -> None:
    """Give every request its translations and errors."""
    for text, error in outcome.failures:
        answer = text.request.answer
        if not answer.done():
            answer.set_exception(refuse_failed(error, text))

    for text, split in outcome.splits:
        text.request.note_split(text.place, split)
    for piece, translation in outcome.translations:
        piece.text.request.note_translation(piece, translation)


def refuse_failed(error: Exception, text: WaitingText | None = None) -> RefusedError:
    """Return the answer to a client whose request made the engine fail, and log what the operator must know.

    Args:
        error: Error of the engine.
        text: Text that it could not translate; None for another use of the engine.
    """
    if isinstance(error, RefusedError):
        return error

    what = "this" if text is None else f"text {text.place + 1} of the request, {text.sentence.task},"
    if isinstance(error, UnavailableError):
        logger.debug("%s", error)  # the engine has warned already
        return RefusedError(503, f"{what} cannot be translated at the moment: ask again later", retry_after=10)

    if isinstance(error, NotOfferedError):
        return RefusedError(400, f"{what.rstrip(',')}: {error}")

    # Messages of other errors may quote texts.
    if isinstance(error, NeuronspecError):
        logger.debug("a text was refused: %s", describe_error(error))
        return RefusedError(400, f"{what} cannot be translated by this model: change the text, or leave it out")
    logger.error("a translation failed: %s", describe_error(error))
    return RefusedError(500, f"{what} could not be translated: an error of the service, which its log describes")
