from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from tests.patience import PATIENCE

import neuronspec
from neuronspec.errors import NeuronspecError

SOURCE = Path(neuronspec.__file__).parent
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
    with pytest.raises(AttributeError, match="module 'neuronspec' has no attribute 'specialise'"):
        neuronspec.specialise  # noqa: B018
    assert neuronspec.NeuronspecError is NeuronspecError


def test_type_checkers_see_exactly_the_public_names() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    [guarded] = [node for node in tree.body if isinstance(node, ast.If)]
    imported = [node for node in guarded.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.asname: node.module for node in imported for alias in node.names}
    assert sorted(str(name) for name in seen) == sorted(set(neuronspec.__all__) - {"__version__"})
    for name, module in seen.items():
        assert getattr(importlib.import_module(str(module)), str(name)) is getattr(neuronspec, str(name))


@pytest.mark.parametrize(
    "program", [f"import {', '.join(LIGHT)}", "import neuronspec.config.schema", "import neuronspec.cli.main"]
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
