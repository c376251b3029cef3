"""A short attack on a run: killed in every stage, it ends with the bits of a run that nobody kills."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.attack import evidence, kills, project
from tests.attack.kills import Target

from neuronspec.methods import METHODS


def test_every_registered_method_is_attacked() -> None:
    assert {*project.list_methods(), *project.list_methods(extends=True)} == {*METHODS}


def test_a_difference_is_found(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name / "select").mkdir(parents=True)
        (tmp_path / name / "select" / "neuron_masks.safetensors").write_text(name, encoding="utf-8")
    (tmp_path / "one" / ".select.tmp").mkdir()
    (tmp_path / "other" / "score").mkdir()
    (tmp_path / "other" / "score" / "scores.jsonl").touch()
    one, other = (evidence.collect(tmp_path / name) for name in ("one", "other"))
    assert evidence.compare(one, one) == []
    assert evidence.compare(one, other) == [
        "masks: select/neuron_masks.safetensors is different",
        "scores: score/scores.jsonl is missing",
        "left over: .select.tmp is too much",
    ]


@pytest.mark.slow
def test_r1_killed_in_every_stage_a_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    project.write(tmp_path, {})
    target = Target(tmp_path, ("select", "toy.yaml"))
    whole = kills.make_whole(target)
    assert list(whole.calls) == ["prepare", "train", "record", "select"]

    chain = kills.attack_calls(target, whole, random.Random(0))
    assert chain.problems == []
    assert sum(chain.kills.values()) >= 3
    assert chain.files > 20
