"""The record stage: task by task, over interruptions and processes, as the configuration says."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.pipeline.running import run
from tests.processes import COMMAND, Completed, call, call_together
from tests.stage_lines import read_stages
from transformers import PreTrainedModel

from neuronspec.config.loading import load_config
from neuronspec.config.schema import Config
from neuronspec.data.texts import Texts, read_columns
from neuronspec.files import hash_path, read_json
from neuronspec.methods import method_options
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.models.text_batches import make_batches
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.filenames import COUNTS_FILE
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.recording import record_activations
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.stages import record as stage

TASKS = ["en-de", "en-sv", "de-en", "sv-en"]
OVERRIDES = ["train.updates=0", "methods={}"]
# `neuronspec record` that is killed by SIGKILL, not to be caught, after the first batch of its third task.
KILLED = """
import os, signal, sys
from neuronspec.cli.main import main
from neuronspec.pipeline.stages import record as stage

record, calls = stage.record_activations, []

def interrupted(model, batches, *arguments, **options):
    calls.append(None)
    def cut():
        for batch in batches:
            yield batch
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
    return record(model, cut(), *arguments, **options)

stage.record_activations = interrupted
sys.argv = ["neuronspec", "record", *sys.argv[1:]]
main()
"""


def load(folder: Path, *overrides: str, out: str = "run") -> Config:
    return load_config(folder / "toy.yaml", [f"out={folder / out}", *OVERRIDES, *overrides], method_options())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, write_project: Callable[..., None]) -> Path:
    """A project with a run `run` that is ready to be recorded. Read only."""
    folder = tmp_path_factory.mktemp("recording")
    write_project(folder)
    run(load(folder), until="train")
    return folder


@pytest.fixture(scope="module")
def recorded(trained: Path) -> Layout:
    """The same run, recorded undisturbed. Read only."""
    shutil.copytree(trained / "run", trained / "recorded")
    return run(load(trained, out="recorded"), until="record")


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run to record, with the original's corpora."""
    shutil.copytree(trained / "run", tmp_path / "run")
    recipe = (trained / "toy.yaml").read_text(encoding="utf-8")
    (tmp_path / "toy.yaml").write_text(recipe.replace('"corpus.', f'"{trained}/corpus.'), encoding="utf-8")
    return tmp_path


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that are recorded from now on."""
    tasks: list[str] = []

    def watch(model: PreTrainedModel, batches: Iterable[Any], *arguments: Any, **options: Any) -> ActivationCounts:
        counts = record_activations(model, batches, *arguments, **options)
        tasks.extend(counts.tasks)
        return counts

    monkeypatch.setattr(stage, "record_activations", watch)
    return tasks


def counts_of(layout: Layout) -> bytes:
    return (layout.counts / COUNTS_FILE).read_bytes()


def read_valid(layout: Layout) -> dict[str, list[tuple[str, str]]]:
    """Return the validation pairs of every task, from the run's text."""
    texts = Texts.load(layout.text)
    pairs = {pair: [tuple(columns) for columns in read_columns(texts.path("valid", pair))] for pair in TASKS[:2]}
    forward = {pair: [(left, right) for left, right in rows] for pair, rows in pairs.items()}
    backward = {
        "-".join(reversed(pair.split("-"))): [(right, left) for left, right in rows] for pair, rows in forward.items()
    }
    return forward | backward


def record_by_hand(layout: Layout, **options: Any) -> ActivationCounts:
    model, tokenizer = load_model(layout.model("pretrained")), load_tokenizer(layout.vocabulary)
    return record_activations(model, make_batches(model, tokenizer, read_valid(layout), tokens_per_batch=90), **options)


def assert_same(one: ActivationCounts, other: ActivationCounts) -> None:
    assert (one.tasks, one.layers, one.unit) == (other.tasks, other.layers, other.unit)
    for mine, theirs in ((one.values, other.values), (one.totals, other.totals)):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_r5_a_run_counts_what_recording_its_validation_text_by_hand_counts(recorded: Layout) -> None:
    counts = ActivationCounts.load(recorded.counts)
    assert list(counts.tasks) == TASKS
    assert_same(counts, record_by_hand(recorded))
    assert counts.signature["model"] == hash_path(recorded.model("pretrained") / "model.safetensors")
    assert counts.signature["data"] == hash_path(recorded.tokens("valid"))
    assert counts.signature["ignored"] == "padding"
    assert not recorded.recording.exists()


