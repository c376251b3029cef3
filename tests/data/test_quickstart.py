import hashlib
import json
import re
import sys
from pathlib import Path

import pytest

from neuronspec.data import quickstart
from neuronspec.data.quickstart import FILE, PACKAGE, fetch_text
from neuronspec.errors import NeuronspecError

CONTENT = b"the text of the quick start"

# Stands in for the Python that runs pip: notes how it was called and does as `plan.json` beside it says.
STUB = """#!{python}
import json, pathlib, sys
here = pathlib.Path(__file__).parent
plan = json.loads((here / "plan.json").read_text())
arguments = sys.argv[1:]
requirements = pathlib.Path(arguments[arguments.index("-r") + 1]).read_text()
with (here / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps([arguments, requirements]) + "\\n")
if plan["error"] is not None:
    sys.exit(plan["error"])
(pathlib.Path(arguments[arguments.index("-d") + 1]) / {file!r}).write_bytes(plan["content"].encode())
"""


class Pip:
    """A pip that needs no network."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.executable = directory / "python"
        self.executable.write_text(STUB.format(python=sys.executable, file=FILE))
        self.executable.chmod(0o755)
        self.plan()

    def plan(self, content: bytes = CONTENT, error: str | int | None = None) -> None:
        (self.directory / "plan.json").write_text(json.dumps({"content": content.decode(), "error": error}))

    def calls(self) -> list[tuple[list[str], str]]:
        log = self.directory / "calls.jsonl"
        return [(call[0], call[1]) for call in map(json.loads, log.read_text().splitlines())] if log.exists() else []


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pip:
    (tmp_path / "bin").mkdir()
    pip = Pip(tmp_path / "bin")
    monkeypatch.setattr(sys, "executable", str(pip.executable))
    monkeypatch.setattr(quickstart, "SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return pip


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    return tmp_path / "home" / ".cache" / "neuronspec" / FILE


def test_the_text_is_downloaded_once(pip: Pip, cached: Path) -> None:
    assert fetch_text() == cached
    assert cached.read_bytes() == CONTENT
    pip.plan(error="there is no network any more")
    assert fetch_text() == cached
    assert len(pip.calls()) == 1
    assert [path.name for path in cached.parent.iterdir()] == [FILE]


def test_pip_downloads_one_file_by_its_hash_and_runs_nothing(pip: Pip) -> None:
    fetch_text()
    [(arguments, requirements)] = pip.calls()
    assert arguments[:3] == ["-m", "pip", "download"]  # never install
    assert {"--no-deps", "--only-binary=:all:", "--require-hashes"} <= set(arguments)  # no build, no set-up script
    assert requirements.split() == [PACKAGE, f"--hash=sha256:{hashlib.sha256(CONTENT).hexdigest()}"]


def test_a_wrong_file_is_refused_and_named(pip: Pip, cached: Path) -> None:
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT[:-1])
    with pytest.raises(NeuronspecError, match=rf"{re.escape(str(cached))} is not the text .*delete it, try again"):
        fetch_text()
    assert not pip.calls()
    cached.unlink()
    assert fetch_text().read_bytes() == CONTENT


def test_a_wrong_download_is_refused(pip: Pip) -> None:
    pip.plan(content=b"something else")
    with pytest.raises(NeuronspecError, match="SHA-256 differs"):
        fetch_text()


@pytest.mark.parametrize(
    ("error", "told"), [("one\nERROR: no such host\n", "ERROR: no such host"), (3, "pip said nothing")]
)
def test_a_failed_download_says_why_and_how_to_go_on(error: str | int, told: str, pip: Pip, cached: Path) -> None:
    pip.plan(error=error)
    with pytest.raises(NeuronspecError) as caught:
        fetch_text()
    message = str(caught.value)
    assert f"({told})" in message
    assert f"pip download --no-deps --only-binary=:all: --python-version 3.13 {PACKAGE}" in message
    assert "--text" in message
    assert not cached.parent.exists() or not list(cached.parent.iterdir())


def test_an_unusable_cache_is_one_clear_sentence(pip: Pip, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a directory should be")
    with pytest.raises(NeuronspecError, match=r"cannot write .*a part of this path is a file"):
        fetch_text()


def test_the_real_hash_and_file_belong_to_the_package_that_is_asked_for() -> None:
    name, version = PACKAGE.split("==")
    assert FILE.startswith(f"{name}-{version}-")
    assert FILE.endswith("-none-any.whl")
    assert re.fullmatch(r"[0-9a-f]{64}", quickstart.SHA256)
