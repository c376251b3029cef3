"""Services in processes of their own: connections, signals, many clients."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from libretranslatepy import LibreTranslateAPI
from tests.patience import PATIENCE
from tests.processes import Process
from tests.serving.engines import TASKS, ReversingEngine, expect

from neuronspec.errors import NeuronspecError
from neuronspec.serving.app import make_app
from neuronspec.serving.engine import Sentence
from neuronspec.serving.options import ServingOptions
from neuronspec.serving.server import serve

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-24-characters"


class Running:
    """A service in a process of its own."""

    def __init__(self, folder: Path, settings: dict[str, Any], module: str = "program") -> None:
        file = folder / "address"
        self.number_file = file.with_suffix(".pid")
        self.process = Process(["-m", f"tests.serving.{module}", file, json.dumps(settings)], ROOT)
        deadline = time.monotonic() + PATIENCE
        while not file.exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.address = file.read_text(encoding="ascii")

    def connect(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", int(self.address.rpartition(":")[2])), timeout=PATIENCE)

    def ask(self, path: str, value: Any = None) -> tuple[int, Any]:
        """Return the status and the JSON of an answer."""
        body = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(self.address + path, body, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def translate(self, *rows: Sentence) -> tuple[int, Any]:
        """Return the status and the answer to a request for translations."""
        items = [{"text": row.text, "task": row.task, "masked": row.masked, "beams": row.beams} for row in rows]
        return self.ask("/v1/translate", {"items": items})

    def read_metrics(self) -> str:
        """Return the metrics."""
        with urllib.request.urlopen(self.address + "/metrics", timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    def has_begun(self) -> bool:
        """Return whether a request is at work, besides the one for the metrics."""
        return "neuronspec_requests_in_flight 2.0" in self.read_metrics()


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start services, which are killed at the end if they still run."""
    running: list[Running] = []

    def begin(module: str = "program", **settings: Any) -> Running:
        folder = tmp_path / str(len(running))
        folder.mkdir()
        running.append(Running(folder, settings, module))
        return running[-1]

    yield begin
    for service in running:
        service.process.kill()
        service.process.wait()


