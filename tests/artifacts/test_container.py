from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import neuronspec
from neuronspec.artifacts import container
from neuronspec.artifacts.container import Container
from neuronspec.artifacts.headers import Header, LayerNames, Signature, UniqueNames, Widths
from neuronspec.artifacts.tensor_files import read_tensors, write_tensors
from neuronspec.errors import NeuronspecError


class NoteHeader(Header):
    tasks: UniqueNames
    layers: LayerNames
    widths: Widths
    signature: Signature
    rank: int


NOTES = Container(file="notes.safetensors", holds="notes", header=NoteHeader, remedy="write them again", ascii=False)
GOOD: dict[str, Any] = {
    "tasks": ["de-en", "å-ß"],
    "layers": ["encoder.0"],
    "widths": {"encoder.0": 3},
    "signature": {"rule": "none"},
    "rank": 2,
}


def write(path: Path, header: Any) -> Path:
    save_file({"x": torch.arange(3)}, path, {"neuronspec": header if isinstance(header, str) else json.dumps(header)})
    return path


def test_tensors_and_header_come_back(tmp_path: Path) -> None:
    header = NoteHeader.model_validate(GOOD | {"later": "kept"})
    path = NOTES.save(tmp_path / "new" / NOTES.file, {"x": torch.arange(6).view(2, 3).T}, header)
    assert path == NOTES.path_in(tmp_path / "new") == NOTES.path_in(path)
    tensors, found = NOTES.load(path)
    assert tensors["x"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found == header
    assert found.model_dump() == GOOD | {"later": "kept"}
    assert "å-ß" in path.read_bytes().decode(errors="ignore")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tasks": "de-en"}, "its tasks are not a list of different names"),
        ({"tasks": []}, "its tasks are not a list of different names"),
        ({"tasks": ["de-en", "de-en"]}, "its tasks are not a list of different names"),
        ({"tasks": ["de\x1b[2J"]}, "cannot name a task: it holds control characters"),
        ({"layers": ["../encoder.0"]}, "a layer is called encoder"),
        ({"widths": {"encoder.0": 0}}, "its widths are not positive whole numbers"),
        ({"widths": {"encoder.0": True}}, "its widths are not positive whole numbers"),
        ({"widths": {"layer": 3}}, "a layer is called encoder"),
        ({"signature": {"rule": 1}}, "its signature is not a mapping to strings"),
        ({"rank": "2"}, "rank Input should be a valid integer"),
        ({"rank": 2.0}, "rank Input should be a valid integer"),
    ],
)
def test_a_mangled_header_is_refused_with_the_file_and_the_problem(
    changes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    path = write(tmp_path / NOTES.file, GOOD)
    NOTES.load(path)
    write(path, GOOD | changes)
    with pytest.raises(NeuronspecError, match=problem) as refused:
        NOTES.load(path)
    assert str(path) in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("field", GOOD)
def test_a_field_that_is_missing_is_named_with_the_next_step(field: str, tmp_path: Path) -> None:
    path = write(tmp_path / NOTES.file, {name: value for name, value in GOOD.items() if name != field})
    with pytest.raises(NeuronspecError, match=f"holds no notes: '{field}' is missing in its header; write them again"):
        NOTES.load(path)


def test_r11_a_newer_format_is_refused_with_the_version_that_reads_it(tmp_path: Path) -> None:
    path = NOTES.save(tmp_path / NOTES.file, {"x": torch.arange(3)}, NoteHeader.model_validate(GOOD))
    header = json.loads(read_tensors(path)[1]["neuronspec"])
    assert header == {"format_version": 1, "version": neuronspec.__version__, **GOOD}
    write(path, header | {"format_version": 2, "version": "0.4.1", "tasks": {"de-en": 0}})
    with pytest.raises(NeuronspecError, match=r"has format 2, written by neuronspec 0\.4\.1; .* reads formats up to 1"):
        NOTES.load(path)

    # Whoever knows both formats reads both.
    newer = dataclasses.replace(NOTES, format=2)
    assert newer.load(write(path, GOOD))[1].model_dump() == GOOD
    newer.save(path, {}, NoteHeader.model_validate(GOOD))
    with pytest.raises(NeuronspecError, match="has format 2"):
        NOTES.load(path)


@pytest.mark.parametrize("header", ["", "{", "[]", "3", "null", "[" * 100_000])
def test_what_is_no_header_is_refused(header: str, tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match=r"cannot read .*: it is damaged or holds no notes"):
        NOTES.load(write(tmp_path / NOTES.file, header))


def test_a_header_that_is_too_large_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "MAX_HEADER", 100)
    with pytest.raises(NeuronspecError, match="at most 100 are expected"):
        NOTES.load(write(tmp_path / NOTES.file, GOOD | {"more": "x" * 100}))


def test_a_file_that_is_missing_or_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / NOTES.file
    with pytest.raises(NeuronspecError, match="does not exist: expected notes"):
        NOTES.load(path)
    whole = write(path, GOOD).read_bytes()
    for size in (0, 7, 50, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(NeuronspecError, match=r"damaged or no safetensors file: .*; expected notes"):
            NOTES.load(path)


def test_arrays_are_read_as_arrays_and_tensors_as_tensors(tmp_path: Path) -> None:
    arrays, tensors = tmp_path / "arrays.safetensors", tmp_path / "tensors.safetensors"
    write_tensors(arrays, {"x": np.array([1, 2], dtype=np.uint8)})
    write_tensors(tensors, {"x": torch.tensor([1, 2], dtype=torch.uint8)})
    assert arrays.read_bytes() == tensors.read_bytes()
    [array], [tensor] = read_tensors(tensors, "np")[0].values(), read_tensors(arrays)[0].values()
    assert isinstance(array, np.ndarray)
    assert isinstance(tensor, torch.Tensor)
    assert array.tolist() == tensor.tolist() == [1, 2]
