"""The generation configuration of models that are built here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from neuronspec.config.sections import Translation
from neuronspec.models.building import build_model
from neuronspec.models.directories import GENERATION_FILE, is_built_here
from neuronspec.models.generation import set_search, write_generation_config
from neuronspec.models.loading import load_model, save_model

SEVERAL = ["de-en", "en-de"]


@pytest.fixture
def directory(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    save_model(build_model("tiny", tokenizer), tmp_path / "model", tokenizer)
    return tmp_path / "model"


def configured(directory: Path, options: Translation, tasks: Sequence[str] = SEVERAL) -> dict[str, Any]:
    write_generation_config(directory, options, tasks)
    values: dict[str, Any] = json.loads((directory / GENERATION_FILE).read_text(encoding="utf-8"))
    return values


def test_a_model_decodes_as_its_run_translates(directory: Path) -> None:
    values = configured(directory, Translation(beams=4, length_penalty=0.6, max_tokens=30, early_stopping=True))
    assert values["num_beams"] == 4
    assert values["length_penalty"] == 0.6
    assert values["max_new_tokens"] == 30
    assert values["early_stopping"] is True
    assert (values["bos_token_id"], values["pad_token_id"], values["eos_token_id"]) == (0, 1, 2)
    assert values["decoder_start_token_id"] == 2
    assert load_model(directory).generation_config.num_beams == 4


def test_without_beams_nothing_is_said_about_them(directory: Path) -> None:
    values = configured(directory, Translation(beams=1, length_penalty=0.6, early_stopping=True))
    assert values["num_beams"] == 1
    assert not {"length_penalty", "early_stopping"} & values.keys()
    load_model(directory).save_pretrained(directory)  # transformers refuses contradictions


@pytest.mark.parametrize(
    ("tasks", "language"),
    [(["de-en"], "en"), (["de-en", "fr-en"], "en"), (["en-sv"], "sv"), (SEVERAL, None), (["de-en", "de-fr"], None)],
)
def test_the_only_target_language_is_forced(
    directory: Path, tokenizer: PreTrainedTokenizerFast, tasks: list[str], language: str | None
) -> None:
    forced = configured(directory, Translation(), tasks).get("forced_bos_token_id")
    assert forced == (None if language is None else tokenizer.convert_tokens_to_ids(f"__{language}__"))


def test_what_another_configuration_asked_for_is_gone(directory: Path) -> None:
    configured(directory, Translation(beams=4, early_stopping=True), ["de-en"])
    values = configured(directory, Translation(beams=2))
    assert values["num_beams"] == 2
    assert not {"early_stopping", "forced_bos_token_id"} & values.keys()

    # The same holds for a model whose file is of another configuration.
    configured(directory, Translation(beams=4, early_stopping=True))
    model = load_model(directory)
    set_search(model, Translation(beams=2))
    assert model.generation_config.num_beams == 2
    assert not model.generation_config.early_stopping


def test_a_file_that_says_the_same_is_not_written_again(directory: Path) -> None:
    configured(directory, Translation())
    before = (directory / GENERATION_FILE).stat()
    configured(directory, Translation())
    after = (directory / GENERATION_FILE).stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_a_pretrained_model_keeps_its_own(small_model: Any, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    model: PreTrainedModel = small_model("m2m_100", vocab_size=len(tokenizer)).float()
    model.generation_config.max_length = 123
    save_model(model, tmp_path, tokenizer)
    before = (tmp_path / GENERATION_FILE).read_bytes()
    write_generation_config(tmp_path, Translation(), ["de-en"])
    assert (tmp_path / GENERATION_FILE).read_bytes() == before
    set_search(model, Translation(beams=7))
    assert model.generation_config.num_beams != 7
    assert model.generation_config.max_length == 123


@pytest.mark.parametrize("content", ["", "[]", '{"model_type": "m2m_100"}', "{"])
def test_only_a_sound_directory_of_build_model_is_one(directory: Path, content: str) -> None:
    assert is_built_here(directory)
    (directory / "config.json").write_text(content)
    assert not is_built_here(directory)
    (directory / "config.json").unlink()
    assert not is_built_here(directory)
