from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from neuronspec.training.curves import TrainingCurve, read_curve


def make_entry(update: int, tokens: int, rate: float, valid: dict[str, float], **train: Any) -> dict[str, Any]:
    numbers = {"loss": 5.0, "learning_rate": 0.1, "target_tokens": tokens, "target_tokens_per_second": rate}
    return {"update": update, "train": numbers | train, "valid": {"loss": valid}}


def read(folder: Path, *entries: dict[str, Any]) -> TrainingCurve:
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    curve = read_curve(path)
    assert curve is not None
    return curve


def test_a_curve_joins_the_points_of_all_validations(tmp_path: Path) -> None:
    curve = read(
        tmp_path,
        make_entry(4, 100, 50.0, {"de-en": 3.0, "all": 3.5}, points=[[2, 6.0, 0.1], [4, 4.0, 0.2]]),
        make_entry(6, 400, 100.0, {"de-en": 2.0, "en-de": 4.0, "all": 2.5}, points=[[6, 3.0, 0.3]]),
    )
    assert (curve.updates, curve.losses, curve.learning_rates) == ([2, 4, 6], [6.0, 4.0, 3.0], [0.1, 0.2, 0.3])
    assert (curve.validations, curve.valid_loss) == ([4, 6], [3.5, 2.5])
    assert curve.valid_losses == {"de-en": [3.0, 2.0], "en-de": [None, 4.0]}


def test_speeds_are_those_between_validations(tmp_path: Path) -> None:
    # 100 tokens in 2 seconds, then 300 in 2 more
    curve = read(tmp_path, make_entry(4, 100, 50.0, {"all": 1.0}), make_entry(6, 400, 100.0, {"all": 1.0}))
    assert curve.speeds == [50.0, 150.0]


def test_a_log_without_points_has_one_for_each_validation(tmp_path: Path) -> None:
    curve = read(tmp_path, make_entry(4, 1, 1.0, {"all": 1.0}), make_entry(8, 2, 1.0, {"all": 1.0}, loss=2.0))
    assert (curve.updates, curve.losses) == ([4, 8], [5.0, 2.0])


@pytest.mark.parametrize("text", [None, "", "{", '{"update": 1, "loss": 2.5}\n'])
def test_without_a_log_there_is_no_curve(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "log.jsonl").write_text(text, encoding="utf-8")
    assert read_curve(tmp_path / "log.jsonl") is None
