"""R7, R10: any mutation of any file is read or refused with one sentence, and nothing is executed.

This is the short version of `make fuzz`: some hundred mutations over every kind of file.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.fuzzing.attack import attack
from tests.fuzzing.guard import Guard
from tests.fuzzing.kinds import CONTAINERS, CORPORA, KINDS, OUTPUTS, UNTRIED_CORPORA, Kind
from tests.processes import call

import neuronspec.data.corpora
import neuronspec.methods.catalog  # noqa: F401 - registers the methods
from neuronspec.artifacts.container import Container
from neuronspec.data.corpus_formats import CORPUS_FORMATS
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.outputs import OUTPUT_FORMATS
from neuronspec.methods.registry import METHODS

ROOT = Path(__file__).parents[2]


@pytest.mark.process
def test_r7_r10_mutations_of_every_kind_of_file_are_read_or_refused() -> None:
    done = call(["-m", "tests.fuzzing.attack", "--count", 400, "--seed", 7], cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"mutations of {len(KINDS)} kinds of files" in done.stdout
    assert "0 findings" in done.stdout


def test_every_registered_reader_has_a_kind() -> None:
    assert {*CORPORA} | UNTRIED_CORPORA == {*CORPUS_FORMATS}
    assert {*OUTPUTS} == {*OUTPUT_FORMATS}
    files = {method.artifact for method in METHODS.values() if method.artifact}
    assert files <= {*CONTAINERS}

    # Containers of all modules that the readers have imported
    modules = [module for name, module in sys.modules.items() if name.startswith("neuronspec.")]
    found = {value.file for module in modules for value in vars(module).values() if isinstance(value, Container)}
    assert found - {"notes.safetensors"} <= {*CONTAINERS}


def _touch(folder: Path) -> None:
    (folder / "x.json").write_text('{"a": 1}')


def _crash(folder: Path) -> None:
    if (folder / "x.json").read_bytes() != b'{"a": 1}':
        raise KeyError("a")


def _execute(folder: Path) -> None:
    if (folder / "x.json").read_bytes() != b'{"a": 1}':
        exec("1 + 1")


def _write_elsewhere(folder: Path) -> None:
    if (folder / "x.json").read_bytes() != b'{"a": 1}':
        Path("/dev/shm/neuronspec-elsewhere").open("w").close()


def _refuse(folder: Path) -> None:
    if (folder / "x.json").read_bytes() != b'{"a": 1}':
        raise NeuronspecError("refused")


@pytest.mark.parametrize(
    ("read", "tolerant", "finding"),
    [
        (_crash, False, "KeyError"),
        (_execute, False, "it did exec of <string>"),
        (_write_elsewhere, False, "it did open for writing"),
        (_refuse, True, "refused, though the work can go on"),
        (_refuse, False, None),
    ],
)
def test_the_attack_finds_what_it_looks_for(read: object, tolerant: bool, finding: str | None) -> None:
    kind = Kind(make=_touch, read=read, files=("x.json",), tolerant=tolerant)  # type: ignore[arg-type]
    report = attack(20, seed=1, kinds={"x": kind})
    found = [one for one in report.findings.get("x", []) if "Error: 'a'" not in one or finding == "KeyError"]
    assert sum(report.counts.values()) == 20
    assert bool(found) == (finding is not None)
    assert all(finding in one for one in found if finding) or "FileNotFoundError" in str(found)
    Path("/dev/shm/neuronspec-elsewhere").unlink(missing_ok=True)


@pytest.mark.process
def test_a_guard_sees_programs_and_pickles(tmp_path: Path) -> None:
    import pickle

    guard = Guard(tmp_path)
    guard.armed = True
    try:
        subprocess.run(["true"], check=True)
        pickle.loads(pickle.dumps(Path))
        (tmp_path / "inside").write_text("x")
    finally:
        guard.armed = False
    seen = " ".join(guard.seen)
    assert "subprocess.Popen" in seen
    assert "pickle.find_class" in seen
    assert "inside" not in seen
