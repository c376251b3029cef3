"""Tags: sound tokenizers of every family have no problem; what is wrong with a tokenizer is found and named."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.models.tokenizers import FAMILIES, make_madlad, make_nllb
from transformers import M2M100Config, PreTrainedTokenizerFast

from neuronspec.checking.tags import check_tags, find_tags, name_tags
from neuronspec.models.codec import TextCodec

TAGGED = [name for name, family in FAMILIES.items() if family.has_tags]
CONFIG = M2M100Config(decoder_start_token_id=2)


@pytest.mark.parametrize("name", TAGGED)
def test_the_tags_of_every_family_go_there_and_back(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    codec = TextCodec(family.make(tmp_path), family.config())
    assert list(check_tags(codec, ["de-en", "en-fr", "fr-zh"])) == []


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - set(TAGGED)))
def test_a_model_without_tags_is_sound_for_one_direction(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    codec = TextCodec(family.make(tmp_path), family.config())
    assert list(check_tags(codec, ["en-de"])) == []
    assert find_tags(codec.tokenizer, ["en-de"]) == {}


def test_every_direction_without_a_tag_is_named(tmp_path: Path) -> None:
    codec = TextCodec(make_nllb(tmp_path), CONFIG)
    problems = list(check_tags(codec, ["de-en", "tlh-en", "en-tlh"]))
    assert [problem.subject for problem in problems] == ["tlh-en", "en-tlh"]
    assert all(problem.level == "error" for problem in problems)
    assert all("no tag for tlh" in problem.message for problem in problems)


def test_directions_that_look_the_same_are_reported(tmp_path: Path) -> None:
    family = FAMILIES["t5"]
    codec = TextCodec(family.make(tmp_path), family.config())
    [problem] = check_tags(codec, ["en-de", "en-fr"])
    assert problem.level == "error"
    assert "look the same to this model" in problem.message


def test_tags_that_come_after_the_text_are_no_use_in_training(tmp_path: Path) -> None:
    codec = TextCodec(make_nllb(tmp_path, legacy_behaviour=True), CONFIG)
    assert list(check_tags(codec, ["en-de", "en-fr"])) == []
    [problem] = check_tags(codec, ["en-de", "en-fr"], training=True)
    assert "legacy_behaviour=False" in problem.message


def test_tags_are_named_with_their_tokens(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    assert name_tags(tokenizer, find_tags(tokenizer, ["de-en"])) == {"de": "__de__", "en": "__en__"}
    madlad = make_madlad(tmp_path)
    assert name_tags(madlad, find_tags(madlad, ["de-en", "en-fr"])) == {"en": "<2en>", "fr": "<2fr>"}


def test_a_tag_that_is_read_as_another_token_is_reported(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(tokenizer), "convert_tokens_to_ids", lambda self, token: 7)
    problems = list(check_tags(TextCodec(tokenizer, CONFIG), ["de-en"]))
    number = tokenizer.get_vocab()["__de__"]
    assert [problem.subject for problem in problems] == ["tag of de", "tag of en"]
    assert f"__de__ has the id {number}, but is read as 7" in problems[0].message


def test_a_tag_without_an_embedding_is_reported(tmp_path: Path) -> None:
    tokenizer = make_nllb(tmp_path)
    config = M2M100Config(decoder_start_token_id=2, vocab_size=20)
    problems = list(check_tags(TextCodec(tokenizer, config), ["de-en"]))
    assert [problem.level for problem in problems] == ["error"]
    assert "embeddings for 20 tokens" in problems[0].message


def test_an_unknown_tag_and_a_shared_one_are_reported(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neuronspec.checking import tags

    unknown, german = tokenizer.unk_token_id, tokenizer.convert_tokens_to_ids("__de__")
    monkeypatch.setattr(tags, "find_tags", lambda *arguments: {"de": german, "en": unknown, "sv": german})
    problems = list(check_tags(TextCodec(tokenizer, CONFIG), ["de-en"]))
    assert [(problem.subject, problem.level) for problem in problems] == [
        ("tag of en", "error"),
        ("tag of sv", "warning"),
    ]
    assert problems[1].message == "de and sv have the same tag in this model, so it cannot tell them apart"
