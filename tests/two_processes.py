"""Two processes that compute with one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
from tests.processes import Process, finish_together

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from neuronspec.neurons.masks import NeuronMasks

Work: TypeAlias = (
    "Callable[[str, PreTrainedModel, NeuronMasks, Mapping[str, torch.Tensor]], list[list[dict[str, torch.Tensor]]]]"
)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Run a program as two processes of a gloo group.

    It is called with a folder, which holds the model, the masks and `batch.safetensors`, and its rank, and writes
    `RANK.0.safetensors` and `RANK.1.safetensors` there, which are returned.
    """
    from safetensors.torch import load_file, save_file

    def call(
        program: str, model: PreTrainedModel, masks: NeuronMasks, batch: Mapping[str, torch.Tensor]
    ) -> list[list[dict[str, torch.Tensor]]]:
        model.save_pretrained(tmp_path)
        masks.save_pretrained(tmp_path)
        save_file(dict(batch), tmp_path / "batch.safetensors")
        (tmp_path / "worker.py").write_text(program)
        workers = [Process(["worker.py", tmp_path, rank], tmp_path) for rank in (0, 1)]
        for done in finish_together(workers):
            assert done.returncode == 0, done.stderr
        return [[load_file(tmp_path / f"{rank}.{number}.safetensors") for number in (0, 1)] for rank in (0, 1)]

    return call
