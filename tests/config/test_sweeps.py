"""Which lists of a configuration are sweeps, and which mean what they always did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from neuronspec.config.loading import load_config, read_sweeps
from neuronspec.config.sweeps import find_sweeps, list_points, name_point, show_value
from neuronspec.errors import NeuronspecError
from neuronspec.methods import method_options
from neuronspec.names import child


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"select": {"k": [0.9, 0.7, 0.8]}}, {"select.k": [0.7, 0.8, 0.9]}),
        ({"select": {"k": [1, 1.0, 0.5]}}, {"select.k": [0.5, 1.0]}),
        ({"select": {"k": ["auto", 0.5]}}, {"select.k": [0.5, "auto"]}),
        ({"select": {"rule": ["top", "coverage"]}}, {"select.rule": ["coverage", "top"]}),
        ({"select": {"encoder_k": [None, 0.5]}}, {"select.encoder_k": [0.5, None]}),
        ({"select": {"options": {"seed": [2, 1]}}}, {"select.options.seed": [1, 2]}),
        ({"model": {"dropout": [0.1, 0]}}, {"model.dropout": [0.0, 0.1]}),
        ({"prepare": {"vocabulary": {"size": [64, 128]}}}, {"prepare.vocabulary.size": [64, 128]}),
        ({"ablate": [True, False]}, {"ablate": [False, True]}),
        ({"languages": [["de"], ["de", "sv"]]}, {"languages": [["de", "sv"], ["de"]]}),
        ({"score": {"metrics": [["bleu"], ["chrf"]]}}, {"score.metrics": [["bleu"], ["chrf"]]}),
        ({"zero_shot": ["all", ["de-sv"]]}, {"zero_shot": [["de-sv"], "all"]}),
        ({"train": {"adam_betas": [[0.9, 0.98], [0.9, 0.999]]}}, {"train.adam_betas": [[0.9, 0.98], [0.9, 0.999]]}),
        (
            {"methods": {"adapters": {"bottleneck": [64, 128]}}},
            {"methods.adapters.bottleneck": [64, 128]},
        ),
        (
            {"methods": {"mine": {"method": "adapters", "bottleneck": [64, 128], "seed": [2, 1]}}},
            {"methods.mine.bottleneck": [64, 128], "methods.mine.seed": [1, 2]},
        ),
        # Lists that have a meaning of their own
        ({"languages": ["de", "fr"]}, {}),
        ({"score": {"metrics": ["bleu", "chrf"]}}, {}),
        ({"score": {"levels": {"high": ["de", "fr"]}}}, {}),
        ({"data": {"train": [{"path": "a"}, {"path": "b"}]}}, {}),
        ({"train": {"adam_betas": [0.9, 0.98]}}, {}),
        ({"seed": [1, 2], "method": ["fine_tune", "lass"]}, {}),
        ({"out": ["a", "b"]}, {}),
        # What fits nowhere is left for the checks
        ({"select": {"k": [2, 3]}}, {}),
        ({"select": {"k": []}}, {}),
        ({"select": {"kk": [0.7, 0.8]}}, {}),
        ({"select": [1, 2]}, {}),
        ({"methods": {"unknown": {"bottleneck": [64, 128]}}}, {}),
        ({"methods": ["fine_tune"]}, {}),
    ],
)
def test_a_list_is_a_sweep_where_the_key_takes_a_single_value(values: dict[str, Any], found: dict[str, Any]) -> None:
    assert find_sweeps(values, method_options()) == found


def test_no_order_of_keys_or_values_matters() -> None:
    one = find_sweeps({"select": {"k": [0.9, 0.7], "rule": ["top", "coverage"]}, "seed": 1})
    other = find_sweeps({"select": {"rule": ["coverage", "top"], "k": [0.7, 0.9, 0.9]}})
    assert [name_point(point) for point in list_points(one)] == [name_point(point) for point in list_points(other)]
    assert len(list_points(one)) == 4


def test_points_have_different_directories_whatever_their_values() -> None:
    values = [0.5, "0.5", "a/b", "a", ["a", "b"], "[a,b]", None, "null", True, {"x": 1}, "..", "x" * 300]
    names = [name_point({"key": value}) for value in values]
    assert len(set(names)) == len(values)
    assert len({child(Path("out"), name) for name in names}) == len(values)
    assert show_value(["bleu", "chrf"]) == "[bleu,chrf]"


RECIPE = """
languages: [de]
data: {train: [{path: "corpus.{lang}.tsv"}], hold_out: {valid: 0.1, test: 0.1}}
model: {preset: tiny}
methods: {fine_tune: {}, adapters: {bottleneck: [4, 8]}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def test_sweeps_stand_in_the_file_and_on_the_command_line(recipe: Path) -> None:
    sweeps, _ = read_sweeps(recipe, ["select.k=[0.7,0.8]"], method_options())
    assert sweeps == {"methods.adapters.bottleneck": [4, 8], "select.k": [0.7, 0.8]}
    sweeps, _ = read_sweeps(recipe, ["methods.adapters.bottleneck=4"], method_options())
    assert sweeps == {}
    sweeps, _ = read_sweeps(recipe, ["method=fine_tune"], method_options())
    assert sweeps == {}  # the options of a method that is left out mean nothing


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (np.array([0.7, 0.8]), [0.7, 0.8]),
        (list(np.array([0.8, 0.7])), [0.7, 0.8]),
        ((0.7, 0.8), [0.7, 0.8]),
        (range(2), [0.0, 1.0]),
        ([np.int64(0), np.float64(0.5)], [0.0, 0.5]),
    ],
)
def test_values_of_a_program_are_swept_as_those_of_a_file(recipe: Path, given: Any, found: list[float]) -> None:
    changes = {"methods.adapters.bottleneck": np.int64(4), "select.k": given}
    sweeps, written = read_sweeps(recipe, (), method_options(), changes)
    assert sweeps == {"select.k": found}
    assert [name_point(point) for point in list_points(sweeps)] == [f"select.k={value}" for value in found]
    assert yaml.safe_load(yaml.safe_dump(written))["methods"]["adapters"] == {"bottleneck": 4}


