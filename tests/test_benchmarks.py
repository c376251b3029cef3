"""Benchmarks that need another machine have a tiny form, which runs here."""

from __future__ import annotations

import sys

import pytest
import torch

from benchmarks import gpu


def test_the_benchmark_of_a_gpu_runs_in_a_tiny_form_without_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu", "--write"])
    monkeypatch.setattr(gpu, "TINY", gpu.TINY | {"updates": 1, "sentences": 3, "directions": 2, "tokens": 128})
    gpu.main()
    said = capsys.readouterr()
    assert "whose numbers are not written" in said.err
    assert "No GPU: a tiny form on the CPU" in said.out
    for contender in (gpu.PLAIN, gpu.DENSE, gpu.MASKED):
        assert contender in said.out
    assert "Recording 2 directions of 3 sentences" in said.out
