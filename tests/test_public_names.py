from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.patience import PATIENCE

import neuronspec
from neuronspec.errors import NeuronspecError

SOURCE = Path(neuronspec.__file__).parent
STUBS = [SOURCE / "__init__.pyi", *sorted(SOURCE.glob("*/__init__.pyi"))]
HEAVY = ("torch", "transformers", "accelerate", "matplotlib", "scipy", "sacrebleu", "tokenizers", "sentencepiece")
LIGHT = ("neuronspec", "neuronspec.errors", "neuronspec.registry", "neuronspec.files", "neuronspec.languages")


def run_fresh(program: str) -> str:
    """Run Python code in a process of its own and return its output."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=PATIENCE)
    return done.stdout


@pytest.mark.parametrize("name", neuronspec.__all__)
def test_every_public_name_is_what_it_says(name: str) -> None:
    found = getattr(neuronspec, name)
    assert name == "__version__" or (found.__name__ == name and found.__doc__)
    assert name in dir(neuronspec)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="neuronspec attribute specialise"):
        neuronspec.specialise  # type: ignore[attr-defined]  # noqa: B018
    assert neuronspec.NeuronspecError is NeuronspecError


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.parent.name)
def test_type_checkers_see_exactly_the_public_names(stub: Path) -> None:
    face = importlib.import_module(".".join(stub.relative_to(SOURCE.parent).parent.parts))
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    imported = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.asname: node.module for node in imported for alias in node.names}
    assert sorted(str(name) for name in seen) == sorted(face.__all__)
    [listed] = [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)]
    assert sorted(listed) == sorted(face.__all__)
    for name, module in seen.items():
        home = importlib.import_module(f"{face.__name__}.{module}")
        assert getattr(home, str(name)) is getattr(face, str(name))


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.parent.name)
def test_no_public_name_hides_a_module(stub: Path) -> None:
    face = importlib.import_module(".".join(stub.relative_to(SOURCE.parent).parent.parts))
    modules = {module.name for module in pkgutil.iter_modules([str(stub.parent)])}
    assert modules & set(face.__all__) == set()


FACES = ["neuronspec", *(f"neuronspec.{stub.parent.name}" for stub in STUBS[1:])]


@pytest.mark.parametrize(
    "program",
    [
        f"import {', '.join(LIGHT)}",
        f"import {', '.join(FACES)}",
        "import neuronspec.config.schema",
        "import neuronspec.cli.main",
    ],
)
def test_importing_loads_no_heavy_library(program: str) -> None:
    told = run_fresh(f"{program}, sys\nprint(*(name for name in {HEAVY} if name in sys.modules))")
    assert told.split() == []


def test_the_help_loads_no_heavy_library() -> None:
    told = run_fresh(
        "import sys\nfrom neuronspec.cli.main import main\nsys.argv = ['neuronspec', '--help']\n"
        f"try:\n    main()\nfinally:\n    print('LOADED', *(name for name in {HEAVY} if name in sys.modules))"
    )
    usage, _, loaded = told.rpartition("LOADED")
    assert "translate" in usage
    assert loaded.split() == []
