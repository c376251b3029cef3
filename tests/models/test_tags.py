from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from tests.models.tokenizers import make_m2m, make_mbart, make_nllb, write_pieces
from transformers import (
    M2M100Config,
    MarianConfig,
    MarianTokenizer,
    MBart50Tokenizer,
    MBartConfig,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    T5Config,
)

from neuronspec.errors import NeuronspecError
from neuronspec.models.codec import TextCodec
from neuronspec.models.tags import list_tags, tag_id

MARIAN = {"</s>": 0, "<unk>": 1, "▁a": 2, ">>deu<<": 3, ">>fra<<": 4, "<pad>": 5}


@pytest.fixture(scope="module")
def tokenizers(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast
) -> dict[str, PreTrainedTokenizerBase]:
    """The tokenizers of real model families, with vocabularies of a few pieces, and ours."""
    folder: Path = tmp_path_factory.mktemp("tokenizers")
    pieces, _ = write_pieces(folder)
    (folder / "marian.json").write_text(json.dumps(MARIAN), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where sacremoses is not installed, which it would normalize text with
        marian = MarianTokenizer(pieces, pieces, str(folder / "marian.json"))
    return {
        "ours": tokenizer,
        "m2m_100": make_m2m(folder),
        "nllb": make_nllb(folder),
        "mbart": make_mbart(folder, MBart50Tokenizer),
        "marian": marian,
    }


@pytest.mark.parametrize(
    ("family", "language", "token"),
    [
        ("ours", "de", "__de__"),
        ("ours", "deu_Latn", "__de__"),
        ("m2m_100", "de", "__de__"),
        ("m2m_100", "zho", "__zh__"),
        ("nllb", "de", "deu_Latn"),
        ("nllb", "ar", "arb_Arab"),
        ("nllb", "zh-Hant", "zho_Hant"),
        ("mbart", "de", "de_DE"),
        ("mbart", "__en__", "en_XX"),
        ("marian", "de", ">>deu<<"),
    ],
)
def test_finds_the_tag_of_a_language(
    tokenizers: dict[str, PreTrainedTokenizerBase], family: str, language: str, token: str
) -> None:
    tokenizer = tokenizers[family]
    number = tag_id(language, tokenizer)
    assert tokenizer.convert_ids_to_tokens(number) == token
    assert number != tokenizer.unk_token_id


@pytest.mark.parametrize(
    ("family", "language", "message"),
    [
        ("ours", "pl", r"no tag for Polish \(pl\).*its tags: __de__, __en__, __fr__, __sv__$"),
        ("m2m_100", "szl", r"no tag for Silesian \(szl\).*its tags: __af__, .* and 88 more"),
        ("nllb", "br", r"no tag for Breton \(br\).*its tags: ace_Arab, "),
        ("mbart", "br", r"no tag for Breton \(br\).*its tags: af_ZA, "),
        ("marian", "sv", r"no tag for Swedish \(sv\).*its tags: >>deu<<, >>fra<<$"),
        ("ours", "Klingon", r"no tag for Klingon.*its tags: __de__"),
    ],
)
def test_a_language_without_a_tag_is_refused_and_never_becomes_unk(
    tokenizers: dict[str, PreTrainedTokenizerBase], family: str, language: str, message: str
) -> None:
    with pytest.raises(NeuronspecError, match=message):
        tag_id(language, tokenizers[family])


@pytest.mark.parametrize(
    ("family", "config"),
    [
        ("ours", M2M100Config()),
        ("m2m_100", M2M100Config()),
        ("nllb", M2M100Config()),
        ("mbart", MBartConfig(decoder_start_token_id=2)),
    ],
)
def test_families_with_tags_on_both_sides(
    tokenizers: dict[str, PreTrainedTokenizerBase], family: str, config: PretrainedConfig
) -> None:
    tokenizer = tokenizers[family]
    german, french = tag_id("de", tokenizer), tag_id("fr", tokenizer)
    form = TextCodec(tokenizer, config).format("de-fr")
    assert form.source([8, 9]) == [german, 8, 9, 2]
    assert form.decoder_input([8, 9]) == [2, french, 8, 9]
    assert form.labels([8, 9]) == [french, 8, 9, 2]
    assert german != french


def test_marian_reads_the_target_tag_in_front_of_the_source(tokenizers: dict[str, PreTrainedTokenizerBase]) -> None:
    form = TextCodec(tokenizers["marian"], MarianConfig(decoder_start_token_id=5)).format("en-fr")
    assert form.source([2]) == [4, 2, 0]
    assert form.decoder_input([2]) == [5, 2]
    assert form.labels([2]) == [2, 0]


def test_the_tokenizer_decides_and_not_the_kind_of_model(tokenizers: dict[str, PreTrainedTokenizerBase]) -> None:
    tokenizer = tokenizers["ours"]
    form = TextCodec(tokenizer, T5Config(decoder_start_token_id=1)).format("de-fr")
    german, french = tag_id("de", tokenizer), tag_id("fr", tokenizer)
    assert (form.source([8]), form.decoder_input([8])) == ([german, 8, 2], [1, french, 8])


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("de-pl", "no tag for Polish"),
        ("pl-de", "no tag for Polish"),
        ("de", "not a direction"),
        ("de-xx", "no tag for xx"),
    ],
)
def test_a_task_that_the_model_cannot_do_is_refused(
    tokenizers: dict[str, PreTrainedTokenizerBase], task: str, message: str
) -> None:
    with pytest.raises(NeuronspecError, match=message):
        TextCodec(tokenizers["ours"], M2M100Config()).format(task)


def test_a_model_that_does_not_say_what_decoding_starts_from_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    config = M2M100Config(decoder_start_token_id=None)
    with pytest.raises(NeuronspecError, match="no decoder_start_token_id"):
        TextCodec(tokenizer, config).format("de-en")


def test_pieces_of_text_are_no_tags(tokenizers: dict[str, PreTrainedTokenizerBase]) -> None:
    assert list_tags(tokenizers["ours"]) == ["__de__", "__en__", "__fr__", "__sv__"]
    assert len(list_tags(tokenizers["m2m_100"])) == 100
    assert len(list_tags(tokenizers["nllb"])) == 202
    assert len(list_tags(tokenizers["mbart"])) == 52