def test_r1_recording_goes_on_after_sigkill_and_ends_with_the_same_bits(
    project: Path, recorded: Layout, made: list[str]
) -> None:
    layout = Layout(project / "run")
    killed = call(["-c", KILLED, "toy.yaml", "record.tokens_per_batch=90", *OVERRIDES], project)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert read_stages(killed.stderr.splitlines()) == ["prepare: done before", "train: done before"]
    assert not layout.counts.exists()
    files = {task: layout.recording / task / COUNTS_FILE for task in TASKS[:2]}
    assert sorted(path for path in layout.recording.rglob("*") if path.is_file()) == sorted(files.values())
    whole = ActivationCounts.load(recorded.counts)
    for number, (task, file) in enumerate(files.items()):  # each is there whole
        part = ActivationCounts.load(file)
        assert part.tasks == (task,)
        assert all(torch.equal(part.values[layer][0], whole.values[layer][number]) for layer in whole.layers)
    run(load(project), until="record")
    assert made == TASKS[2:]  # what was done was not done again
    assert counts_of(layout) == counts_of(recorded)
    assert not layout.recording.exists()


def interrupt(monkeypatch: pytest.MonkeyPatch, config: Config, after: int) -> None:
    """Record until `after` tasks are done, then be interrupted."""
    calls: list[None] = []

    def stop(*arguments: Any, **options: Any) -> ActivationCounts:
        if len(calls) == after:
            raise KeyboardInterrupt
        calls.append(None)
        return record_activations(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "record_activations", stop)
        with pytest.raises(KeyboardInterrupt):
            run(config, until="record")


def test_the_files_of_finished_tasks_are_untouched_until_all_are_there(
    project: Path, recorded: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, stamps = Layout(project / "run"), []
    for after in (1, 2, 0):
        interrupt(monkeypatch, load(project), after)
        stamps.append({path: path.stat().st_mtime_ns for path in layout.recording.rglob("*.safetensors")})
    assert [len(found) for found in stamps] == [1, 3, 3]
    assert stamps[0].items() <= stamps[1].items()
    assert stamps[1] == stamps[2]
    run(load(project), until="record")
    assert counts_of(layout) == counts_of(recorded)


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ("record.unit=token", {"unit": "token"}),
        ("record.threshold=0.2", {"threshold": 0.2}),
        ("record.ignore=[end_of_sentence]", {"ignore": [2]}),
    ],
)
def test_unfinished_counts_of_another_kind_are_thrown_away(
    project: Path, made: list[str], monkeypatch: pytest.MonkeyPatch, change: str, options: dict[str, Any]
) -> None:
    interrupt(monkeypatch, load(project), 2)
    layout = run(load(project, change), until="record")
    assert made == TASKS
    assert_same(ActivationCounts.load(layout.counts), record_by_hand(layout, **options))


def test_unfinished_counts_serve_whatever_will_be_selected_from_them(
    project: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(monkeypatch, load(project), 2)
    run(load(project, "select.k=0.5", "select.rule=top"), until="record")
    assert made == TASKS[2:]


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("record.unit=token", True),
        ("record.ignore=[tags]", True),
        ("record.ignore=[end_of_sentence]", True),
        ("record.threshold=0.1", True),
        ("record.gated_at=product", True),
        ("record.means=true", True),
        ("record.states=true", True),
        ("select.k=0.5", False),
        ("select.k=auto", False),
        ("select.decoder_k=0.5", False),
        ("select.layer_k={decoder.0: 0.5}", False),
        ("select.rule=top", False),
        ("record.tokens_per_batch=64", False),
        ("continued.updates=3", False),
    ],
)
def test_what_decides_the_counts_makes_them_again(
    project: Path, recorded: Layout, made: list[str], change: str, again: bool
) -> None:
    shutil.rmtree(project / "run")
    shutil.copytree(recorded.out, project / "run")
    run(load(project), until="record")
    assert made == []
    run(load(project, change), until="record")
    assert made == (TASKS if again else [])
    run(load(project, change), until="record")
    assert made == (TASKS if again else [])


@pytest.fixture(scope="module")
def together(trained: Path) -> tuple[Layout, list[Completed]]:
    """The same run, on two processes recorded and searched for k: where it is, and what came of each process."""
    shutil.copytree(trained / "run", trained / "together")
    words = ["select", "toy.yaml", "--auto-k", "--out", "together", *OVERRIDES]
    return Layout(trained / "together"), call_together([*COMMAND, *words], trained)


def test_r5_two_processes_count_what_one_does(together: tuple[Layout, list[Completed]], recorded: Layout) -> None:
    layout, processes = together
    assert layout.counts.exists(), processes
    assert counts_of(layout) == counts_of(recorded)
    assert not layout.recording.exists()


