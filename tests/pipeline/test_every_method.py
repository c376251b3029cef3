"""Every method in one run: trained, killed and gone on with, compared with its cost, and used for translation."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file
from tests.patience import PATIENCE
from tests.processes import COMMAND, Process, call
from transformers import AutoModelForSeq2SeqLM

from neuronspec.cli.main import main
from neuronspec.config.loading import load_config
from neuronspec.config.schema import Config
from neuronspec.data.test_sets import read_test_set
from neuronspec.data.texts import Texts
from neuronspec.methods import METHODS, method_options
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.run_results import load_results, tabulate

RUN = (*COMMAND, "run", "toy.yaml")
WAYS: dict[str, dict[str, object]] = {
    "fine_tune": {},
    "neuron_specialization": {},
    "ours_enc": {"method": "neuron_specialization", "stacks": "encoder"},
    "random_neurons": {},
    "shared_mask": {},
    "permuted_masks": {},
    "family_masks": {},
    "neuron_allocation": {},
    "adapters": {"bottleneck": 4},
    "adapters_family": {"method": "adapters", "by": "family", "bottleneck": 4},
    "lass": {"search_updates": 4},
    "lora": {"rank": 2},
    "parameter_differentiation": {"upper_bound": 0.3},
}
CONTINUED = {
    "updates": 6,
    "learning_rate": 2.0e-3,
    "warmup": 0,
    "schedule": "constant",
    "validate_every": 3,
    "checkpoint_every": 2,
    "select": "last",
}


def write(folder: Path, write_project: Callable[..., None]) -> None:
    write_project(folder, sentences=120)
    values = yaml.safe_load((folder / "toy.yaml").read_text(encoding="utf-8"))
    values |= {"methods": WAYS, "continued": CONTINUED, "zero_shot": "all"}
    values["train"] |= {"updates": 6}
    values["analyze"] = {"figures": False, "permutations": 99, "examples": 0}  # nothing of this is looked at here
    (folder / "toy.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def load(folder: Path) -> tuple[Config, Layout]:
    config = load_config(folder / "toy.yaml", [f"out={folder / 'run'}"], method_options())
    return config, Layout(config.out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, write_project: Callable[..., None]) -> Path:
    """A run that went through undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    write(folder, write_project)
    done = call(RUN, folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_method_is_among_them() -> None:
    # Methods that add languages have a run of their own, which starts from a finished one: test_added_language.py.
    here = {name for name, kind in METHODS.items() if not kind.extends}
    assert {str(options.get("method", name)) for name, options in WAYS.items()} == here


@pytest.mark.parametrize("way", WAYS)
def test_the_model_of_every_method_is_an_ordinary_directory(whole: Path, way: str) -> None:
    _, layout = load(whole)
    model, loading = AutoModelForSeq2SeqLM.from_pretrained(layout.model(way), output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    weights, before = (load_file(layout.model(name) / "model.safetensors") for name in (way, "pretrained"))
    moved = {name for name in weights if not weights[name].equal(before[name])}
    assert bool(moved) == (not way.startswith(("adapters", "lora")))  # whose backbone is frozen
    assert model.config.model_type == "m2m_100"


def test_what_each_method_added_is_told(whole: Path) -> None:
    config, layout = load(whole)
    report = load_results(config, layout)
    costs = report.study.costs
    added = {way: costs[way].parameters_added for way in WAYS}
    # 2 layers a stack, 2 adapters a layer of 128: a norm, 4 down, 4 up, with biases; 4 directions, or 2 families' sides
    one = 2 * 128 + 128 * 4 + 4 + 4 * 128 + 128
    assert added["adapters"] == 4 * 8 * one
    assert added["adapters_family"] == 2 * 8 * one
    base = costs["pretrained"].parameters
    assert 0 < added["parameter_differentiation"] <= 0.3 * base
    assert {way for way, count in added.items() if not count} == {*WAYS} - {
        "adapters",
        "adapters_family",
        "lora",
        "parameter_differentiation",
    }
    assert {way for way in WAYS if not costs[way].extra_bytes} == {"fine_tune"}
    searched = {way for way in WAYS if costs[way].search_seconds is not None}
    controls = {"random_neurons", "shared_mask", "permuted_masks", "family_masks"}
    assert searched == {"neuron_specialization", "ours_enc", "neuron_allocation", "lass"} | controls
    assert costs["lass"].extra_bytes > costs["neuron_specialization"].extra_bytes
    assert len({costs[way].target_tokens for way in WAYS}) == 1  # the same batches
    tables = tabulate(report)
    rows = {row["system"]: row for row in tables["efficiency"].to_json()}
    assert rows["LaSS"]["parameters added"] == 0
    assert rows["adapters"]["parameters added"] == added["adapters"]
    assert set(tables) >= {"averages", "outcomes", "levels.bleu", "zero_shot.bleu", "quality"}


@pytest.mark.parametrize("way", ["ours_enc", "adapters", "lass", "lora", "parameter_differentiation"])
@pytest.mark.parametrize("task", ["en-de", "de-sv"])
def test_a_saved_model_translates_by_itself_as_in_its_run(
    whole: Path, way: str, task: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config, layout = load(whole)
    sources, _ = read_test_set(Texts.load(layout.text), task, config.directions(), "en")
    (tmp_path / "sources").write_text("".join(f"{line}\n" for line in sources), encoding="utf-8")
    command = ["translate", "--model", str(layout.model(way)), "--beams", "1", task, "--input", "sources"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["neuronspec", *command, "--to", "out"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    translated = (tmp_path / "out").read_text(encoding="utf-8").splitlines()
    expected = (layout.translations(way) / f"{task}.txt").read_text(encoding="utf-8").splitlines()
    # the run stops after 8 tokens, the command line after 200
    assert all(long.startswith(short) for long, short in zip(translated, expected, strict=True))


# Short: within the search of masks, and in the trainings that keep more than weights: each has tests of its own, too.
SEARCH = "search"
SOME = (SEARCH, "lass", "parameter_differentiation")


@pytest.mark.parametrize(
    "ways", [pytest.param(SOME, id="some"), pytest.param((*WAYS, SEARCH), id="every", marks=pytest.mark.attack)]
)
def test_r1_every_method_killed_while_it_trains_ends_with_the_same_bits(
    ways: Sequence[str], whole: Path, tmp_path: Path, write_project: Callable[..., None]
) -> None:
    write(tmp_path, write_project)
    _, layout = load(tmp_path)
    places = {way: layout.training(way) / "checkpoints" / "checkpoint-000002" for way in WAYS}

    # In the order of the run, in which the search comes right before its training
    order = [*WAYS]
    order.insert(order.index("lass"), SEARCH)
    places[SEARCH] = layout.search("lass") / "fine_tuning"
    for place in (places[way] for way in order if way in ways):
        process = Process(RUN, tmp_path)
        deadline = time.monotonic() + PATIENCE
        while not place.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGKILL)
        process.communicate()

    done = call(RUN, tmp_path)
    assert done.returncode == 0, done.stderr
    expected = Layout(load(whole)[0].out)
    for way in WAYS:
        for file in sorted(expected.model(way).iterdir()):
            assert (layout.model(way) / file.name).read_bytes() == file.read_bytes(), (way, file.name)
    for name in ("scores.jsonl", "comparisons.jsonl"):
        assert (layout.scores / name).read_bytes() == (expected.scores / name).read_bytes()
    seconds = json.loads(layout.record("search.lass").read_text(encoding="utf-8"))["seconds"]
    assert seconds > 0
