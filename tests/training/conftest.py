"""A toy translation problem: two directions of invented text, small enough to train in a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import M2M100Config, M2M100ForConditionalGeneration, PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.data.batches import BatchDataset, TaskData
from neuronspec.data.store import TokenStore, build_store
from neuronspec.data.vocabulary import learn_vocabulary
from neuronspec.models.building import initialize
from neuronspec.models.codec import TextCodec
from neuronspec.models.embeddings import tie_embeddings
from neuronspec.models.loading import load_model, load_tokenizer, save_model
from neuronspec.training.method import Corpora

SYLLABLES = {"de": ["ka", "be", "zo", "li", "mu", "ra"], "en": ["pa", "te", "so", "ni", "ju", "va"]}
SENTENCES = {"train": 60, "valid": 12}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def toy_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories `model` (untrained, with dropout, and its tokenizer), `train` and `valid` (token stores)."""
    directory = tmp_path_factory.mktemp("toy")
    texts = {part: directory / f"{part}.tsv" for part in SENTENCES}
    generator = np.random.default_rng(7)
    for part, path in texts.items():
        path.write_text("".join(_invent_line(generator) for _ in range(SENTENCES[part])), encoding="utf-8")
    sides = (side for path in texts.values() for side in path.read_text("utf-8").split())
    tokenizer = learn_vocabulary(sides, 64, ["de", "en"])

    def encode(lines: list[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(lines, add_special_tokens=False)["input_ids"]
        return ids

    for part, path in texts.items():
        build_store(directory / part, {"de-en": path}, lambda: encode, len(tokenizer))
    save_model(_build_model(tokenizer), directory / "model", tokenizer)
    return directory


@pytest.fixture(scope="session")
def toy_tokenizer(toy_directory: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(toy_directory / "model")


@pytest.fixture
def toy_model(toy_directory: Path) -> PreTrainedModel:
    """The untrained model, afresh for each test."""
    return load_model(toy_directory / "model")


@pytest.fixture(scope="session")
def toy_corpora(toy_directory: Path, toy_tokenizer: PreTrainedTokenizerBase) -> Corpora:
    """Both directions of the pair: task 0 is de-en, task 1 en-de."""
    config = load_model(toy_directory / "model").config
    tasks = [
        TaskData(task, "de-en", side, TextCodec(toy_tokenizer, config).format(task))
        for side, task in enumerate(("de-en", "en-de"))
    ]
    return Corpora(*(BatchDataset(TokenStore(toy_directory / part), tasks) for part in SENTENCES))


def _invent_line(generator: np.random.Generator) -> str:
    """Return a German side of 2 to 6 syllables and its English side, syllable by syllable."""
    numbers = generator.integers(0, len(SYLLABLES["de"]), generator.integers(2, 7))
    return "\t".join(" ".join(SYLLABLES[language][n] for n in numbers) for language in ("de", "en")) + "\n"


def _build_model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    config = M2M100Config(
        vocab_size=len(tokenizer),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        dropout=0.1,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        max_position_embeddings=64,
        decoder_start_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
        embeddings="separate",
        **{f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "pad", "eos")},
    )
    torch.manual_seed(3)
    model = M2M100ForConditionalGeneration(config)
    tie_embeddings(model)
    initialize(model)
    return model
