"""What an accelerator cannot do is refused before a training starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import SmallModel

from neuronspec.config.sections import Training
from neuronspec.errors import NeuronspecError
from neuronspec.training.accelerator import make_accelerator


@pytest.mark.parametrize("engine", ["FSDP", "DEEPSPEED"])
def test_engines_that_divide_the_weights_are_refused(
    tmp_path: Path, small_model: SmallModel, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{engine}", "true")
    expected = f"ACCELERATE_USE_{engine}.*divides the weights among processes.*choose data parallelism"
    with pytest.raises(NeuronspecError, match=expected):
        make_accelerator(small_model(), Training(), tmp_path, cpu=True, unused_parameters=False)
