"""Names that strangers' files bring: refused where they are loaded, and never a way out of a folder."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.results import Results
from neuronspec.methods.adapters.model import ADAPTERS
from neuronspec.names import check_layers, check_names, child
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.examples import Examples
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.neuron_ablation import load_ablations

SOURCE = Path(__file__).parents[1] / "src" / "neuronspec"
HOSTILE_LAYERS = (
    *("encoder./../../../home/logo", "encoder.0/../../x", "encoder.0\\..\\x", "encoder.0\n", "encoder.0\x1b[2J"),
    *("encoder", "encoder.", "encoder.-1", "encoder.٣", "encoder.0.expert", "decoder.0 ", "", "..", "/etc/passwd"),
    *("encoder.99999", "Encoder.0", "encoder.0.expert.1.expert.2", "encoder.\x00", "decoder.1e3"),
)
HOSTILE_TASKS = (
    *("", " ", "\t", "de-en\x1b]0;owned\x07", "de\nen", "de\r-en", "de\x00en", "de\x9b2Jen", "de\u202een", "a\u2028b"),
    *("a\u2066b", "a\ud800b", "x" * 401, "\x7f"),
)
READABLE_TASKS = (
    *("de-en", "zh-Hans-en", "any name / at all", "../../etc/passwd", "می‌خواهم", "日本語-中文", "a\u200fb", "=1+1"),
    *("CON", ".hidden", "100 %", "x" * 400, "reviews in 2020"),
)


@pytest.mark.parametrize("name", HOSTILE_LAYERS)
def test_what_names_no_layer_is_refused(name: str) -> None:
    with pytest.raises(NeuronspecError, match=r"a layer is called encoder\.N or decoder\.N, not"):
        check_layers(["encoder.0", name])


@pytest.mark.parametrize("name", [*HOSTILE_TASKS, None, 1, ["de"]])
def test_what_cannot_name_a_task_is_refused_without_a_control_character(name: Any) -> None:
    with pytest.raises(NeuronspecError, match="cannot name a task") as refused:
        check_names(["de-en", name])
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


def test_any_readable_text_names_a_task() -> None:
    check_names(READABLE_TASKS)


# Paths


@pytest.mark.parametrize(
    "name",
    [
        *("de-en", "deu_Latn-zho_Hans", "pretrained+masks", "iou.encoder.0.by-tree", "en-srp-Cyrl", "日本語-中文"),
        *("reviews in 2020", "neuron_specialization.seed1", "levels.chrf++", "می‌خواهم", "x" * 200),
    ],
)
def test_ordinary_names_keep_their_file_names(name: str) -> None:
    assert child(Path("out"), name, ".txt") == Path("out", f"{name}.txt")


@pytest.mark.parametrize(
    "name",
    [
        *("..", ".", "", "/", "../x", "/etc/passwd", "a/b", "a\\b", "..\\x", "C:\\x", "C:x", "a\x00b", ".hidden", "~"),
        *(
            "CON",
            "con.txt",
            "aux",
            "NUL.tar.gz",
            "Com1",
            "lpt9.x",
            "COM²",
            "a.",
            "a ",
            " a",
            "a:b",
            "a|b",
            "a?*<>",
            "%",
        ),
        *("\x1b[2J", "a\nb", "x" * 5000, "語" * 200, "a\u202eb", "\ud800", "e\u0301", "%2E%2E", "%~"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".txt", ".safetensors"])
def test_a_hostile_name_stays_in_its_folder_on_every_system(name: str, suffix: str, tmp_path: Path) -> None:
    path = child(tmp_path / "in", name, suffix)
    assert path.parent == tmp_path / "in"
    assert path.name not in ("", ".", "..")
    assert path.name.endswith(suffix)
    for kind in (PurePosixPath, PureWindowsPath):
        assert len(kind(path.name).parts) == 1
        assert not kind(path.name).drive
    assert not PureWindowsPath(path.name).is_reserved()
    assert path.name.isprintable()
    path.parent.mkdir()
    path.write_bytes(b"")  # the file system takes it
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


letters = st.sampled_from([*"ab./\\%~:2EF \x00\n", "é", "e\u0301", "CON", "..", "%2F", "x" * 150])


@given(st.lists(st.lists(letters).map("".join), min_size=2, max_size=6, unique=True))
def test_different_names_have_different_files(names: list[str]) -> None:
    found = [child(Path("out"), name, ".txt") for name in names]
    assert len({*found}) == len(names)
    assert all(path.parent == Path("out") and len(path.name.encode()) < 250 for path in found)


def test_a_path_of_a_name_is_made_in_one_place() -> None:
    names = {"task", "layer", "system", "method", "pair", "stack", "stage", "language", "metric", "direction"}
    found = []
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                text = ast.unparse(node.right)
                if isinstance(node.right, ast.JoinedStr) or text.rpartition(".")[2] in names:
                    found.append((file.relative_to(SOURCE).as_posix(), text))
    assert sorted(found) == [
        ("config/loading.py", "f'{path.name}.yaml'"),  # the last part of what the user typed
        ("names.py", "f'{encoded}{suffix}'"),
        ("training/checkpoints.py", "f'checkpoint-{update:06d}'"),  # a number
    ]


# Files


def write_masks(folder: Path, tasks: Any, layer: Any) -> None:
    header = {"tasks": tasks, "widths": {layer: 8}, "signature": {"rule": "coverage"}, "version": "0"}
    packed = {layer: torch.zeros(len(tasks), 1, dtype=torch.uint8)}
    save_file(packed, folder / "neuron_masks.safetensors", {"neuronspec": json.dumps(header)})


def write_counts(folder: Path, tasks: Any, layer: Any) -> None:
    totals = torch.full((len(tasks),), 10)
    tensors = {f"counts.{layer}": torch.ones(len(tasks), 8, dtype=torch.int64)}
    tensors |= {"totals.encoder": totals, "totals.decoder": totals.clone()}
    header = {"tasks": tasks, "layers": [layer], "unit": "sentence", "signature": {}}
    save_file(tensors, folder / "activation_counts.safetensors", {"neuronspec": json.dumps(header)})


def write_examples(folder: Path, tasks: Any, layer: Any) -> None:
    stack = str(layer).partition(".")[0]
    tensors = {f"{group}.{layer}": torch.zeros(8, 1, dtype=torch.int64) for group in ("sentences", "positions")}
    tensors |= {f"values.{layer}": torch.zeros(8, 1), "numbers": torch.zeros(1, dtype=torch.int64)}
    tensors |= {
        f"lengths.{stack}": torch.ones(1, dtype=torch.int64),
        f"tokens.{stack}": torch.ones(1, dtype=torch.int32),
    }
    tensors |= {"sentence_tasks": torch.zeros(1, dtype=torch.int64)}
    header = {"tasks": tasks, "layers": [layer], "top": 1, "signature": {}}
    save_file(tensors, folder / "activation_examples.safetensors", {"neuronspec": json.dumps(header)})


def write_ablation(folder: Path, tasks: Any, layer: Any) -> None:
    numbers = np.ones((len(tasks), len(tasks))).tolist()
    found = {"stack": "decoder", "tasks": tasks, "metric": "loss", "higher_is_better": False, "share": 0.1}
    found |= {"neurons": {layer: 1}, "baseline": [1.0] * len(tasks), "values": numbers, "random": numbers}
    (folder / "ablation.json").write_text(json.dumps({"decoder": found}))


LOADERS: dict[str, tuple[Callable[..., None], Callable[[Path], object]]] = {
    "masks": (write_masks, NeuronMasks.from_pretrained),
    "counts": (write_counts, ActivationCounts.load),
    "examples": (write_examples, Examples.load),
    "ablation": (write_ablation, load_ablations),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_a_file_with_readable_names_is_loaded(kind: str, tmp_path: Path) -> None:
    write, load = LOADERS[kind]
    write(tmp_path, ["de-en", "../../x"], "decoder.0")
    load(tmp_path)


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("layer", ["decoder./../../../home/logo", "decoder.0\x1b[2J", "decoder.0/x", "../decoder.0"])
def test_a_file_with_a_hostile_layer_is_refused(kind: str, layer: str, tmp_path: Path) -> None:
    write, load = LOADERS[kind]
    write(tmp_path, ["de-en", "en-de"], layer)
    with pytest.raises(NeuronspecError, match="a layer is called") as refused:
        load(tmp_path)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("task", ["de-en\x1b[2J", "", "x" * 10_000, "a\nb", "\u202eb"])
def test_a_file_with_a_hostile_task_is_refused(kind: str, task: str, tmp_path: Path) -> None:
    write, load = LOADERS[kind]
    write(tmp_path, ["de-en", task], "decoder.0")
    with pytest.raises(NeuronspecError, match="cannot name a task") as refused:
        load(tmp_path)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("stack", ["/../../../home/logo", "../x", "encoder", "\x1b[2J"])
def test_an_ablation_under_another_name_than_its_stack_is_refused(stack: str, tmp_path: Path) -> None:
    write_ablation(tmp_path, ["de-en", "fr-en"], "decoder.0")
    found = json.loads((tmp_path / "ablation.json").read_text())
    (tmp_path / "ablation.json").write_text(json.dumps({stack: found["decoder"]}))
    with pytest.raises(NeuronspecError, match="expected an ablation for each of encoder and decoder"):
        load_ablations(tmp_path)


@pytest.mark.parametrize("key", ["tasks", "sets"])
def test_parts_of_a_model_with_a_hostile_name_are_refused(key: str, tmp_path: Path) -> None:
    owners = {"encoder": [0], "decoder": [0]}
    about = {"tasks": ["de-en"], "sets": ["de"], "owners": owners, "bottleneck": 1, "dropout": [0.0]}
    about |= {key: ["de\x1b[2J"]}
    save_file({"a": torch.zeros(1)}, tmp_path / "parts.safetensors", {"neuronspec": json.dumps(about)})
    with pytest.raises(NeuronspecError, match=f"cannot name a {key.removesuffix('s')}"):
        ADAPTERS.load(tmp_path / "parts.safetensors")


@pytest.mark.parametrize("field", ["system", "task", "metric"])
@pytest.mark.parametrize("name", ["\x1b[2J", "", "a\nb", "x" * 500])
def test_results_with_a_hostile_name_are_refused(field: str, name: str, tmp_path: Path) -> None:
    score = {"system": "ours", "task": "de-en", "metric": "BLEU", "score": 1.0, "signature": "s", "sentences": 3}
    (tmp_path / "scores.jsonl").write_text(json.dumps(score | {field: name}) + "\n")
    (tmp_path / "quality.jsonl").write_text("")
    with pytest.raises(NeuronspecError, match=f"cannot name a {field}"):
        Results.load(tmp_path)


def test_the_statistics_of_a_system_that_leads_out_are_looked_for_inside_and_written_inside(tmp_path: Path) -> None:
    rows = {"BLEU": np.ones((3, 2))}
    score = {"system": "../../out", "task": "de-en", "metric": "BLEU", "score": 1.0, "signature": "s", "sentences": 3}
    place = tmp_path / "a" / "results"
    place.mkdir(parents=True)
    (place / "scores.jsonl").write_text(json.dumps(score) + "\n")
    (place / "quality.jsonl").write_text("")
    found = Results.load(place)
    (path,) = found.counted.values()
    assert isinstance(path, Path)
    assert path.resolve().is_relative_to(place / "statistics")
    copy = tmp_path / "b" / "results"
    copy.mkdir(parents=True)
    Results(found.scores, (), {("../../out", "de-en"): rows}).save(copy)
    inside = {file.parent.parent for file in tmp_path.rglob("*.safetensors")}
    assert inside == {copy / "statistics"}
    assert Results.load(copy).statistics("../../out", "BLEU", "de-en").tolist() == rows["BLEU"].tolist()


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("unit", "\x1b[2J", "its unit is"),
        ("unit", ["sentence"], "its unit is"),
        ("signature", {"a": 1}, "its signature is not"),
        ("signature", ["a"], "its signature is not"),
        ("tasks", "de-en", "its tasks are not"),
        ("tasks", ["de-en", "de-en"], "its tasks are not"),
        ("tasks", {"de-en": 1, "en-de": 2}, "its tasks are not"),
        ("layers", "decoder.0", "its layers are not"),
        ("layers", ["decoder.0", "decoder.0"], "its layers are not"),
        ("layers", [["decoder.0"]], "a layer is called"),
        ("layers", [], "its layers are not"),
    ],
)
def test_counts_with_an_odd_header_are_refused(key: str, value: Any, found: str, tmp_path: Path) -> None:
    write_counts(tmp_path, ["de-en", "en-de"], "decoder.0")
    path = tmp_path / "activation_counts.safetensors"
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["neuronspec"])
    save_file(load_file(path), path, {"neuronspec": json.dumps(header | {key: value})})
    with pytest.raises(NeuronspecError, match=found) as refused:
        ActivationCounts.load(path)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("drop", ["totals.decoder", "counts.decoder.0"])
def test_counts_that_lack_a_part_are_refused(drop: str, tmp_path: Path) -> None:
    write_counts(tmp_path, ["de-en", "en-de"], "decoder.0")
    path = tmp_path / "activation_counts.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file({name: t for name, t in load_file(path).items() if name != drop}, path, metadata)
    with pytest.raises(NeuronspecError, match="is missing"):
        ActivationCounts.load(path)


def test_counts_of_another_shape_are_refused(tmp_path: Path) -> None:
    write_counts(tmp_path, ["de-en", "en-de"], "decoder.0")
    path = tmp_path / "activation_counts.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    for shape in ((), (2,), (2, 8, 1), (3, 8)):
        changed = load_file(path) | {"counts.decoder.0": torch.zeros(shape, dtype=torch.int64)}
        save_file(changed, tmp_path / "other.safetensors", metadata)
        with pytest.raises(NeuronspecError, match="is damaged"):
            ActivationCounts.load(tmp_path / "other.safetensors")
