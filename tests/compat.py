"""The tests that depend on other libraries, with the oldest and the newest versions that `pyproject.toml` accepts.

    python -m tests.compat [oldest] [newest] [3.12] [3.13] [--folder .compat] [--workers 2] [--tests tests/exports ...]

`oldest` and `newest` use the Python that runs this; a number is the newest versions with that Python, which is skipped
where it is not installed. Each has an environment of its own, which `uv` makes; PyTorch is the one of `constraints.txt`
in all of them, because most other builds for Linux bring gigabytes of CUDA: with another Python, that is what uv gets.
`make compat` does all of this. A table at the end says what was tried, in which versions, and what was skipped and why.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.12", "3.13")
"""Versions of Python that are tried next to the one that runs this."""
EXTRAS = ("ct2", "hub", "lora", "moses", "serve")
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "libretranslatepy")
SHOWN = ("torch", "transformers", "accelerate", "peft", "ctranslate2", "numpy", "pydantic")
TESTS = (
    *("tests/released", "tests/test_public_names.py", "tests/cli/test_help.py", "tests/cli/test_main.py"),
    *("tests/data/test_vocabulary.py", "tests/evaluation/test_metrics.py", "tests/figures", "tests/models"),
    *("tests/neurons", "tests/specialization", "tests/training", "tests/methods", "tests/translation"),
    *("tests/exports", "tests/serving"),
)
"""What depends on the versions of libraries most, and what released versions wrote."""
QUIET = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of an environment."""

    name: str
    versions: dict[str, str]
    result: str
    passed: bool = True

    def __str__(self) -> str:
        versions = ", ".join(f"{library} {version}" for library, version in self.versions.items())
        return f"{self.name:8} {self.result}" + (f" ({versions})" if versions else "")


def main() -> None:
    parser = argparse.ArgumentParser(description="Test with the oldest and the newest versions of other libraries.")
    parser.add_argument("names", nargs="*", help="oldest, newest, or a version of Python; all by default")
    parser.add_argument("--folder", type=Path, default=ROOT / ".compat", help="folder of the environments")
    parser.add_argument("--workers", default="2", help="number of tests that run side by side")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="tests to run")
    options = parser.parse_args()

    folder = options.folder.absolute()
    uv = install_uv(folder)
    names = options.names or ("oldest", "newest", *PYTHONS)
    outcomes = [try_one(name, folder, uv, tests=options.tests, workers=options.workers) for name in names]
    print("\n" + "\n".join(map(str, outcomes)))
    sys.exit(not all(outcome.passed for outcome in outcomes))


def install_uv(folder: Path) -> Path:
    """Return the path of uv, in an environment of its own."""
    place = folder / "uv"
    if not (place / "bin" / "uv").exists():
        venv.create(place, with_pip=True, clear=True)
        run([place / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"])
    return place / "bin" / "uv"


def try_one(name: str, folder: Path, uv: Path, *, tests: Sequence[str], workers: str) -> Outcome:
    """Make one environment and run the tests in it."""
    interpreter = sys.executable if name in ("oldest", "newest") else find_python(name)
    if interpreter is None:
        return Outcome(name=name, versions={}, result=f"skipped: there is no Python {name} here")

    python = folder / name / "bin" / "python"
    try:
        install(name, interpreter, uv, python)
    except subprocess.CalledProcessError as error:
        return Outcome(name=name, versions={}, result=f"cannot be installed: {error}", passed=False)

    command = [str(python), "-m", "pytest", "-q", "-n", workers, *tests]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **QUIET}, check=False)
    passed = done.returncode == 0
    return Outcome(name=name, versions=list_versions(python), result="passed" if passed else "FAILED", passed=passed)


def find_python(version: str) -> str | None:
    """Return an interpreter of a version of Python that starts, on the path or among those of pyenv."""
    named = shutil.which(f"python{version}")
    installed = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python3"))
    for candidate in filter(None, (named, *map(str, installed))):
        asked = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        found = subprocess.run(asked, capture_output=True, text=True, check=False)
        if found.returncode == 0 and found.stdout.strip() == version:
            return candidate
    return None


def install(name: str, interpreter: str, uv: Path, python: Path) -> None:
    """Install the libraries, as old or as new as they may be, and the package as it is now."""
    run([uv, "venv", "--quiet", "--clear", "--python", interpreter, python.parents[1]])

    # Where pip knows a smaller build of PyTorch, as for the Python here, it is pip that installs it.
    pin = next(line for line in (ROOT / "constraints.txt").read_text("utf-8").split() if line.startswith("torch=="))
    base = [uv, "pip", "install", "--quiet", "--python", python]
    if name in ("oldest", "newest"):
        run([*base, "pip"])
        run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", pin])

    constraints = python.parents[1] / "torch.txt"
    constraints.write_text(f"{pin}\n", encoding="utf-8")
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    age = ["--resolution", "lowest-direct"] if name == "oldest" else []
    run([*base, *age, "--constraints", constraints, "-r", ROOT / "pyproject.toml", *extras])
    run([*base, "--constraints", constraints, *TOOLS])
    run([*base, "--no-deps", "--reinstall", ROOT])


def list_versions(python: Path) -> dict[str, str]:
    """Return the versions of Python and of the libraries that are shown, as far as they are installed."""
    program = (
        "import importlib.metadata as m, json, sys, platform; found = {d.name.lower(): d.version for d in "
        "m.distributions()}; print(json.dumps({'Python': platform.python_version()} | "
        f"{{name: found[name] for name in {SHOWN!r} if name in found}}))"
    )
    answer = subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=True)
    return dict(json.loads(answer.stdout))


def run(command: Sequence[object]) -> None:
    subprocess.run([str(word) for word in command], check=True)


if __name__ == "__main__":
    main()
