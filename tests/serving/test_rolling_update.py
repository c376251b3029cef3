"""Two instances behind a real nginx, with the configuration that we give away, are replaced under load."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.patience import PATIENCE
from tests.processes import Process
from tests.serving.engines import TASKS, expect

from benchmarks.http_load import Load, Question, put_load
from neuronspec.serving.engine import Sentence

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
WARM = ("uvicorn", "neuronspec.serving.app", "neuronspec.serving.server")
PROGRAM = """
import sys, time
from tests.serving.engines import ReversingEngine
from neuronspec.serving import make_app, serve

class SlowEngine(ReversingEngine):
    def translate(self, rows):
        time.sleep(0.02)
        return super().translate(rows)

serve(make_app(SlowEngine()), port=int(sys.argv[1]))
"""

pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx: make nginx")


def find_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def write_proxy(folder: Path, *, port: int, instances: list[int]) -> Path:
    """Write a whole configuration around ours, with other ports and files, and without TLS and limits of requests."""
    site = CONFIGURATION.read_text(encoding="utf-8")
    site = re.sub(r"ssl_certificate\w*.*;", "", site)
    site = site.replace("listen 443 ssl", f"listen 127.0.0.1:{port}").replace("rate=20r/s", "rate=100000r/s")
    site = site.replace(":5001", f":{instances[0]}").replace(":5002", f":{instances[1]}")
    site = site.replace("/var/log/nginx", str(folder))
    places = "".join(
        f"{name}_temp_path {folder / name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = folder / "nginx.conf"
    path.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; events {{}} "
        f"http {{ {places}\n{site} }}"
    )
    return path


@contextlib.contextmanager
def proxying(path: Path) -> Iterator[None]:
    assert NGINX is not None
    with subprocess.Popen([NGINX, "-e", str(path.with_name("error.log")), "-c", str(path)]) as process:
        yield
        process.terminate()


def is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=PATIENCE) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_healthy(port):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(port: int) -> Process:
    """Start an instance; its engine takes some time, so that a signal finds requests at work."""
    return Process(["-c", PROGRAM, port], cwd=ROOT, warm=WARM)


def test_instances_are_replaced_one_after_the_other_and_no_request_is_lost(tmp_path: Path) -> None:
    port, *ports = find_ports(3)
    questions = [Question(task=task, text=f"{task} {number}") for number in range(500) for task in TASKS]
    instances = {number: start(number) for number in ports}
    for number in ports:
        wait_for(number)

    loads: list[Load] = []
    is_over = threading.Event()

    def load() -> None:
        loads.append(put_load(port, questions, clients=8, seconds=PATIENCE, is_enough=is_over.is_set))

    with proxying(write_proxy(tmp_path, port=port, instances=ports)):
        wait_for(port)
        asking = threading.Thread(target=load)
        asking.start()
        time.sleep(0.3)
        for number in ports:
            instances[number].send_signal(signal.SIGTERM)
            instances[number].wait()
            time.sleep(0.3)  # some requests while one instance is missing
            instances[number] = start(number)
            wait_for(number)
        time.sleep(0.3)
        is_over.set()
        asking.join(PATIENCE)

    for instance in instances.values():
        instance.send_signal(signal.SIGTERM)
        instance.wait()
    (done,) = loads
    assert len(done.replies) > 16
    assert {reply.failure for reply in done.replies} == {""}
    for reply in done.replies:
        assert reply.text == expect(Sentence(text=reply.question.text, task=reply.question.task))
