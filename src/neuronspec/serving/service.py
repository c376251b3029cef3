"""The engine, the queue and the checks that all routes of a service share."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from neuronspec.serving.batching import Batcher
from neuronspec.serving.bodies import BodyRoom
from neuronspec.serving.detection import Detection, Detector
from neuronspec.serving.engine import Sentence, ServingEngine
from neuronspec.serving.languages import ServedLanguages
from neuronspec.serving.limits import ServingLimits
from neuronspec.serving.metrics import Metrics
from neuronspec.serving.options import ServingOptions
from neuronspec.serving.refusals import STATUS_GONE, RefusedError
from neuronspec.serving.tokens import TokenCheck

if TYPE_CHECKING:
    from starlette.requests import Request

Result = TypeVar("Result")
_DETECTED = 2_000  # characters of a text that show its language


class Service:
    """An engine with everything that the routes need to use it for many clients.

    Args:
        engine: Engine that translates.
        limits: Limits of requests, queue and time.
        options: Who may use it, and how it translates by default.
    """

    def __init__(self, engine: ServingEngine, limits: ServingLimits, options: ServingOptions) -> None:
        self.engine = engine
        self.limits = limits
        self.options = options
        self.metrics = Metrics()
        self.room = BodyRoom(limits.bodies)
        self.batcher = Batcher(engine, limits, self.metrics)
        self.token = TokenCheck(options.token)
        self.origins = options.make_origin_check()
        self.is_stopping = False
        self.languages = ServedLanguages(engine.tasks)
        self._detector = functools.cache(lambda: Detector(self.languages.sources))
        self._tasks = frozenset(engine.tasks)
        self._translating = 0

    def prepare(self) -> None:
        """Load what the first request would wait for."""
        self._detector()

    def stop(self) -> None:
        """Refuse further translations; those that were accepted are answered."""
        self.is_stopping = True
        self.metrics.stopping.set(1)

    @property
    def is_idle(self) -> bool:
        """Whether every accepted request has its translations."""
        return not self._translating and self.batcher.is_idle

    async def translate(self, request: Request, rows: Sequence[Sentence]) -> list[str]:
        """Return the translations of the texts of a request, after checking them.

        Args:
            request: Request that asks for them; when its client closes the connection, they are dropped.
            rows: (n,) texts with any mix of directions.

        Raises:
            RefusedError: If a limit is exceeded, a direction is unknown, the service stops, or a text cannot be
                translated.
        """
        self.check_accepting()
        check_rows(rows, self._tasks, self.limits)

        self._translating += 1
        try:
            translations = await _while_connected(request, self.batcher.translate(rows))
        finally:
            self._translating -= 1
        self.metrics.texts.inc(len(rows))
        return translations

    async def detect(self, text: str) -> list[Detection]:
        """Return the languages that a text may be in, the likeliest first."""
        return await asyncio.to_thread(lambda: self._detector().detect(text[:_DETECTED]))

    async def choose_languages(self, texts: Sequence[str]) -> list[Detection]:
        """Return the language that each text is in.

        Raises:
            NeuronspecError: If one is clearly in none of the languages of the service.
        """
        return await asyncio.to_thread(lambda: [self._detector().choose(text[:_DETECTED]) for text in texts])

    def check_accepting(self) -> None:
        """Refuse work while the service stops.

        Raises:
            RefusedError: With status 503.
        """
        if self.is_stopping:
            self.metrics.refused.labels("stopping").inc()
            raise RefusedError(503, "the service is stopping: ask again in a moment", retry_after=5, closes=True)


def check_rows(rows: Sequence[Sentence], tasks: frozenset[str], limits: ServingLimits) -> None:
    """Refuse texts that cannot be translated.

    Args:
        rows: (n,) texts of one request.
        tasks: All directions that can be translated.
        limits: Number of texts and characters, and beam size.

    Raises:
        RefusedError: With status 400; the message quotes no text.
    """
    check_texts([row.text for row in rows], limits)
    for number, row in enumerate(rows, 1):
        if row.task not in tasks:
            raise RefusedError(400, f"text {number}: there is no such direction here: GET /v1/tasks lists them")
        if row.beams > limits.beams:
            raise RefusedError(400, f"text {number}: more than {limits.beams} beams: ask for fewer")


def check_texts(texts: Iterable[str], limits: ServingLimits) -> None:
    """Refuse too many texts, too long ones, and what is no text.

    Args:
        texts: Texts of one request.
        limits: Largest number of texts, and of characters of all texts together.

    Raises:
        RefusedError: With status 400; the message quotes no text.
    """
    listed = list(texts)
    if len(listed) > limits.sentences:
        raise RefusedError(
            400, f"the request ({len(listed)}) exceeds the limit of {limits.sentences} texts: send fewer"
        )

    characters = sum(map(len, listed))
    if characters > limits.characters:
        raise RefusedError(
            400, f"the request ({characters}) exceeds the limit of {limits.characters} characters: send less text"
        )

    # Half of a character that takes two units in UTF-16: no text has it, and nothing can write it.
    for number, text in enumerate(listed, 1):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise RefusedError(400, f"text {number} holds a lone surrogate, which is no character") from None


async def _while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Return what comes of some work, unless the client closes the connection before."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_wait_until_gone(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise RefusedError(STATUS_GONE, "the client is gone", closes=True)
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _wait_until_gone(request: Request) -> None:
    """Wait until the client closes the connection."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return
