"""Tokens joined to text by tokenizers of every kind, and the place of one token in the text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.models.tokenizers import FAMILIES
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BertTokenizer, ByT5Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from neuronspec.models.codec import TextCodec
from neuronspec.neurons.token_text import TokenPlace, place_token

# A text that the small vocabulary of each family can write
TEXTS = {
    "fsmt": "a b c",
    "marian, two vocabularies": "a b",
    "blenderbot-small": "a b",
    "nllb": "a b",
    "nllb legacy": "a b",
    "nllb-moe": "a b",
}


def show(place: TokenPlace) -> str:
    return place.text[place.start : place.end]


def list_places(tokenizer: PreTrainedTokenizerBase, ids: list[int], side: Any = "source") -> list[TokenPlace]:
    return [place_token(tokenizer, ids, position, side) for position in range(len(ids))]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_places_of_all_tokens_make_up_the_text(name: str, tmp_path: Path) -> None:
    tokenizer = FAMILIES[name].make(tmp_path)
    codec = TextCodec(tokenizer, FAMILIES[name].config())
    text = TEXTS.get(name, "a b c")
    for side, encode in (("source", codec.encode_sources), ("target", codec.encode_targets)):
        (ids,) = encode([text])
        places = list_places(tokenizer, ids, side)
        assert {place.role for place in places} == {"word"}
        whole = places[0].text
        assert "".join(whole.split()) == "".join(text.split())
        # One after the other, without a gap but for spaces
        ends = [0, *(place.end for place in places)]
        assert all(not whole[end : place.start].strip() for end, place in zip(ends, places, strict=False))
        assert not whole[places[-1].end :].strip()


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.has_tags])
def test_tags_and_ends_are_no_text(name: str, tmp_path: Path) -> None:
    tokenizer = FAMILIES[name].make(tmp_path)
    codec = TextCodec(tokenizer, FAMILIES[name].config())
    form = codec.format("de-en" if name != "marian" else "en-de")
    (ids,) = codec.encode_sources(["a b"])
    source = [int(number) for number in form.source(ids)]
    places = list_places(tokenizer, source)
    roles = [place.role for place in places]
    assert roles.count("tag") == 1
    assert set(roles) == {"tag", "word", "end"}
    assert len({place.text for place in places}) == 1

    # What a decoder reads first is no end of a sentence
    first = place_token(tokenizer, [tokenizer.eos_token_id, *ids], 0)
    assert first.role == "start"
    assert (first.start, first.end) == (0, 0)


def make_byte_level() -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=260, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    inner.train_from_iterator(["das Buch"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner)


def make_word_pieces(folder: Path) -> BertTokenizer:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", "##s", "the", "don", "'", "t", ","]
    (folder / "vocab.txt").write_text("\n".join(names), encoding="utf-8")
    return BertTokenizer(str(folder / "vocab.txt"))


@pytest.mark.parametrize("make", [make_byte_level, ByT5Tokenizer])
def test_pieces_of_characters_have_the_place_of_their_character(make: Callable[[], Any]) -> None:
    tokenizer = make()
    ids = tokenizer("zu spät 字!", add_special_tokens=False)["input_ids"]
    places = list_places(tokenizer, ids)
    assert {place.text for place in places} == {"zu spät 字!"}
    assert "".join(map(show, places)) == "zu spät 字!"
    # Unfinished characters begin where they will be
    assert {place.text[place.start] for place in places if place.start == place.end} == {"ä", "字"}


def test_word_pieces_are_joined(tmp_path: Path) -> None:
    tokenizer = make_word_pieces(tmp_path)
    ids = tokenizer("playing the plays")["input_ids"]
    places = list_places(tokenizer, ids)
    assert [place.role for place in places] == ["start", *["word"] * 5, "end"]
    assert [show(place).strip() for place in places] == ["", "play", "ing", "the", "play", "s", ""]
    assert places[0].text == "playing the plays"


def test_special_tokens_within_a_text_are_neither_start_nor_end(tmp_path: Path) -> None:
    tokenizer = make_word_pieces(tmp_path)
    ids = tokenizer("the [MASK] the")["input_ids"]
    assert [place.role for place in list_places(tokenizer, ids)] == ["start", "word", "special", "word", "end"]
