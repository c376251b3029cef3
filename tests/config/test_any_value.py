"""Whatever a configuration holds, it is read or refused in words: no value of any type ends in a traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from neuronspec.config.loading import load_config, read_sweeps
from neuronspec.config.registered import find_section
from neuronspec.config.schema import Config
from neuronspec.config.sweeps import list_points, name_point
from neuronspec.errors import NeuronspecError
from neuronspec.methods import method_options

METHODS = method_options()
RECIPE = """
languages: [de, sv]
data: {train: [{path: "{lang}.tsv"}], hold_out: {valid: 0.1, test: 0.1}}
model: {preset: tiny}
methods: {fine_tune: {}, adapters: {bottleneck: 4}}
"""


def list_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield prefix + name
        inner = find_section(field)
        if inner is not None:
            yield from list_keys(inner, f"{prefix}{name}.")


KEYS = [
    *list_keys(Config),
    *("method", "methods.fine_tune", "methods.x", "methods.x.method", "methods.adapters.method"),
    *("methods.adapters.seed", "methods.adapters.bottleneck", "select.layer_k.x", "score.levels.x", "unknown"),
]
WORDS = [
    "",
    "en",
    "en-de",
    "all",
    "auto",
    "fine_tune",
    "adapters",
    "~nobody-here/x",
    "tiny",
    "ctranslate2",
    "a{99999999999}",
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(1 << 70),
    st.floats(),
    st.sampled_from(WORDS),
    st.text(max_size=4),
    st.dates(),
    st.binary(max_size=2),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=2),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("any") / "my.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def open_all(recipe: Path, overrides: list[str], changes: dict[str, Any]) -> None:
    """Read a configuration as the verbs do: as one run, and as the points of a sweep."""
    with contextlib.suppress(NeuronspecError):
        sweeps, _ = read_sweeps(recipe, overrides, METHODS, changes)
        for point in list_points(sweeps)[:2]:
            assert name_point(point) or not sweeps
            load_config(recipe, overrides, METHODS, {**changes, **point}, warns=False)
        load_config(recipe, overrides, METHODS, changes, warns=False)


@settings(max_examples=150)
@given(key=st.sampled_from(KEYS), value=VALUES)
@example(key="seed", value=[[1, 2], [3]])
@example(key="method", value=[["fine_tune"], ["adapters"]])
@example(key="method", value={"a": 1})
@example(key="methods.x.method", value=["fine_tune", "adapters"])
@example(key="methods", value={1: {}, None: 3, "x": {"method": {}}})
@example(key="out", value="~nobody-here/x")
def test_any_value_of_any_key_is_read_or_refused(recipe: Path, key: str, value: Any) -> None:
    open_all(recipe, [], {key: value})


@settings(max_examples=50)
@given(key=st.sampled_from(KEYS), text=st.text("ab1-_.:,[]{}!&*?|>'\"%@`=~# \t\n", max_size=8))
@example(key="name", text="2026-13-45")
@example(key="name", text="!!int x")
@example(key="name", text="!!bool x")
@example(key="name", text="!!timestamp x")
@example(key="name", text="!!map [a]")
@example(key="data", text="&a [*a]")
@example(key="select.k", text="[" * 3000)
def test_any_text_on_the_command_line_is_read_or_refused(recipe: Path, key: str, text: str) -> None:
    open_all(recipe, [f"{key}={text}"], {})


@pytest.mark.parametrize("text", ["name: 2026-13-45", "name: !!int x", "data: !!map [a]", "a: " + "[" * 3000, "1: 2"])
def test_a_file_that_yaml_cannot_convert_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(NeuronspecError, match=r"broken\.yaml (is not valid YAML|does not fit)"):
        load_config(tmp_path / "broken.yaml")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=[[1,2],[3]]", "seed: expected whole numbers from 0 on, as in seed=[1,2], not [[1,2],[3]]"),
        ("seed=[1,true]", "seed: expected whole numbers from 0 on"),
        (
            "method=[[fine_tune],[adapters]]",
            "method: expected names of methods, as in method=[fine_tune,adapters], not",
        ),
        ("method={a: 1}", "method: expected names of methods"),
        ("method=null", "method: expected names of methods"),
        ("methods.x.method=[fine_tune,adapters]", "methods.x.method: expected the name of a method, not [fine_tune,ad"),
        ("methods.fine_tune=false", "methods.fine_tune: input should be a valid dictionary, not False"),
        (f"methods.fine_tune.seed={1 << 63}", "methods.fine_tune.seed: must be a whole number from 0 on"),
        ("select.k=[[0.7],0.7]", "select.k: [0.7] is a list within a list of values: write one list of values"),
        ("languages=[[de],[[de],[sv]]]", "languages: [[de],[sv]] is a list within a list of values"),
        ("out=", "out: expected the name of a directory, as in out=runs/mine"),
    ],
)
def test_what_a_shorthand_cannot_mean_is_refused(recipe: Path, override: str, said: str) -> None:
    with pytest.raises(NeuronspecError) as caught:
        load_config(recipe, [override], METHODS)
    assert said in str(caught.value)


def test_the_recipe_of_these_tests_fits(recipe: Path) -> None:
    assert list(load_config(recipe, (), METHODS).methods) == list(yaml.safe_load(RECIPE)["methods"])
