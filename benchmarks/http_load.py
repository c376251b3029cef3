"""A bounded load on a translation server of this machine: clients that each wait for an answer before the next."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

HOST = "127.0.0.1"
PATIENCE = 120.0  # seconds that an answer may take
PAUSE = 0.05  # seconds before a client tries again to connect


@dataclass(frozen=True, kw_only=True)
class Question:
    """A sentence to translate, and its direction."""

    task: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer to a question, or what came instead.

    Attributes:
        question: Question that was asked.
        text: Translation; None where something else came back, which `failure` says.
        failure: Status and beginning of the body, or the error of the connection.
        seconds: Time from writing the request to having read the answer.
    """

    question: Question
    text: str | None
    failure: str = ""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Load:
    """The replies to a load, and how long it took."""

    replies: list[Reply] = field(default_factory=list)
    seconds: float

    @property
    def per_second(self) -> float:
        """Number of translations per second."""
        return sum(reply.text is not None for reply in self.replies) / self.seconds

    def quantile(self, share: float) -> float:
        """Return the seconds within which this share of the replies came."""
        times = sorted(reply.seconds for reply in self.replies)
        return times[min(len(times) - 1, int(share * len(times)))]


def put_load(
    port: int,
    questions: Sequence[Question],
    *,
    clients: int,
    seconds: float,
    most: int = 100_000,
    is_enough: Callable[[], bool] = lambda: False,
) -> Load:
    """Ask a server questions from several clients at once, each over a connection of its own that stays open.

    Args:
        port: Port of the server on the loopback interface.
        questions: Questions, asked in this order and from the beginning again; clients take turns in taking one.
        clients: Number of clients.
        seconds: Time after which no more is asked; what was asked is waited for.
        most: Largest number of questions.
        is_enough: Another reason to ask no more.
    """
    started = time.perf_counter()

    def list_questions() -> Iterator[Question]:
        for question in itertools.islice(itertools.cycle(questions), most):
            if time.perf_counter() - started > seconds or is_enough():
                return
            yield question

    replies = asyncio.run(_ask_all(port, list_questions(), clients))
    return Load(replies=replies, seconds=time.perf_counter() - started)


async def _ask_all(port: int, queue: Iterator[Question], clients: int) -> list[Reply]:
    replies: list[Reply] = []
    await asyncio.gather(*(_ask_on(port, queue, replies) for _ in range(clients)))
    return replies


async def _ask_on(port: int, queue: Iterator[Question], replies: list[Reply]) -> None:
    """Ask one question after the other over one connection."""
    connection: _Connection | None = None
    for question in queue:
        started = time.perf_counter()
        text, failure = None, ""
        try:
            connection = connection or await _Connection.open(port)
            async with asyncio.timeout(PATIENCE):
                status, body = await connection.post("/translate", _write_request(question))
            if status == 200:
                text = json.loads(body)["translatedText"]
            else:
                failure = f"{status} {body[:200].decode('utf-8', 'replace')}"
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            failure = f"{type(error).__name__} {error}"
            connection = None
            await asyncio.sleep(PAUSE)
        replies.append(Reply(question=question, text=text, failure=failure, seconds=time.perf_counter() - started))
    if connection is not None:
        connection.close()


def _write_request(question: Question) -> bytes:
    source, target = question.task.split("-")
    return json.dumps({"q": question.text, "source": source, "target": target, "format": "text"}).encode()


class _Connection:
    """HTTP/1.1 over one connection: as little as a client needs, so that it costs the server's machine little."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> _Connection:
        return cls(*await asyncio.open_connection(HOST, port))

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Post JSON and return the status and the body of the answer."""
        head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        self._writer.write(head.encode() + b"\r\n\r\n" + body)

        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        answer = await self._reader.readexactly(int(headers["content-length"]))
        return int(lines[0].split()[1]), answer

    def close(self) -> None:
        self._writer.close()
