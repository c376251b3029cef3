from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import COUNTS_FILE, ActivationCounts
from neuronspec.neurons.masks import NeuronMasks


@pytest.fixture
def counts() -> ActivationCounts:
    return ActivationCounts(
        tasks=("de-en", "en-fr"),
        values={
            "encoder.0": torch.tensor([[4, 0, 1], [2**60, 3, 2]]),
            "decoder.0": torch.tensor([[2, 1], [0, 5]]),
        },
        totals={"encoder": torch.tensor([4, 2**61]), "decoder": torch.tensor([4, 0])},
        unit="token",
        signature={"model": "abc", "threshold": "0.0"},
    )


def test_comes_back_as_it_was_saved(counts: ActivationCounts, tmp_path: Path) -> None:
    path = counts.save(tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / COUNTS_FILE
    for source in (path, path.parent):
        loaded = ActivationCounts.load(source)
        assert (loaded.tasks, loaded.layers) == (("de-en", "en-fr"), ("encoder.0", "decoder.0"))
        assert (loaded.unit, loaded.signature) == ("token", {"model": "abc", "threshold": "0.0"})
        assert all(torch.equal(loaded.values[layer], counts.values[layer]) for layer in counts.layers)
        assert all(torch.equal(loaded.totals[stack], counts.totals[stack]) for stack in ("encoder", "decoder"))


def test_frequencies_are_shares_of_the_stack_s_total(counts: ActivationCounts) -> None:
    assert counts.frequencies("encoder.0").tolist() == [[1.0, 0.0, 0.25], [0.5, 3 / 2**61, 2 / 2**61]]
    assert counts.frequencies("decoder.0")[0].tolist() == [0.5, 0.25]
    assert counts.frequencies("decoder.0").dtype == torch.float64


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match=f"{COUNTS_FILE} does not exist: expected activation counts"):
        ActivationCounts.load(tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = NeuronMasks.from_dict({"de-en": {"encoder.0": [1, 0]}}).save_pretrained(tmp_path)
    with pytest.raises(NeuronspecError, match="holds no activation counts: 'layers' is missing"):
        ActivationCounts.load(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(NeuronspecError, match="has no 'neuronspec' entry"):
        ActivationCounts.load(path)


@pytest.mark.parametrize(
    "tensors",
    [
        {"counts.encoder.0": torch.zeros(2, 3), "totals.encoder": torch.zeros(2, dtype=torch.int64)},
        {"counts.encoder.0": torch.zeros(1, 3, dtype=torch.int64), "totals.encoder": torch.zeros(2, dtype=torch.int64)},
        {"counts.encoder.0": torch.zeros(2, 3, dtype=torch.int64), "totals.encoder": torch.zeros(1, dtype=torch.int64)},
    ],
)
def test_tensors_that_do_not_fit_their_header_are_refused(tensors: dict[str, Any], tmp_path: Path) -> None:
    header = {"tasks": ["de-en", "en-fr"], "layers": ["encoder.0"], "unit": "token", "signature": {}}
    save_file(tensors, tmp_path / COUNTS_FILE, {"neuronspec": json.dumps(header)})
    with pytest.raises(NeuronspecError, match="is damaged: expected int64 rows for 2 tasks"):
        ActivationCounts.load(tmp_path)


def test_damaged_bytes_are_refused_and_never_crash(counts: ActivationCounts, tmp_path: Path) -> None:
    path = counts.save(tmp_path)
    whole, draw, refused = path.read_bytes(), random.Random(0), 0
    for case in range(200):
        damaged = bytearray(whole)
        if case % 4 == 0:
            del damaged[draw.randrange(len(damaged)) :]
        else:
            for _ in range(draw.randint(1, 4)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        message = ""
        try:
            ActivationCounts.load(path)
        except NeuronspecError as error:
            message = str(error)
            refused += 1
        assert str(path) in message or len(damaged) == len(whole), "a cut file was taken, or nobody knows which one"
    assert refused > 100
