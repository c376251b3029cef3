"""The log of a training: appended, cut back on resuming, never broken by a crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from neuronspec.training.journal import LOG_FILE, Journal, read_log


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def test_lines_are_json_objects_that_read_log_returns(tmp_path: Path, accelerator: Accelerator) -> None:
    journal = Journal(tmp_path, 0, accelerator)
    journal.write(2, {"train": {"loss": 0.1 + 0.2}})
    journal.write(4, {"train": {"loss": 1e-17}})
    lines = (tmp_path / LOG_FILE).read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"update": 2, "train": {"loss": 0.30000000000000004}},
        {"update": 4, "train": {"loss": 1e-17}},
    ]
    assert read_log(tmp_path / LOG_FILE) == [json.loads(line) for line in lines]


def test_a_missing_log_has_no_entries(tmp_path: Path) -> None:
    assert read_log(tmp_path / LOG_FILE) == []


@pytest.mark.parametrize(("resumed_at", "kept"), [(0, []), (3, [2]), (4, [2, 4]), (9, [2, 4, 6])])
def test_r1_resuming_drops_the_lines_of_a_lost_run(
    tmp_path: Path, accelerator: Accelerator, resumed_at: int, kept: list[int]
) -> None:
    lost = Journal(tmp_path, 0, accelerator)
    for update in (2, 4, 6):
        lost.write(update, {"run": "lost"})
    resumed = Journal(tmp_path, resumed_at, accelerator)
    resumed.write(10, {"run": "resumed"})
    assert [entry["update"] for entry in read_log(tmp_path / LOG_FILE)] == [*kept, 10]


def test_r1_a_last_line_cut_anywhere_is_survived(tmp_path: Path, accelerator: Accelerator) -> None:
    path = tmp_path / LOG_FILE
    whole, last = '{"update": 1, "loss": 2.5}\n', '{"update": 2, "loss": 1.25}\n'
    for length in range(1, len(last) - 1):
        path.write_text(whole + last[:length], encoding="utf-8")
        assert [entry["update"] for entry in read_log(path)] == [1]
        Journal(tmp_path, 2, accelerator).write(2, {"loss": 1.0})
        assert read_log(path) == [{"update": 1, "loss": 2.5}, {"update": 2, "loss": 1.0}]


def test_trackers_get_flat_names(tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[tuple[dict[str, Any], int]] = []
    monkeypatch.setattr(accelerator, "log", lambda values, step: logged.append((values, step)))
    Journal(tmp_path, 0, accelerator).write(5, {"valid": {"loss": {"de-en": 2.0, "all": 3.0}}, "note": "x"})
    assert logged == [({"valid/loss/de-en": 2.0, "valid/loss/all": 3.0, "note": "x"}, 5)]


def test_only_the_main_process_writes(
    tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Accelerator, "is_main_process", property(lambda self: False))
    Journal(tmp_path, 0, accelerator).write(1, {"loss": 1.0})
    assert list(tmp_path.iterdir()) == []
