"""What commands print, where: results, notes, data, errors; on closed streams, narrow encodings and broken pipes."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.command import run_command
from tests.patience import PATIENCE
from tests.test_terminal import HOSTILE

from neuronspec.cli.console import print_table
from neuronspec.cli.printing import complain, fit, note, print_data, print_json, say, start_logging
from neuronspec.comparison.cells import Cell
from neuronspec.comparison.tables import TABLE_FORMATS, Table
from neuronspec.errors import NeuronspecWarning
from neuronspec.progress import show_progress
from neuronspec.terminal import CONTROL

TABLE = Table(
    "Gain ↑", ["system", "Δθ"], [[Cell("größer"), Cell(1.0, mark="↑")], [Cell("日本"), Cell(2.0)]], ["Note ↓."]
)


class Stream(io.TextIOWrapper):
    """A stream with an encoding, which may be a terminal."""

    def __init__(self, encoding: str = "utf-8", terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="backslashreplace", newline="\n")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    @property
    def written(self) -> bytes:
        self.flush()
        raw = self.buffer
        assert isinstance(raw, io.BytesIO)
        return raw.getvalue()


@contextlib.contextmanager
def written_to(stream: Stream, name: str = "stdout") -> Iterator[Stream]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, name, stream)
        yield stream


@pytest.fixture(autouse=True)
def _keep_level() -> Iterator[None]:
    logger = logging.getLogger("neuronspec")
    level = logger.level
    yield
    logger.setLevel(level)


def is_harmless(text: str) -> bool:
    return not CONTROL.search(text.replace("\n", "").replace("\t", ""))


# Text of strangers


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_way_of_printing_lets_a_control_character_through(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(text, err=True)
    say(text)
    note(text)
    complain(text)
    print_json({text: [text]})
    print_table(Table(text, [text, (text, text)], [[Cell(text), Cell(text)]], [text], {0: text}))
    said = capsys.readouterr()
    assert is_harmless(said.out)
    assert is_harmless(said.err)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_data_are_escaped_on_a_terminal_and_untouched_in_a_pipe(text: str) -> None:
    with written_to(Stream(terminal=True)) as terminal:
        print_data(text)
    assert is_harmless(terminal.written.decode())
    with written_to(Stream()) as pipe:
        print_data(text)
    assert pipe.written == f"{text}\n".encode(errors="backslashreplace")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("terminal", [False, True])
def test_progress_and_its_notes_are_harmless(text: str, terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("neuronspec.progress.LINE_EVERY", 0.0)
    with written_to(Stream(terminal=terminal), "stderr") as shown, show_progress(f"[red]{text}", 3) as advance:
        advance(1, note=f"[bold]{text}")
    said = shown.written.decode()
    assert "[red]" in said
    for control in CONTROL.findall(text):
        assert control in "\n\r" or control not in said


def test_logs_and_warnings_are_harmless_and_no_line_is_forged(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    with written_to(Stream(), "stderr") as shown, warnings.catch_warnings():
        warnings.simplefilter("always")
        start_logging(quiet=False)
        for text in HOSTILE.values():
            logging.getLogger("neuronspec.data").info("left out %s", text)
            warnings.warn(f"odd {text}", NeuronspecWarning, stacklevel=1)
            warnings.warn(f"odd {text}", stacklevel=1)
    lines = shown.written.decode().splitlines()
    assert len(lines) > 3 * len(HOSTILE)
    assert all(is_harmless(line) for line in lines)
    assert not any(line.startswith("error") for line in lines)
    assert "warning: odd \\x1b[2J" in lines


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_errors_of_every_kind_are_harmless(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("key.yaml").write_text(json.dumps({text: 1, "languages": ["de"], "model": {text: 2}}))
    commands = [["run", "key.yaml"], [text], ["run", text], ["run", "demo", f"--{text}"], ["compare", text]]
    commands += [["run", "demo", f"{text}=1"], ["score", "-t", f"{text}.txt", "-r", "x", "-l", "de"]]
    for arguments in commands:
        if "\x00" not in text or arguments[0] == "run":
            assert run_command(*arguments) == 2, arguments
    said = capsys.readouterr()
    assert said.out == ""
    assert is_harmless(said.err)
    assert not any(line.startswith("error: forged") for line in said.err.splitlines())


def test_a_bug_is_reported_without_control_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a\x1b[2J\nerror: forged")

    monkeypatch.setattr("neuronspec.config.loading.load_config", fail)
    assert run_command("run", "demo") == 1
    said = capsys.readouterr().err
    assert is_harmless(said)
    assert [line for line in said.splitlines() if line.startswith("error")] == [
        "error: this is a bug in neuronspec; please report it with the lines above"
    ]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("format", TABLE_FORMATS)
def test_tables_in_files_are_harmless_too(format: str, text: str) -> None:
    table = Table(text, [text, (text, text)], [[Cell(text), Cell(text)]], [text], {0: text})
    written = TABLE_FORMATS[format].write(table)
    assert is_harmless(json.dumps(json.loads(written)) if format == "json" else written)
    assert not any(line.startswith("error: forged") for line in written.splitlines())


# Encodings


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r", "utf-8"])
def test_tables_fit_every_encoding(encoding: str) -> None:
    with written_to(Stream(encoding)) as shown:
        print_table(TABLE)
        say(fit("größer ↑"), "日本")
    lines = [line for line in shown.written.decode(encoding).splitlines() if line[:1] in ("|", "│", "┃")]
    assert len(lines) >= 3
    if encoding != "utf-8":
        assert len({len(line) for line in lines}) == 1  # the columns stay straight
        assert all(line.startswith("|") for line in lines if "日" not in line)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16", "utf-8"])
def test_data_are_utf_8_whatever_the_locale(encoding: str) -> None:
    with written_to(Stream(encoding)) as shown:
        print_data("größer ↑ 日本")
        print_json({"a": "ü"}, indent=None)
    assert shown.written == 'größer ↑ 日本\n{"a": "ü"}\n'.encode()


# Closed streams and pipes


def run_shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", "-c", command.replace("neuronspec", f"'{sys.executable}' -m neuronspec")],
        env=os.environ | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("neuronspec --version", 0, ""),
        ("neuronspec --version >&-", 0, ""),
        ("neuronspec --version 2>&-", 0, ""),
        ("neuronspec run nosuch >&- 2>&-", 2, ""),
        ("neuronspec translate --model m en-de <&-", 2, "error: standard input is closed"),
        ("neuronspec --version >/dev/full", 2, "error: no space left on device: while writing\n"),
    ],
)
def test_a_stream_that_is_closed_full_or_gone_is_no_crash(command: str, code: int, said: str) -> None:
    if "/dev/full" in command and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    done = run_shell(command)
    assert (done.returncode, done.stderr[: len(said)]) == (code, said)
    assert "Traceback" not in done.stderr
    assert bool(done.stderr) == bool(said)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_a_pipe_without_a_reader_ends_the_command_quietly(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "neuronspec", *arguments]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=PATIENCE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


# Quiet


def test_quiet_leaves_out_notes_logs_and_progress_and_keeps_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("neuronspec.progress.LINE_EVERY", 0.0)
    for name in ("en-de.txt", "de-en.txt"):
        Path(name).write_text("ein Haus\n", encoding="utf-8")
    arguments = ["score", "-t", "{task}.txt", "-r", "{task}.txt"]
    assert run_command(*arguments, "-o", "loud") == 0
    loud = capsys.readouterr()
    assert run_command("-q", *arguments, "-o", "quiet") == 0
    quiet = capsys.readouterr()
    assert loud.out == f"{quiet.out}the results are in loud; neuronspec compare makes tables of them\n"
    assert "system: BLEU" in quiet.out
    assert "scoring: " in loud.err
    assert quiet.err == ""


# Memory


@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tri"
        ),
        RuntimeError("CUDA failed with error out of memory"),
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("std::bad_alloc"),
    ],
    ids=str,
)
def test_too_little_memory_is_no_bug(
    failure: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("neuronspec.config.loading.load_config", fail)
    assert run_command("run", "demo") == 2
    said = capsys.readouterr().err
    assert "out of memory" in said
    assert "lower tokens_per_batch" in said
    assert "bug" not in said
