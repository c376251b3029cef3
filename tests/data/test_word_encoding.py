"""Encoding word by word gives the ids of the whole sentence, whatever it holds."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PretrainedConfig

from neuronspec.data import word_encoding
from neuronspec.data.vocabulary import learn_vocabulary, reads_words_alone
from neuronspec.data.word_encoding import SPACE_MARK, WordEncoder
from neuronspec.models.codec import TextCodec

LEARNED = ["der Hund schläft tief", "the dog's asleep now", "ぬ犬が寝ている よ", "< s> a </s> b", "__d e__ 1 2 3"]
TOKENIZER = learn_vocabulary(iter(LEARNED * 9), 120, ["de", "en"])
STARTS = [number for piece, number in TOKENIZER.get_vocab().items() if piece.startswith(SPACE_MARK)]
CODEC = TextCodec(TOKENIZER, PretrainedConfig())

SPECIAL = [
    "<s>",
    "</s>",
    "<pad>",
    "<unk>",
    "__de__",
    "__en__",
    "\u2581",
    " ",
    "  ",
    "\u00a0",
    "\u200b",
    "\u200d",
    "\u0301",
]
SNIPPETS = st.sampled_from([*SPECIAL, "Hund", "dog's", "犬が", "x", "é", "\u1100", "\u1161", "<", "s>", "\ufeff", "\n"])
TEXTS = st.lists(SNIPPETS | st.text(st.characters(exclude_categories=["Cs"]), max_size=4), max_size=12).map("".join)


@given(st.lists(TEXTS, max_size=4))
@example(
    ["der </s>x <s> __de__ Hund", "\u2581der \u2581 Hund", "", " ", "der  Hund ", "e\u0301 \u0301e", "\u1100 \u1161"]
)
def test_words_have_the_ids_that_they_have_in_the_sentence(texts: list[str]) -> None:
    for encode in (CODEC.encode_sources, CODEC.encode_targets):
        assert WordEncoder(encode, STARTS)(texts) == encode(texts)


@pytest.mark.parametrize("most", [1, 3, 100])
def test_a_full_memory_changes_nothing_and_known_words_are_not_encoded_again(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_encoding, "MOST_WORDS", most)
    asked: list[str] = []

    def encode(texts: list[str]) -> list[list[int]]:
        asked.extend(texts)
        return CODEC.encode_sources(texts)

    encoder = WordEncoder(encode, STARTS)
    for _ in range(2):
        for line in LEARNED:
            assert encoder([line, "the  dog"]) == CODEC.encode_sources([line, "the  dog"])
    repeated = [text for text in asked if "schläft" in text]
    assert len(repeated) == (1 if most == 100 else 2)


def test_only_tokenizers_that_are_known_to_split_at_spaces_are_believed(tmp_path: Path) -> None:
    assert reads_words_alone(TOKENIZER)
    TOKENIZER.save_pretrained(tmp_path)
    whole, spaced, plain = (AutoTokenizer.from_pretrained(tmp_path) for _ in range(3))
    assert reads_words_alone(whole)
    assert not reads_words_alone(TOKENIZER.backend_tokenizer)

    whole.backend_tokenizer.normalizer = None
    spaced.add_special_tokens({"extra_special_tokens": ["a b"]})
    plain.add_tokens(["Hund"])
    assert not any(map(reads_words_alone, (whole, spaced, plain)))
