"""Estimates of time, memory and disk, compared with what trainings really take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import Model, Sampling, Training
from neuronspec.errors import NeuronspecError
from neuronspec.models.building import build_model, count_parameters
from neuronspec.training.loop import train
from neuronspec.training.method import Corpora, Method, Resources
from neuronspec.training.speed import (
    configure,
    count_model,
    estimate_checkpoint,
    estimate_disk,
    estimate_memory,
    estimate_seconds,
    measure_speed,
)

TINY = Model(preset="tiny")


@pytest.mark.parametrize("embeddings", ["separate", "shared"])
def test_parameters_are_those_of_the_model_that_is_built(
    embeddings: str, toy_tokenizer: PreTrainedTokenizerBase
) -> None:
    built = build_model("tiny", toy_tokenizer, embeddings=embeddings)  # type: ignore[arg-type]
    wanted = TINY.model_copy(update={"embeddings": embeddings})
    assert count_model(configure(wanted, len(toy_tokenizer))) == count_parameters(built)


def test_updates_of_a_preset_are_measured() -> None:
    speed = measure_speed(TINY, 100, sampling=Sampling(tokens_per_batch=64), seconds=0.2, cpu=True)
    assert speed.updates >= 1
    assert speed.scale == 1
    assert 0 < speed.seconds_per_update < 60
    assert speed.memory >= estimate_memory(speed.parameters)


def test_updates_of_a_pretrained_model_are_measured(toy_directory: Path) -> None:
    model = Model(pretrained=str(toy_directory / "model"))
    speed = measure_speed(model, 0, sampling=Sampling(tokens_per_batch=64), seconds=0, cpu=True)
    assert speed.updates == 1
    assert speed.parameters == count_model(configure(model, 0))


def test_several_batches_of_an_update_count() -> None:
    speed = measure_speed(
        TINY, 100, training=Training(batches_per_update=3), sampling=Sampling(tokens_per_batch=64), seconds=0, cpu=True
    )
    assert speed.scale == 3


def test_a_batch_that_takes_too_long_is_scaled_from_a_small_one() -> None:
    sampling = Sampling(tokens_per_batch=4_096)
    speed = measure_speed(TINY, 100, sampling=sampling, seconds=0, cpu=True)
    assert speed.updates == 1
    assert speed.scale == 4


def test_real_lengths_replace_invented_ones() -> None:
    # Sentences longer than the batch: nothing fits, as in a real training.
    lengths = np.full((5, 2), 100)
    with pytest.raises(NeuronspecError, match="no training pair of at most 64 tokens"):
        measure_speed(TINY, 100, sampling=Sampling(tokens_per_batch=64), seconds=0, cpu=True, lengths=lengths)


def test_a_model_larger_than_the_memory_is_refused_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    free = psutil.virtual_memory()._replace(available=10_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(NeuronspecError, match=r"at least 6\.7 GB of memory, and 0\.0 GB are free"):
        measure_speed(Model(preset="mT-large"), 32_000, cpu=True)


def test_disk_is_that_of_a_real_training(
    toy_model: PreTrainedModel, toy_tokenizer: PreTrainedTokenizerBase, toy_corpora: Corpora, tmp_path: Path
) -> None:
    parameters = count_parameters(toy_model)
    checkpoint, _ = train(
        toy_model,
        toy_tokenizer,
        toy_corpora,
        Method(),
        Resources(tasks=("de-en", "en-de")),
        training=Training(updates=1, warmup=1),
        sampling=Sampling(tokens_per_batch=64),
        directory=tmp_path,
        cpu=True,
    )
    weights = sum(file.stat().st_size for file in checkpoint.rglob("*.safetensors"))
    # Files have headers, and a tied matrix under both names.
    assert estimate_checkpoint(parameters) <= weights <= 1.5 * estimate_checkpoint(parameters)


def test_a_run_adds_up_its_trainings() -> None:
    assert estimate_seconds(2.0, updates=10) == 20
    assert estimate_seconds(2.0, updates=10, continued=5, methods=2) == 40
    assert estimate_disk(10, 1, keep_checkpoints=1) < estimate_disk(10, 2, keep_checkpoints=1)
    assert estimate_disk(10, 1, keep_checkpoints=1) < estimate_disk(10, 1, keep_checkpoints=5)
