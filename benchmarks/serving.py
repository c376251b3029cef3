"""Throughput and latency of the translation service, compared with a plain server that handles requests one by one.

neuronspec demo --out runs/demo
OMP_NUM_THREADS=1 python -m benchmarks.serving --run runs/demo --write
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.http_load import HOST, Load, Question, put_load
from benchmarks.inference import ask, read_test
from benchmarks.plain_server import BEAMS
from benchmarks.plain_server import THREADS as PLAIN_THREADS
from benchmarks.rounds import publish, say
from neuronspec.exports.ct2_usage import find_ct2_usage
from neuronspec.exports.exporting import export
from neuronspec.pipeline.export_source import ExportSource, open_export_source
from neuronspec.pipeline.run import open_run
from neuronspec.specialization.masking import specialize
from neuronspec.translation.by_direction import translate

PLAIN = "plain server, CTranslate2"
BATCHED = "neuronspec serve, CTranslate2"
MASKED = "neuronspec serve, masked transformers"
START = 120.0  # seconds that a server may take to start
Expected = Mapping[Question, str]


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that runs.

    Attributes:
        port: Port on the loopback interface.
        process: Its process, with the processor time that it took.
        expected: Translation of each question that `translate` gives.
    """

    port: int
    process: psutil.Process
    expected: Expected


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Measurements of one server with some number of clients in one round.

    Attributes:
        per_second: Translations per second.
        median: Median seconds of an answer.
        slowest: Seconds within which 99 % of the answers came.
        processor: Seconds of processor time of the server per translation.
        asked: Number of questions.
        lost: Number of questions without a translation.
        swapped: Number of answers that are the translation of another question.
        different: Number of answers that are neither, because batches round differently.
    """

    per_second: float
    median: float
    slowest: float
    processor: float
    asked: int
    lost: int
    swapped: int
    different: int


def main() -> None:
    options = read_options()
    counts = [int(count) for count in options.clients.split(",")]
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        folder = Path(place)
        source, texts = open_source(options, folder)
        servers = start_all(source, texts, folder, stack)
        pin(0, range(1, os.cpu_count() or 1))
        cells = measure_all(servers, counts, options)
    publish("serving", describe(cells, counts, texts, options), to_figures(cells), options.write)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure throughput and latency of the translation service.")
    parser.add_argument(
        "--run", type=Path, help="finished run with masks; without one, a demo of a minute is run first"
    )
    parser.add_argument("--tasks", default="en-de,de-en,en-cs,cs-en")
    parser.add_argument("--sentences", type=int, default=100, help="different sentences of each direction")
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--seconds", type=float, default=6, help="length of a measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write results/serving.md and .json")
    return parser.parse_args()


def open_source(options: argparse.Namespace, folder: Path) -> tuple[ExportSource, dict[str, list[str]]]:
    """Return the model, and the sentences of each direction."""
    if options.run is None:
        options.run = folder / "demo"
        command = [sys.executable, "-m", "neuronspec", "demo", "--minutes", "1", "--out", str(options.run)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    run = open_run(str(options.run))
    texts = {}
    for task in options.tasks.split(","):
        different = dict.fromkeys(read_test(run, task)[0])
        texts[task] = [*different][: options.sentences]
    return open_export_source(run), texts


# The servers


def start_all(
    source: ExportSource, texts: Mapping[str, list[str]], folder: Path, stack: contextlib.ExitStack
) -> dict[str, Server]:
    """Write the exports, and start all servers."""
    assert source.masks is not None
    masks = source.masks.reorder([*texts])

    exports: dict[str, Path] = {}
    for task, sentences in texts.items():
        say(f"exporting {task}")
        exports[task] = folder / "exports" / task
        some = {task: sentences[:20]}
        export(source.model, source.tokenizer, masks, format="ct2", task=task, out=exports[task], sentences=some)
        usage = find_ct2_usage(ask(source, task, sentences, True, {}))
        exports[task].with_suffix(".json").write_text(json.dumps(dataclasses.asdict(usage)), encoding="utf-8")

    # What both servers of the exports should answer: their searches end as that of transformers does with this setting
    specialize(source.model, masks)
    of_exports = expect(source, texts, early_stopping=True)
    commands = {
        PLAIN: (["-m", "benchmarks.plain_server", "PORT", *map(str, exports.values())], of_exports),
        BATCHED: (["-m", "neuronspec", "serve", "--exports", str(folder / "exports"), "--port", "PORT"], of_exports),
        MASKED: (
            ["-m", "neuronspec", "serve", "--model", str(source.directory), "--port", "PORT"],
            expect(source, texts),
        ),
    }
    return {name: stack.enter_context(start(words, right)) for name, (words, right) in commands.items()}


def expect(source: ExportSource, texts: Mapping[str, list[str]], **settings: Any) -> Expected:
    """Return what `translate` makes of each sentence."""
    translated = translate(source.model, source.tokenizer, texts, beams=BEAMS, **settings)
    return {
        Question(task=task, text=text): line
        for task, lines in translated.items()
        for text, line in zip(texts[task], lines, strict=True)
    }


@contextlib.contextmanager
def start(words: Sequence[str], expected: Expected) -> Iterator[Server]:
    """Start a server on a free port, and end it afterwards."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]

    command = [sys.executable, *(str(port) if word == "PORT" else word for word in words)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            # All servers have the same core, and none of its threads another one; clients have the others
            pin(process.pid, [0])
            wait_for(port, process)
            yield Server(port=port, process=psutil.Process(process.pid), expected=expected)
        finally:
            process.terminate()


def pin(number: int, cores: Sequence[int]) -> None:
    """Let a process use some cores only, where the system can do that; threads that it starts later follow."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(number, cores)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server says that it is healthy."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=START).close()
            return
        time.sleep(0.1)
    raise SystemExit(f"{process.args!r} did not start")


# Measuring


def measure_all(
    servers: Mapping[str, Server], counts: Sequence[int], options: argparse.Namespace
) -> dict[tuple[str, int], list[Cell]]:
    """Return the cells of each server and number of clients, one per round; the first round is discarded."""
    cells: dict[tuple[str, int], list[Cell]] = {}
    for number in range(options.rounds + 1):
        say(f"round {number} of {options.rounds}")
        seconds = options.seconds if number else min(2.0, options.seconds)  # the first round warms up
        for clients in counts:
            # Every second round goes backwards, so that no server always follows the same one
            for name, server in [*servers.items()][:: 1 if number % 2 == 0 else -1]:
                cell = measure(server, clients, seconds)
                if number:
                    cells.setdefault((name, clients), []).append(cell)
    return cells


def measure(server: Server, clients: int, seconds: float) -> Cell:
    """Put a load on a server, and compare all answers with the expected ones."""
    questions = mix(server.expected)
    before = sum(server.process.cpu_times()[:2])
    load = put_load(server.port, questions, clients=clients, seconds=seconds)
    if server.process.status() == psutil.STATUS_ZOMBIE:
        raise SystemExit("a server has ended: nothing is measured")
    used = sum(server.process.cpu_times()[:2]) - before

    for reply in load.replies:
        if reply.text is None:
            say(f"lost: {reply.failure}")
    translated = sum(reply.text is not None for reply in load.replies)
    return Cell(
        per_second=load.per_second,
        median=load.quantile(0.5),
        slowest=load.quantile(0.99),
        processor=used / max(1, translated),
        **compare(load, server.expected),
    )


def mix(expected: Expected) -> list[Question]:
    """Return the questions with the directions in turn."""
    rows: dict[str, list[Question]] = {}
    for question in expected:
        rows.setdefault(question.task, []).append(question)
    return [question for together in zip(*rows.values(), strict=False) for question in together]


def compare(load: Load, expected: Expected) -> dict[str, int]:
    """Return how many questions were asked, and how many answers are missing, swapped or different."""
    known = {*expected.values()}
    found = [(reply.text, expected[reply.question]) for reply in load.replies]
    wrong = [text for text, right in found if text is not None and text != right]
    return {
        "asked": len(found),
        "lost": sum(text is None for text, _ in found),
        "swapped": sum(text in known for text in wrong),
        "different": sum(text not in known for text in wrong),
    }


# The table


def describe(
    cells: Mapping[tuple[str, int], list[Cell]],
    counts: Sequence[int],
    texts: Mapping[str, list[str]],
    options: argparse.Namespace,
) -> list[str]:
    """Return the table as Markdown, and the sentence about the answers."""
    every = [cell for measured in cells.values() for cell in measured]
    lines = [
        f"{sum(map(len, texts.values()))} different test sentences of {', '.join(texts)} in turn, one a request, beam "
        f"{BEAMS}, float32; each client waits for its answer before it asks again. Medians of {options.rounds} rounds "
        f"of {options.seconds:g} seconds, with the range of the throughput. All servers use the same core, clients the "
        f"others. The plain server handles {PLAIN_THREADS} requests at a time, and calls CTranslate2 with one sentence "
        "each.",
        "",
        "| clients | | sentences/s (range) | times as many | p50 ms | p99 ms | server's processor ms per sentence |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for clients in counts:
        base = statistics.median(cell.per_second for cell in cells[PLAIN, clients])
        for name in (PLAIN, BATCHED, MASKED):
            lines.append(write_row(name, clients, cells[name, clients], base))
    lines += [
        "",
        f"Each answer was compared with what `neuronspec.translate` makes of its sentence. Of "
        f"{sum(cell.asked for cell in every):,} requests, {sum(cell.lost for cell in every)} got no translation, "
        f"{sum(cell.swapped for cell in every)} got that of another sentence, and "
        f"{sum(cell.different for cell in every)} got another translation of their own.",
        "",
    ]
    return lines


def write_row(name: str, clients: int, measured: Sequence[Cell], base: float) -> str:
    """Return a row of the table."""
    speeds = sorted(cell.per_second for cell in measured)
    middle = statistics.median(speeds)

    def say_milliseconds(field: str) -> str:
        return f"{1000 * statistics.median(getattr(cell, field) for cell in measured):.1f}"

    times = " | ".join(say_milliseconds(field) for field in ("median", "slowest", "processor"))
    return (
        f"| {clients} | {name} | {middle:.0f} ({speeds[0]:.0f} .. {speeds[-1]:.0f}) | {middle / base:.2f} | {times} |"
    )


def to_figures(cells: Mapping[tuple[str, int], list[Cell]]) -> dict[str, Any]:
    """Return all cells as plain values."""
    return {
        f"{name}, {clients} clients": [dataclasses.asdict(cell) for cell in measured]
        for (name, clients), measured in cells.items()
    }


if __name__ == "__main__":
    main()