def read_all(connection: socket.socket) -> bytes:
    """Return what comes over a connection until it is closed."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            received += part
    return received


def test_sixty_four_clients_get_their_own_translations_and_a_signal_ends_the_service_in_order(start: Start) -> None:
    service = start(engine={"seconds": 0.002}, options={"beams": 1})
    rows = [
        Sentence(text=f"my secret {number}", task=TASKS[number % 3], masked=number % 2 == 0, beams=1 + number % 4)
        for number in range(256)
    ]
    with ThreadPoolExecutor(64) as clients:
        answers = list(clients.map(service.translate, rows))
    assert answers == [(200, {"translations": [expect(row)]}) for row in rows]

    client = LibreTranslateAPI(service.address)
    assert client.translate("one two", "en", "fr") == expect(Sentence(text="one two", task="en-fr", beams=1))
    assert [language["code"] for language in client.languages()] == ["en", "de", "fr"]
    assert client.detect("Guten Morgen, wie geht es dir heute?")[0]["language"] == "de"
    assert service.translate(Sentence(text="my secret broken", task="en-de"))[0] == 500

    service.process.send_signal(signal.SIGTERM)
    output, errors = service.process.communicate()
    assert service.process.returncode == 0
    assert "stopping" in errors
    assert "ValueError in translate (engines.py:" in errors
    assert "secret" not in output + errors


def test_the_key_of_the_client_is_the_token(start: Start) -> None:
    service = start(options={"token": TOKEN, "beams": 1})
    assert LibreTranslateAPI(service.address, TOKEN).translate("a b", "en", "de").endswith(": b a")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        LibreTranslateAPI(service.address, "another").translate("a b", "en", "de")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_accepted_requests_are_answered_after_a_signal_and_others_refused(start: Start, number: int) -> None:
    service = start(engine={"seconds": 1.0})
    row = Sentence(text="accepted", task="en-de")
    with ThreadPoolExecutor(1) as client:
        accepted = client.submit(service.translate, row)
        while not service.has_begun():
            time.sleep(0.01)
        service.process.send_signal(number)
        while service.ask("/health")[0] != 503:
            time.sleep(0.01)
        status, refusal = service.translate(row)
        assert (status, list(refusal)) == (503, ["error"])
        assert accepted.result() == (200, {"translations": [expect(row)]})
    assert service.process.wait() == 0


def test_a_service_on_a_given_socket_restarts_without_a_lost_request(start: Start) -> None:
    service = start(module="supervisor", engine={"seconds": 0.02})
    rows = [Sentence(text=f"text {number}", task="en-de") for number in range(40)]
    first = int(service.number_file.read_text(encoding="ascii"))
    with ThreadPoolExecutor(4) as clients:
        answers = []
        for number, row in enumerate(rows):
            answers.append(clients.submit(service.translate, row))
            if number == 10:
                os.kill(first, signal.SIGTERM)
        assert [answer.result() for answer in answers] == [(200, {"translations": [expect(row)]}) for row in rows]

    second = int(service.number_file.read_text(encoding="ascii"))
    assert second != first
    os.kill(second, signal.SIGTERM)
    assert service.process.wait() == 0


def test_a_second_signal_ends_the_service_at_once(start: Start) -> None:
    service = start(engine={"seconds": 1000.0})
    with ThreadPoolExecutor(1) as client:
        lost = client.submit(service.translate, Sentence(text="lost", task="en-de"))
        while not service.has_begun():
            time.sleep(0.01)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(1.1)  # signals that follow sooner count as the same request
        service.process.send_signal(signal.SIGTERM)
        assert isinstance(lost.exception(), ConnectionError | urllib.error.URLError)
    assert service.process.wait() == 128 + signal.SIGTERM


def test_the_time_to_stop_is_limited_and_what_waits_is_refused(start: Start) -> None:
    service = start(engine={"seconds": 1000.0}, limits={"stop_seconds": 0.1})
    with ThreadPoolExecutor(1) as client:
        lost = client.submit(service.translate, Sentence(text="lost", task="en-de"))
        while not service.has_begun():
            time.sleep(0.01)
        service.process.send_signal(signal.SIGTERM)
        assert lost.result()[0] == 503
    assert service.process.wait() == 128 + signal.SIGTERM


def test_slow_idle_and_hostile_connections_end_and_others_are_answered(start: Start) -> None:
    service = start(limits={"read_seconds": 0.3, "idle_seconds": 1.0, "body": 1_000_000})
    silent, slow, stuck, large, long = (service.connect() for _ in range(5))
    slow.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
    stuck.sendall(b"POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nq=")
    large.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000)
    long.sendall(b"POST /translate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            long.sendall(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")

    assert service.ask("/health") == (200, {"status": "ok"})
    assert read_all(silent) == read_all(slow) == b""
    assert read_all(stuck).startswith(b"HTTP/1.1 408 ")
    assert read_all(large).startswith(b"HTTP/1.1 400 ")
    assert read_all(long).startswith(b"HTTP/1.1 413 ")
    for connection in (silent, slow, stuck, large, long):
        connection.close()


def test_a_client_that_hangs_up_leaves_no_work(start: Start) -> None:
    service = start(engine={"seconds": 0.5})
    with ThreadPoolExecutor(1) as client:
        first = client.submit(service.translate, Sentence(text="first", task="en-de"))
        while not service.has_begun():
            time.sleep(0.01)
        body = b'{"items": [{"text": "gone", "task": "en-de"}]}'
        head = b"POST /v1/translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with service.connect() as gone:
            gone.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert first.result()[0] == 200

    counted = service.read_metrics()
    assert 'neuronspec_requests_total{route="/v1/translate",status="499"} 1.0' in counted
    assert "neuronspec_texts_total 1.0" in counted


def test_connections_beyond_the_limit_are_refused(start: Start) -> None:
    service = start(limits={"connections": 3, "idle_seconds": 1.0})
    opened = [service.connect() for _ in range(3)]
    status, refusal = service.ask("/health")
    assert (status, refusal) == (503, {"error": "too many connections at the moment: ask again later"})
    for connection in opened:
        connection.close()
    deadline = time.monotonic() + PATIENCE
    while service.ask("/health")[0] != 200:
        assert time.monotonic() < deadline


def test_an_address_that_others_reach_needs_a_token() -> None:
    app = make_app(ReversingEngine(), options=ServingOptions(host="0.0.0.0"))
    with pytest.raises(NeuronspecError, match="give it a token"):
        serve(app, port=0)


def test_a_port_that_is_taken_and_an_address_of_another_machine_are_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(NeuronspecError, match=r"cannot listen on .* choose another --port"):
            serve(make_app(ReversingEngine()), port=taken.getsockname()[1])
    for host in ("192.0.2.1", "no.such.host.invalid", "x" * 300):
        app = make_app(ReversingEngine(), options=ServingOptions(host=host, token=TOKEN))
        with pytest.raises(NeuronspecError, match=r"cannot listen|no address"):
            serve(app, port=0)