def test_values_of_a_program_are_stored_as_those_of_a_file(recipe: Path, tmp_path: Path) -> None:
    changes = {
        "methods.adapters": {"bottleneck": np.int64(8)},
        "select.layer_k": {"decoder.0": np.float64(0.5)},
        "train.adam_betas": np.array([0.5, 0.9]),
        "data.train": ({"path": tmp_path / "{lang}.tsv"},),
        "out": tmp_path / "out",
        "analyze.against": {"other": tmp_path},
    }
    config = load_config(recipe, (), method_options(), changes)
    assert config.methods["adapters"] == {"bottleneck": 8}
    stored = tmp_path / "stored.yaml"
    stored.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    assert load_config(stored, (), method_options()) == config


def test_a_configuration_with_several_values_is_no_single_run(recipe: Path) -> None:
    with pytest.raises(NeuronspecError, match=r"methods.adapters.bottleneck has several values \(4, 8\): choose one"):
        load_config(recipe, (), method_options())
    config = load_config(recipe, ["methods.adapters.bottleneck=8"], method_options())
    assert config.methods["adapters"] == {"bottleneck": 8}


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("select.kk=[0.7,0.8]", "unknown key select.kk"),
        ("select.k=[2,3]", "select.k: must be a share from 0 to 1, or auto"),
        ("methods.adapters.bottle=[4,8]", "unknown key methods.adapters.bottle"),
        ("score.metrics=[blue]", "score.metrics"),
    ],
)
def test_a_list_that_fits_nowhere_is_explained(recipe: Path, override: str, found: str) -> None:
    with pytest.raises(NeuronspecError, match=found):
        load_config(recipe, ["methods.adapters.bottleneck=8", override], method_options())
