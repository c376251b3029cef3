"""Attacks on a service in a process of its own: the proper status or a closed connection, and only ever one's own text.

What is random is drawn from one seed. All attacks go to one service, which must be as good as new after them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.patience import PATIENCE
from tests.serving.asking import ask, post
from tests.serving.engines import ReversingEngine, expect
from tests.serving.looping import finish
from tests.serving.test_server import Running, read_all

from neuronspec.serving.app import make_app
from neuronspec.serving.engine import Sentence
from neuronspec.serving.limits import ServingLimits
from neuronspec.serving.options import ServingOptions
from neuronspec.serving.texts import split_text

CONNECTIONS = 150  # more than clients of any test but one, even if the service has not yet noticed that some left
BODY = 20_000
LIMITS = {"connections": CONNECTIONS, "read_seconds": 1.0, "idle_seconds": 1.0, "body": BODY, "gather_seconds": 0.0}
STATUSES = {200, 400, 401, 403, 404, 405, 408, 413, 421, 422, 503}
MARK = re.compile(rb"QZ\d{6}XJ|JX\d{6}ZQ")  # as it was sent, and as the engine writes it


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The service, whose output shows no word of a client and no traceback."""
    running = Running(tmp_path_factory.mktemp("attacked"), {"limits": LIMITS, "options": {"beams": 1}})
    yield running
    running.process.send_signal(signal.SIGTERM)
    output = "".join(str(part) for part in running.process.communicate())
    assert not MARK.search(output.encode())
    assert "Traceback" not in output


