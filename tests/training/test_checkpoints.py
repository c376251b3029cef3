"""Checkpoints: published whole, checked before use, and only the needed ones kept."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import neuronspec
from neuronspec.errors import NeuronspecError
from neuronspec.files import hash_path, read_json, write_json
from neuronspec.training.checkpoints import STATE_DIRECTORY, Checkpoints, optimizer_tensors, restore_optimizer

FILES = [
    "model.safetensors",
    "config.json",
    f"{STATE_DIRECTORY}/optimizer.safetensors",
    f"{STATE_DIRECTORY}/state.json",
    f"{STATE_DIRECTORY}/manifest.json",
]


def write_model(value: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        save_file({"weight": torch.full((64,), value)}, path / "model.safetensors")
        (path / "config.json").write_text('{"model_type": "toy"}', encoding="utf-8")

    return write


def save(checkpoints: Checkpoints, update: int, best: int) -> None:
    """Save a checkpoint whose every part tells its update."""
    moments = {"exp_avg.weight": torch.full((64,), float(update))}
    checkpoints.save(update, write_model(update), moments, {"update": update, "best_update": best})


def refuse(report: str) -> None:
    raise AssertionError(f"nothing was to report, but: {report}")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": truncate,
    "empty": empty,
    "flipped": flip,
    "deleted": Path.unlink,
}


def test_newest_returns_what_was_saved(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    save(checkpoints, 5, best=5)
    found = checkpoints.newest(refuse)
    assert found is not None
    path, moments, state = found
    assert path == checkpoints.path(5)
    assert torch.equal(moments["exp_avg.weight"], torch.full((64,), 5.0))
    assert state == {"update": 5, "best_update": 5}
    assert load_file(path / "model.safetensors")["weight"][0] == 5


def test_without_checkpoints_there_is_no_newest(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "never-made", keep=2).newest(refuse) is None


def test_newest_goes_by_number_not_by_name(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=5)
    for update in (999_999, 1_000_000, 20):
        save(checkpoints, update, best=20)
        found = checkpoints.newest(refuse)
        assert found is not None
        assert found[2]["update"] == update  # what is saved is never behind what is found


@pytest.mark.parametrize(
    ("keep", "best", "expected"), [(1, 2, [2, 8]), (1, 8, [8]), (2, 2, [2, 6, 8]), (2, 6, [6, 8]), (9, 2, [2, 4, 6, 8])]
)
def test_only_the_newest_and_the_best_stay(tmp_path: Path, keep: int, best: int, expected: list[int]) -> None:
    checkpoints = Checkpoints(tmp_path, keep)
    for update in (2, 4, 6, 8):
        save(checkpoints, update, best=min(best, update))
    assert names(tmp_path) == [f"checkpoint-{update:06d}" for update in expected]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_r3_a_damaged_newest_is_reported_and_the_one_before_used(tmp_path: Path, file: str, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    save(checkpoints, 1, best=1)
    save(checkpoints, 2, best=2)
    DAMAGES[damage](checkpoints.path(2) / file)
    reports: list[str] = []
    found = checkpoints.newest(reports.append)
    assert found is not None
    assert found[0] == checkpoints.path(1)
    assert len(reports) == 1
    assert str(checkpoints.path(2)) in reports[0]
    assert Path(file).name in reports[0] or damage == "flipped"  # a flipped manifest may name another file


def test_r3_any_flipped_byte_is_noticed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    save(checkpoints, 1, best=1)
    for file in FILES:
        path = checkpoints.path(1) / file
        content = path.read_bytes()
        for position in range(0, len(content), 7):
            path.write_bytes(content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :])
            reports: list[str] = []
            harmless = file.endswith("manifest.json") and content[position : position + 1].isspace()
            assert (checkpoints.newest(reports.append) is None) == bool(reports)
            assert reports or harmless, (file, position)
        path.write_bytes(content)
    assert checkpoints.newest(refuse) is not None


def test_r3_all_damaged_means_none(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for update in (1, 2):
        save(checkpoints, update, best=update)
        flip(checkpoints.path(update) / "model.safetensors")
    reports: list[str] = []
    assert checkpoints.newest(reports.append) is None
    assert len(reports) == 2


def test_r11_a_newest_of_a_newer_format_is_no_damaged_one(tmp_path: Path) -> None:
    """The one before it would lose updates, and say so only in passing."""
    checkpoints = Checkpoints(tmp_path, keep=5)
    save(checkpoints, 1, best=1)
    save(checkpoints, 2, best=2)
    folder = checkpoints.path(2) / STATE_DIRECTORY
    state = read_json(folder / "state.json")
    assert state == {"format_version": 1, "version": neuronspec.__version__, "update": 2, "best_update": 2}

    write_json(folder / "state.json", state | {"format_version": 2, "version": "0.7"})
    manifest = read_json(folder / "manifest.json")
    manifest[f"{STATE_DIRECTORY}/state.json"] = hash_path(folder / "state.json")
    write_json(folder / "manifest.json", manifest)
    with pytest.raises(NeuronspecError, match=r"state.json has format 2, .*: pip install 'neuronspec>=0.7'"):
        checkpoints.newest(refuse)


def test_r3_a_damaged_newer_one_never_displaces_a_whole_one(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    save(checkpoints, 2, best=2)
    save(checkpoints, 8, best=2)
    flip(checkpoints.path(8) / "model.safetensors")
    save(checkpoints, 4, best=2)  # the run went on from 2
    assert names(tmp_path) == ["checkpoint-000002", "checkpoint-000004"]


def test_r3_a_damaged_one_is_replaced_when_training_comes_by_again(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for update in (1, 2):
        save(checkpoints, update, best=update)
    truncate(checkpoints.path(2) / "model.safetensors")
    save(checkpoints, 2, best=2)
    found = checkpoints.newest(refuse)
    assert found is not None
    assert found[0] == checkpoints.path(2)
    assert names(tmp_path) == ["checkpoint-000001", "checkpoint-000002"]


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    (tmp_path / ".checkpoint-000003.12345.tmp" / STATE_DIRECTORY).mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("not ours", encoding="utf-8")
    save(checkpoints, 3, best=3)
    assert names(tmp_path) == ["checkpoint-000003", "notes.txt"]


def fill_disk(path: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def write_read_only(path: Path) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


def fail_otherwise(path: Path) -> None:
    raise RuntimeError("a bug")


@pytest.mark.parametrize(
    ("write", "error", "message"),
    [
        (fill_disk, NeuronspecError, r"checkpoint-000002: no space is left on the disk"),
        (write_read_only, NeuronspecError, r"checkpoint-000002: the file system is read-only"),
        (fail_otherwise, RuntimeError, "a bug"),
    ],
)
def test_r3_a_failed_save_leaves_the_earlier_checkpoint(
    tmp_path: Path, write: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    save(checkpoints, 1, best=1)
    with pytest.raises(error, match=message):
        checkpoints.save(2, write, {}, {"best_update": 2})
    assert names(tmp_path) == ["checkpoint-000001"]
    assert checkpoints.newest(refuse) is not None


@pytest.mark.parametrize("limit", [100, 400, 2000])
def test_r3_the_system_refusing_to_write_is_one_clear_sentence(tmp_path: Path, limit: int) -> None:
    """A real refusal, in the middle of a file: of the model's, of the optimiser's, and of the state."""
    checkpoints = Checkpoints(tmp_path, keep=1)
    save(checkpoints, 1, best=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = {"exp_avg.weight": torch.zeros(400)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(NeuronspecError, match=r"cannot write .*checkpoint-000002.*larger than allowed"):
            checkpoints.save(2, write_model(2), large if limit == 400 else {}, {"best_update": 2, "x": "x" * 4000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ["checkpoint-000001"]
    assert checkpoints.newest(refuse) is not None


def test_r3_a_path_through_a_file_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(NeuronspecError, match="is a file, not a directory"):
        save(Checkpoints(tmp_path / "file" / "run" / "checkpoints", keep=1), 1, best=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_r3_a_read_only_directory_is_one_clear_sentence(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    save(checkpoints, 1, best=1)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(NeuronspecError, match="permission denied"):
            save(checkpoints, 2, best=2)
    finally:
        tmp_path.chmod(0o700)
    assert names(tmp_path) == ["checkpoint-000001"]


def make_optimizer(seed: int) -> tuple[torch.optim.Optimizer, dict[torch.Tensor, str]]:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(3):
        model(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()
    return optimizer, {parameter: name for name, parameter in model.named_parameters()}


def test_optimizer_state_goes_through_tensors(tmp_path: Path) -> None:
    optimizer, parameters = make_optimizer(1)
    save_file(optimizer_tensors(optimizer, parameters), tmp_path / "optimizer.safetensors")
    other, others = make_optimizer(2)
    restore_optimizer(other, others, load_file(tmp_path / "optimizer.safetensors"))
    expected: dict[str, Any] = {parameters[p]: state for p, state in optimizer.state.items()}
    assert len(expected) == 4
    for parameter, name in others.items():
        assert other.state[parameter].keys() == expected[name].keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(other.state[parameter][key], expected[name][key]) for key in expected[name])


def test_optimizer_state_of_another_model_is_refused() -> None:
    optimizer, parameters = make_optimizer(1)
    tensors = optimizer_tensors(optimizer, parameters)
    renamed = {parameter: name.replace("1.bias", "1.gain") for parameter, name in parameters.items()}
    with pytest.raises(NeuronspecError, match=r"optimizer state for 1\.bias, which the model lacks"):
        restore_optimizer(optimizer, renamed, tensors)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("file", ["model.safetensors", f"{STATE_DIRECTORY}/optimizer.safetensors"])
def test_r3_a_newest_of_nan_is_reported_and_the_one_before_used(tmp_path: Path, file: str, value: float) -> None:
    """An earlier version published such checkpoints, whole by their hashes."""
    checkpoints = Checkpoints(tmp_path, keep=2)
    save(checkpoints, 1, best=1)
    numbers = [
        value if file == name else 2.0 for name in ("model.safetensors", f"{STATE_DIRECTORY}/optimizer.safetensors")
    ]
    moments = {"exp_avg.weight": torch.full((64,), numbers[1])}
    checkpoints.save(2, write_model(numbers[0]), moments, {"update": 2, "best_update": 1})
    reports: list[str] = []
    found = checkpoints.newest(reports.append)
    assert found is not None
    assert found[0] == checkpoints.path(1)
    assert len(reports) == 1
    assert "checkpoint-000002 is not finite" in reports[0]
    assert file in reports[0]
    with pytest.raises(NeuronspecError, match="checkpoint-000002 is not finite"):
        checkpoints.verify(2)
