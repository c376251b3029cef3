"""Problems of masks and counts, alone and with a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.models.tokenizers import make_nllb
from transformers import M2M100Config, M2M100ForConditionalGeneration

from neuronspec.checking.neurons import check_counts, check_masks, check_origin
from neuronspec.files import hash_path
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks

SIZES = {"d_model": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_layers": 1}
CONFIG = M2M100Config(
    **SIZES, decoder_layers=1, encoder_ffn_dim=8, decoder_ffn_dim=8, vocab_size=300, decoder_start_token_id=2
)


def make_masks(*tasks: str, width: int = 8, layers: tuple[str, ...] = ("encoder.0", "decoder.0")) -> NeuronMasks:
    half = [n % 2 == 0 for n in range(width)]
    return NeuronMasks.from_dict({task: dict.fromkeys(layers, half) for task in tasks})


def make_counts(total: int, unit: str = "sentence") -> ActivationCounts:
    totals = {stack: torch.tensor([total, 500]) for stack in ("encoder", "decoder")}
    values = {layer: torch.ones((2, 8), dtype=torch.int64) for layer in ("encoder.0", "decoder.0")}
    return ActivationCounts(tasks=("de-en", "en-de"), values=values, totals=totals, unit=unit)  # type: ignore[arg-type]


def test_sound_masks_and_counts_have_no_problem(tmp_path: Path) -> None:
    masks, counts = make_masks("de-en", "en-de"), make_counts(500)
    assert [*check_masks(masks), *check_counts(counts)] == []
    for neurons in (masks, counts):
        assert list(check_origin(neurons, CONFIG, None, make_nllb(tmp_path))) == []


def test_masks_without_neurons_and_with_all_of_them_are_named() -> None:
    masks = NeuronMasks.from_dict(
        {"de-en": {"encoder.0": [0, 0], "decoder.0": [1, 0]}, "en-de": {"encoder.0": [1, 1], "decoder.0": [1, 1]}}
    )
    empty, full = check_masks(masks)
    assert (empty.level, empty.message) == ("warning", "1 masks select no neuron: de-en in encoder.0")
    assert (full.level, full.message) == ("note", "2 masks select every neuron: en-de in encoder.0, en-de in decoder.0")


def test_counts_of_few_sentences_are_named() -> None:
    [problem] = check_counts(make_counts(12))
    assert problem.message.startswith("there are fewer than 100 sentences of some tasks: de-en 12;")
    [nothing] = check_counts(make_counts(0))
    assert "de-en 0;" in nothing.message


@pytest.mark.parametrize(
    ("neurons", "found"),
    [
        (make_masks("de-en", width=9), "the masks have 9 neurons in encoder.0, the model has 8"),
        (make_masks("de-en", layers=("encoder.0",)), "they belong to another architecture"),
        (make_masks("tlh-en"), "tlh-en: the model's vocabulary has no tag for tlh"),
    ],
)
def test_masks_of_another_model_are_refused_with_the_reason(neurons: NeuronMasks, found: str, tmp_path: Path) -> None:
    problems = list(check_origin(neurons, CONFIG, None, make_nllb(tmp_path)))
    assert [problem.level for problem in problems] == ["error"]
    assert found in problems[0].message


def test_tasks_that_are_no_directions_need_no_tags(tmp_path: Path) -> None:
    assert list(check_origin(make_masks("python"), CONFIG, None, make_nllb(tmp_path))) == []


def test_other_weights_than_those_that_were_recorded_are_noted(tmp_path: Path) -> None:
    M2M100ForConditionalGeneration(CONFIG).save_pretrained(tmp_path)
    masks = make_masks("de-en")
    own = NeuronMasks(masks.tasks, masks._values, {"model": hash_path(tmp_path / "model.safetensors")})
    own.save_pretrained(tmp_path)  # next to the model, as a trained model has them
    assert list(check_origin(own, CONFIG, tmp_path, None)) == []
    other = NeuronMasks(masks.tasks, masks._values, {"model": "0" * 64})
    [note] = check_origin(other, CONFIG, tmp_path, None)
    assert (note.level, "other weights" in note.message) == ("note", True)
