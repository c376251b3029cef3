"""What plain transformers must be given, and which of its tokenizers could know the languages of our vocabularies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.models.tokenizers import FAMILIES, make_t5
from transformers import AutoTokenizer, M2M100Config, PreTrainedTokenizerFast, T5Config

from neuronspec.data.vocabulary import learn_vocabulary
from neuronspec.models.codec import TextCodec
from neuronspec.models.plain_use import PlainUse, find_plain_use

TEXTS = ["a b c", "c", "a, b b a"]
CODES = ("de", "pt-BR", "zho_Hans", "xx1", "en")
PROBE = "__{}__ "


@pytest.fixture
def own_codes(tmp_path: Path) -> PreTrainedTokenizerFast:
    """A vocabulary as `prepare` makes it, with codes in several spellings, loaded from its directory."""
    learn_vocabulary(iter(["a b c d", "b c, a d"] * 20), 24, CODES).save_pretrained(tmp_path / "ours")
    loaded: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(tmp_path / "ours")
    return loaded


def read_plainly(tokenizer: Any, use: PlainUse, text: str) -> list[int]:
    """Return what the tokenizer alone makes of a source."""
    if use.language is not None:
        tokenizer.src_lang = use.language
    ids: list[int] = tokenizer(use.prefix + text)["input_ids"]
    return ids


# Without tags there is one direction.
CASES = [(name, task) for name, family in FAMILIES.items() for task in ("en-de", "fr-en")[: 1 + family.has_tags]]


@pytest.mark.parametrize(("name", "task"), CASES)
def test_the_tokenizer_of_every_family_alone_makes_what_the_codec_makes(tmp_path: Path, name: str, task: str) -> None:
    family = FAMILIES[name]
    codec = TextCodec(family.make(tmp_path), family.config())
    use = find_plain_use(codec, task)
    assert use is not None

    form = codec.format(task)
    for text, ids in zip(TEXTS, codec.encode_sources(TEXTS), strict=True):
        assert read_plainly(codec.tokenizer, use, text) == form.source(ids)

    # What the decoder starts with, where it does not start so by itself
    start = codec.tokenizer.convert_tokens_to_ids(list(use.start)) or [codec.config.decoder_start_token_id]
    assert start == form.decoding_start


def test_looking_for_a_way_leaves_the_tokenizer_as_it_was(tmp_path: Path) -> None:
    tokenizer: Any = FAMILIES["m2m_100"].make(tmp_path)
    tokenizer.src_lang = "fr"
    use = find_plain_use(TextCodec(tokenizer, M2M100Config(decoder_start_token_id=2)), "de-en")
    assert use == PlainUse(language="de", prefix="", start=("</s>", "__en__"))
    assert tokenizer.src_lang == "fr"


@pytest.mark.parametrize("language", CODES)
def test_our_vocabularies_read_a_tag_in_front_of_the_text(language: str, own_codes: PreTrainedTokenizerFast) -> None:
    codec = TextCodec(own_codes, M2M100Config(decoder_start_token_id=2))
    other = "en" if language != "en" else "de"
    use = find_plain_use(codec, f"{language}-{other}")
    assert use == PlainUse(language=None, prefix=f"__{language}__ ", start=("</s>", f"__{other}__"))


def test_words_that_replace_tags_are_a_part_of_it(tmp_path: Path) -> None:
    codec = TextCodec(make_t5(tmp_path), T5Config(decoder_start_token_id=0), "translate {src_name} to {tgt_name}: ")
    use = find_plain_use(codec, "en-de")
    assert use == PlainUse(language=None, prefix="translate English to German: ", start=())


def test_a_tokenizer_that_cannot_make_it_is_said_to_have_no_way(tmp_path: Path) -> None:
    # M2M-100 places the tags of its own list only, and one of them in any case.
    tokenizer = FAMILIES["m2m_100"].make(tmp_path)
    tokenizer.add_tokens([f"word{number}" for number in range(200)])  # it numbers its tags from its own pieces on
    tokenizer.add_tokens(["__hsb__"], special_tokens=True)
    codec = TextCodec(tokenizer, M2M100Config(decoder_start_token_id=2, vocab_size=400))
    assert find_plain_use(codec, "de-hsb") is not None
    assert find_plain_use(codec, "hsb-de") is None


# Docs say why: mBART-50 and mBART drop our normalization, NLLB and SeamlessM4T read the pieces as BPE, and the others
# have files of their own and fixed codes.
STOCK = ["MBart50Tokenizer", "MBartTokenizer", "NllbTokenizer", "SeamlessM4TTokenizer"]
OWN_FILES = ["M2M100Tokenizer", "PLBartTokenizer"]


def load_as(kind: str, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Any:
    """Return what AutoTokenizer makes of a directory of ours that names another class."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"tokenizer_class": kind}))
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("kind", STOCK)
@pytest.mark.parametrize("language", ["de", "__de__", "xx1", "__xx1__"])
def test_no_stock_tokenizer_honours_the_languages_of_our_vocabularies(
    own_codes: PreTrainedTokenizerFast, tmp_path: Path, kind: str, language: str
) -> None:
    text = "a b\u00a0c  d "
    wanted = own_codes(PROBE.format(language.strip("_")) + text)["input_ids"]
    loaded = load_as(kind, own_codes, tmp_path)
    assert type(loaded).__name__ == kind
    loaded.src_lang = language
    assert loaded(text)["input_ids"] != wanted


@pytest.mark.parametrize("kind", OWN_FILES)
def test_stock_tokenizers_with_files_of_their_own_do_not_load_our_vocabularies(
    own_codes: PreTrainedTokenizerFast, tmp_path: Path, kind: str
) -> None:
    with pytest.raises((TypeError, ValueError)):
        load_as(kind, own_codes, tmp_path)
