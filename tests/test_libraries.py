"""A library that is missing, and one that is there but broken, are told apart: each message can be followed."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from neuronspec.errors import NeuronspecError
from neuronspec.libraries import find_library, import_library


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that modules are imported from, and forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("odd")]:
        del sys.modules[name]


def test_a_library_that_is_missing_names_its_extra() -> None:
    for look in (import_library, find_library):
        with pytest.raises(NeuronspecError) as refused:
            look("oddlib", "tokenised BLEU", "moses")
        advice = "pip install 'neuronspec[moses]', or pip install oddlib"
        assert str(refused.value) == f"tokenised BLEU needs oddlib, which is not installed: {advice}"


def test_a_library_without_an_extra_names_no_extra() -> None:
    with pytest.raises(NeuronspecError) as refused:
        import_library("oddlib.inner", "identifying languages", requirement="oddlib>=0.4")
    assert str(refused.value) == "identifying languages needs oddlib, which is not installed: pip install 'oddlib>=0.4'"


@pytest.mark.parametrize("line", ["import oddneed", "from oddneed.inner import x", "import oddneed.inner"])
@pytest.mark.parametrize("module", ["oddlib", "oddlib.inner"])
def test_a_missing_dependency_is_not_taken_for_the_library(place: Path, line: str, module: str) -> None:
    (place / "oddlib").mkdir()
    (place / "oddlib" / "__init__.py").write_text("")
    (place / "oddlib" / ("__init__.py" if module == "oddlib" else "inner.py")).write_text(line)
    with pytest.raises(NeuronspecError) as refused:
        import_library(module, "tokenised BLEU", "moses")
    assert str(refused.value) == (
        "tokenised BLEU needs oddlib, which is installed, but oddlib itself needs oddneed, which is not: "
        "pip install oddneed"
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise OSError('libcudart.so.12: cannot open shared object file')", "libcudart.so.12: cannot open shared"),
        (
            "raise ImportError('numpy.core.multiarray failed to import\\nmore')",
            "numpy.core.multiarray failed to import",
        ),
        ("import numpy; numpy.nosuchthing", "has no attribute 'nosuchthing'"),
        ("from json import nosuchthing", "cannot import name 'nosuchthing'"),
        ("def", "invalid syntax"),
    ],
)
def test_a_broken_library_is_not_called_missing(place: Path, body: str, reason: str) -> None:
    (place / "oddlib.py").write_text(body)
    with pytest.raises(NeuronspecError, match="oddlib, which is installed but cannot be imported") as refused:
        import_library("oddlib", "LoRA", "lora")
    assert reason in str(refused.value)
    assert "pip install --force-reinstall 'oddlib'" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_script_of_the_same_name_is_not_taken_for_the_library(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "oddlib" / "data").mkdir(parents=True)
    (place / "oddlib" / "__init__.py").write_text("raise RuntimeError")
    scripts = place / "bin"
    scripts.mkdir()
    (scripts / "oddlib.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(scripts)
    assert find_library("oddlib", "analyze.uriel", "uriel").submodule_search_locations == [str(place / "oddlib")]


def test_every_extra_that_a_message_names_is_one() -> None:
    root = Path(__file__).parents[1]
    extras = set(tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
    texts = [
        path.read_text("utf-8") for path in [*root.glob("src/**/*.py"), *root.glob("docs/*.md"), root / "README.md"]
    ]
    named = {name for text in texts for name in re.findall(r"neuronspec\[([a-z0-9]+)\]", text)}
    asked = {name for text in texts for name in re.findall(r"(?:import|find)_library\(.*, \"(\w+)\"\)", text)}
    assert named
    assert {"ct2", "lora", "moses", "hub", "uriel"} <= asked
    assert named | asked <= extras