@pytest.fixture(autouse=True)
def _recovered(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check after each attack on the service that nothing is left of it."""
    yield
    if "service" not in request.fixturenames:
        return
    running: Running = request.getfixturevalue("service")
    deadline = time.monotonic() + PATIENCE
    while "neuronspec_requests_in_flight 1.0" not in read_metrics(running):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    row = Sentence(text="still here", task="en-de", beams=1)
    assert running.translate(row) == (200, {"translations": [expect(row)]})


def read_metrics(running: Running) -> str:
    """Return the metrics; nothing while too many connections are open."""
    try:
        return running.read_metrics()
    except OSError:
        return ""


def mark(number: int) -> str:
    return f"QZ{number:06d}XJ"


def write_request(number: int, *headers: bytes, version: bytes = b"1.1") -> bytes:
    """Return a valid request to translate a text that no other request has."""
    body = json.dumps({"items": [{"text": mark(number), "task": "en-de"}]}).encode()
    lines = [
        b"POST /v1/translate HTTP/" + version,
        b"Host: localhost",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def send(running: Running, data: bytes, answers: int = 0) -> bytes:
    """Send bytes, and return what comes until so many answers are there and nothing follows, or the connection ends."""
    received = b""
    deadline = time.monotonic() + PATIENCE
    with running.connect() as connection, contextlib.suppress(OSError):
        connection.sendall(data)
        connection.settimeout(0.1)
        while time.monotonic() < deadline:
            try:
                part = connection.recv(65_536)
            except TimeoutError:
                if received.count(b"HTTP/1.1 ") >= answers:
                    break
                continue
            if not part:
                break
            received += part
    return received


def check(answer: bytes, *own: int) -> None:
    """Check that statuses are those of refusals or of success, and that no text is that of another request."""
    assert {int(status) for status in re.findall(rb"^HTTP/1\.1 (\d+)", answer, re.M)} <= STATUSES | {100}
    ours = {text.encode() for number in own for text in (mark(number), mark(number)[::-1])}
    assert set(MARK.findall(answer)) <= ours
    assert b"Traceback" not in answer
    assert b".py" not in answer


def test_requests_with_random_damage_get_a_status_and_no_word_of_another(service: Running) -> None:
    draw = random.Random(17)
    odd = [b"\0", b"\r", b"\n", b"\r\n\r\n", b"\xff", b":", b" ", b"Transfer-Encoding: chunked\r\n", b"%00", b"{" * 50]

    def damage(number: int) -> bytes:
        data = bytearray(write_request(number))
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(data))
            kind = draw.randrange(4)
            if kind == 0:
                data[place] = draw.randrange(256)
            elif kind == 1:
                del data[place : place + draw.randint(1, 30)]
            elif kind == 2:
                data[place:place] = draw.choice(odd)
            else:
                del data[place:]
            data = data or bytearray(b"\r\n")
        return bytes(data)

    damaged = {number: damage(number) for number in range(150)}
    with ThreadPoolExecutor(8) as clients:
        for number, answer in zip(
            damaged, clients.map(lambda data: send(service, data), damaged.values()), strict=True
        ):
            check(answer, number)


HEAD = b"POST /translate HTTP/1.1\r\nHost: localhost\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        # Two lengths of a body: what follows must not become a request
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HEALTH, [400]),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nq=abcd" + HEALTH, [400]),
        (HEAD + b"Content-Length: +5\r\n\r\nq=abc", [400]),
        (HEAD + b"Content-Length: -5\r\n\r\nq=abc", [400]),
        (HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nq=abc", [400]),
        (HEAD + b"Transfer-Encoding: xchunked\r\n\r\nq=abc" + HEALTH, [400]),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nabc", [400]),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"a" * 70_000, [400]),
        (HEAD + b"Content-Length: %d\r\n\r\n" % (BODY + 1), [413]),
        (HEAD + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 3\r\n\r\n--x", [400]),
        # Names of the service, and lines of headers
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", [400]),
        (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", [421]),
        (b"GET /health HTTP/1.0\r\n\r\n", [421]),
        (b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n", [200]),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n", [400]),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000, [400]),
        # Paths
        (b"GET /" + b"a" * 70_000, [400]),
        (b"GET /%00%0d%0aSet-Cookie:x HTTP/1.1\r\nHost: localhost\r\n\r\n", [404]),
        (b"GET //evil.example/%2e%2e/ HTTP/1.1\r\nHost: localhost\r\n\r\n", [404]),
        (b"GET /page/../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", [404]),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", [404]),
        # Methods and protocols
        (b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n", [200]),
        (b"HEAD /translate HTTP/1.1\r\nHost: localhost\r\n\r\n", [405]),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", [404]),
        (b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", [404]),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", [200]),
        (b"GET /health\r\n\r\n", [400]),
        (bytes.fromhex("16030102000100") + b"\0" * 200, [400]),
        (HEALTH * 3, [200, 200, 200]),
    ],
)
def test_each_kind_of_bad_request_has_its_status(service: Running, data: bytes, statuses: list[int]) -> None:
    answer = send(service, data, len(statuses))
    check(answer)
    assert [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", answer)] == statuses
    assert b"Set-Cookie" not in answer


def test_pipelined_requests_are_answered_one_by_one_in_their_order(service: Running) -> None:
    numbers = range(200_000, 200_060)
    answer = send(service, b"".join(map(write_request, numbers)), len(numbers))
    assert MARK.findall(answer) == [mark(number)[::-1].encode() for number in numbers]
    assert answer.count(b"HTTP/1.1 200 OK") == len(numbers)


def test_clients_that_leave_at_any_moment_take_nothing_of_others(service: Running) -> None:
    draw = random.Random(18)

    def leave(number: int) -> None:
        data = write_request(number)
        with service.connect() as connection:
            connection.sendall(data[: draw.randrange(len(data) + 1)])
            if draw.random() < 0.5:  # with a reset in place of a proper end
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def stay(number: int) -> bytes:
        return send(service, write_request(number), 1)

    with ThreadPoolExecutor(12) as clients:
        leaving = [clients.submit(leave, number) for number in range(300_000, 300_120)]
        staying = {number: clients.submit(stay, number) for number in range(310_000, 310_060)}
        for left in leaving:
            left.result()
        for number, stayed in staying.items():
            answer = stayed.result()
            check(answer, number)
            assert mark(number)[::-1].encode() in answer


def test_many_slow_and_stalled_connections_end_and_the_rest_is_refused(service: Running) -> None:
    """Far more connections than the limit: headers that drip, bodies that stop, and nothing at all."""
    starts = [HEALTH[:30], HEAD + b"Content-Length: 19000\r\n\r\n" + b"q" * 18_000, b""]
    opened = []
    for number in range(2 * CONNECTIONS):
        connection = service.connect()
        with contextlib.suppress(OSError):
            connection.sendall(starts[number % len(starts)])
        opened.append(connection)

    # A drop now and then does not prolong the time of the headers.
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        for connection in opened[:: len(starts)]:
            with contextlib.suppress(OSError):
                connection.sendall(b"x")
        time.sleep(0.1)

    found = b""
    for connection in opened:
        with contextlib.suppress(OSError):
            found += read_all(connection)
        connection.close()
    check(found)
    assert b"HTTP/1.1 408 " in found


def test_a_killed_service_leaves_its_port_to_the_next_one(tmp_path: Path) -> None:
    settings = {"engine": {"seconds": 5.0}}
    running = Running(tmp_path, settings)
    with running.connect() as connection:
        connection.sendall(write_request(400_000))
        running.process.kill()
        running.process.wait()
        assert read_all(connection) == b""


def test_the_memory_for_all_bodies_is_limited() -> None:
    app = make_app(ReversingEngine(), ServingLimits(body=100, bodies=250, read_seconds=0.2))
    whole = {"q": "a", "source": "en", "target": "de"}

    async def flood() -> list[int]:
        # Two bodies stop in the middle, and there is no room for a third.
        first = asyncio.ensure_future(ask(app, "POST", "/translate", [b"q" * 100, b""], endless=True))
        second = asyncio.ensure_future(ask(app, "POST", "/translate", [b"q" * 100, b""], endless=True))
        await asyncio.sleep(0.05)
        refused = await ask(app, "POST", "/translate", b"q" * 90)
        found = [refused.status, (await first).status, (await second).status]
        return [*found, (await post(app, "/translate", whole)).status]

    assert finish(flood()) == [503, 408, 408, 200]


@pytest.mark.parametrize(
    "text",
    [
        "a" + "\u0301" * 5_000,  # accents upon accents
        "\U0001f468\u200d" * 5_000 + "\U0001f468",  # one family
        "\U0001f1e9" * 5_000,  # flags
        "\u1100" * 5_000,  # one syllable
        "\u0600" * 5_000,
        "." * 5_000,
        "!" + '"' * 5_000,
        "a\u200b" * 5_000,
    ],
    ids=["accents", "family", "flags", "syllable", "prefixes", "stops", "quotes", "invisible"],
)
def test_no_text_leaves_a_long_piece(text: str) -> None:
    """Attention takes memory that grows with the square of a piece."""
    split = split_text(text, lambda texts: [len(one) for one in texts], 50)
    assert max(map(len, split.pieces)) <= 50
    assert split.join(split.pieces) == text


def test_a_text_that_cannot_be_cut_is_refused_and_others_are_translated() -> None:
    class Counting(ReversingEngine):
        def count_tokens(self, rows: Sequence[Sentence]) -> list[int]:
            return [len(row.text) for row in rows]

    engine = Counting(longest=50)
    app = make_app(engine, ServingLimits(gather_seconds=0.0))
    items = {"items": [{"text": "a" + "\u200b" * 9_000, "task": "en-de"}]}
    answer = finish(post(app, "/v1/translate", items))
    assert (answer.status, engine.batches) == (400, [])
    assert "text 1 has a part of 9001 tokens that cannot be cut" in answer.json["error"]


@pytest.mark.parametrize("text", ["a\n" * 6_000, ". " * 6_000])
def test_a_text_of_very_many_pieces_is_refused_before_it_takes_the_time_of_others(text: str) -> None:
    engine = ReversingEngine(longest=5)
    app = make_app(engine, ServingLimits(gather_seconds=0.0))
    answer = finish(post(app, "/v1/translate", {"items": [{"text": text, "task": "en-de"}]}))
    assert (answer.status, engine.batches) == (400, [])
    assert answer.json == {"error": "text 1 has more than 5000 lines and sentences: send it in parts"}


def test_a_text_of_many_pieces_takes_no_room_of_other_texts() -> None:
    engine = ReversingEngine(longest=5, seconds=0.05)
    limits = ServingLimits(gather_seconds=0.0, queue=3, sentences=2, batch_rows=4, batch_tokens=4)
    app = make_app(engine, limits, ServingOptions(beams=1))

    async def together() -> list[int]:
        large = asyncio.ensure_future(post(app, "/v1/translate", {"items": [{"text": "a\n" * 60, "task": "en-de"}]}))
        while len(engine.batches) < 2:
            await asyncio.sleep(0.01)
        small = await post(app, "/v1/translate", {"items": [{"text": "b", "task": "en-de"}] * 2})
        is_first = not large.done()
        return [small.status, (await large).status, is_first]

    assert finish(together()) == [200, 200, True]
