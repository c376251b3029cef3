"""The run under attack: every method of the registry, on a few sentences, in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from tests.pipeline import test_added_language
from tests.pipeline.conftest import write_project

from neuronspec.methods import METHODS

# What would take too long, or not fit so small a model; methods without an entry have their default options
OPTIONS: dict[str, dict[str, object]] = {
    "adapters": {"bottleneck": 4},
    "lass": {"search_updates": 2},
    "lora": {"rank": 2},
    "parameter_differentiation": {"upper_bound": 0.3},
}
TRAINING = {
    **{"updates": 4, "learning_rate": 3.0e-3, "warmup": 0, "schedule": "constant", "validate_every": 2},
    **{"checkpoint_every": 1, "keep_checkpoints": 2, "select": "last"},
}


def list_methods(*, extends: bool = False) -> dict[str, dict[str, object]]:
    """Return the options of every method that is registered, by name.

    Args:
        extends: Whether to return those that add languages to a model, which start from a finished run.
    """
    return {name: dict(OPTIONS.get(name, {})) for name, kind in METHODS.items() if kind.extends == extends}


def write(folder: Path, methods: Mapping[str, Mapping[str, object]], **changes: Any) -> None:
    """Write a corpus and the recipe `toy.yaml` into a folder.

    Args:
        folder: Folder that exists.
        methods: Options of the methods of the run, by name.
        changes: Sections of the recipe, merged with those that are there.
    """
    write_project(folder, sentences=60)
    recipe = yaml.safe_load((folder / "toy.yaml").read_text(encoding="utf-8"))
    recipe |= {"model": {"preset": "attacked"}, "continued": TRAINING, "methods": dict(methods)}
    recipe |= {"train": TRAINING, "prepare": {"vocabulary": {"size": 80}}, "out": str(folder / "run")}
    recipe |= {"analyze": {"figures": False, "permutations": 99, "examples": 1}, "score": {"trials": 100}}
    for section, values in changes.items():
        recipe[section] = {**recipe.get(section, {}), **values}
    (folder / "toy.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")


def write_extension(folder: Path, base: Path) -> None:
    """Write a recipe that adds Greek to the model of a finished run, with every method that can do that.

    Args:
        folder: Folder that exists.
        base: Directory of a specialized model, which knows German and Swedish.
    """
    test_added_language.write(folder, base)
    recipe = yaml.safe_load((folder / "greek.yaml").read_text(encoding="utf-8"))
    recipe["model"]["extend"] |= {"min_neurons": 4, "sentences": 2}
    recipe |= {"continued": TRAINING | {"weight_decay": 0.1}, "methods": list_methods(extends=True)}
    (folder / "toy.yaml").write_text(yaml.safe_dump(recipe | {"out": str(folder / "run")}), encoding="utf-8")