def test_two_processes_search_for_k_as_one_does(
    together: tuple[Layout, list[Completed]], project: Path, recorded: Layout
) -> None:
    layout, processes = together
    assert [done.returncode for done in processes] == [0, 0], processes
    said = "".join(done.stdout + done.stderr for done in processes)
    assert said.count("the masks are in together/select") == 1
    shutil.rmtree(project / "run")
    shutil.copytree(recorded.out, project / "run")
    alone = run(load(project, "select.k=auto"), until="select")
    assert read_json(layout.curve)["chosen"] == read_json(alone.curve)["chosen"]
    assert NeuronMasks.from_pretrained(layout.masks) == NeuronMasks.from_pretrained(alone.masks)


def test_means_and_states_of_every_task_are_put_together(project: Path) -> None:
    layout = run(load(project, "record.means=true", "record.states=true"), until="record")
    counts, expected = ActivationCounts.load(layout.counts), record_by_hand(layout, means=True, states=True)
    assert_same(counts, expected)
    assert counts.state_tasks is not None
    assert expected.state_tasks is not None
    assert torch.equal(counts.state_tasks, expected.state_tasks)
    for layer in counts.layers:
        torch.testing.assert_close(counts.means[layer], expected.means[layer], rtol=1e-4, atol=1e-6)
        assert torch.equal(counts.states[layer], expected.states[layer])
        active = torch.from_numpy(np.unpackbits(counts.states[layer].numpy(), axis=1, count=counts.widths[layer]))
        for number in range(len(TASKS)):  # the states say again what was counted
            assert torch.equal(active[counts.state_tasks == number].sum(0).long(), counts.values[layer][number])


def test_threshold_unit_and_ignored_tokens_reach_the_counts(project: Path) -> None:
    keys = ("threshold=0.1", "unit=token", "ignore=[tags, end_of_sentence]")
    layout = run(load(project, *(f"record.{key}" for key in keys)), until="record")
    counts, tokenizer = ActivationCounts.load(layout.counts), load_tokenizer(layout.vocabulary)
    tags = [tokenizer.convert_tokens_to_ids(f"__{language}__") for language in ("de", "en", "sv")]
    ignored = sorted([*tags, tokenizer.eos_token_id])
    assert counts.signature["ignored"] == " ".join(map(str, ignored))
    assert (counts.signature["threshold"], counts.unit) == ("0.1", "token")
    assert_same(counts, record_by_hand(layout, threshold=0.1, unit="token", ignore=ignored))
    for task, pairs in read_valid(layout).items():  # without tags and ends, the tokens are those of the text
        for stack, side in zip(("encoder", "decoder"), zip(*pairs, strict=True), strict=True):
            ids = tokenizer(list(side), add_special_tokens=False)["input_ids"]
            assert int(counts.totals[stack][TASKS.index(task)]) == sum(map(len, ids))


@pytest.mark.parametrize(
    ("keys", "options"),
    [
        (["k=0.6", "encoder_k=0.8"], {"k": 0.6, "encoder_k": 0.8}),
        (["rule=top", "k=0.5", "layer_k={decoder.1: 0.25}"], {"rule": "top", "k": 0.5, "layer_k": {"decoder.1": 0.25}}),
        (["rule=random", "k=0.7", "options={seed: 3}"], {"rule": "random", "k": 0.7, "seed": 3}),
        (["rule=released", "decoder_k=0.5"], {"rule": "released", "k": 0.9, "decoder_k": 0.5}),
    ],
)
def test_rule_and_shares_reach_the_masks(
    keys: list[str], options: dict[str, Any], project: Path, recorded: Layout
) -> None:
    shutil.rmtree(project / "run")
    shutil.copytree(recorded.out, project / "run")
    layout = run(load(project, *(f"select.{key}" for key in keys)), until="select")
    masks = NeuronMasks.from_pretrained(layout.masks)
    expected = NeuronMasks.from_counts(ActivationCounts.load(recorded.counts), **options)
    assert masks == expected
    assert masks.signature == expected.signature
    assert masks.signature["rule"] == options.get("rule", "coverage")


def test_lape_selects_in_a_run_with_its_own_options(project: Path) -> None:
    keys = ("select.rule=lape", "record.unit=token", "select.options={share: 0.1, bar: 0.5}")
    layout = run(load(project, *keys), until="select")
    counts = ActivationCounts.load(layout.counts)
    masks = NeuronMasks.from_pretrained(layout.masks)
    assert masks == NeuronMasks.from_counts(counts, rule="lape", share=0.1, bar=0.5)
    assert (masks.signature["share"], masks.signature["bar"]) == ("0.1", "0.5")
