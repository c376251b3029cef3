"""Vocabularies with more tokens: earlier ones keep their ids, and text of other languages its tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models.tokenizers import FAMILIES, SENTENCES
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from neuronspec.errors import NeuronspecError
from neuronspec.exports.vocabulary.extending import extend_vocabulary, is_restored, measure_coverage
from neuronspec.exports.vocabulary.new_pieces import find_new_pieces
from neuronspec.exports.vocabulary.trimming import list_tokens
from neuronspec.models.additions import Addition
from neuronspec.models.codec import TextCodec
from neuronspec.models.encoding import encode
from neuronspec.models.restricted_tokenizers import restrict_tokenizer

GEORGIAN = ["ვაშლი არის კარგი a b c", "გამარჯობა მსოფლიო word", "კარგი დილა მსოფლიო Guten"] * 10
CODES = {
    **dict.fromkeys(("nllb", "nllb legacy", "nllb-moe"), "kat_Latn"),
    **dict.fromkeys(("mbart-cc25", "mbart-50"), "xa_GE"),
}
REFUSED = ("marian, two vocabularies", "fsmt")
UNIGRAM = ("mbart-cc25", "mbart-50", "madlad", "t5", "mt5", "umt5", "pegasus")


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in REFUSED])
def test_a_tag_gets_the_number_after_the_embeddings_and_changes_no_text(family: str, tmp_path: Path) -> None:
    tokenizer = FAMILIES[family].make(tmp_path)
    code = CODES.get(family, "xkat")
    rows = max(list_tokens(tokenizer).values()) + 4  # embeddings may have rows without a token
    extended = extend_vocabulary(tokenizer, rows=rows, languages=[code], sentences={code: GEORGIAN}, pieces=0)

    numbers = list_tokens(extended.tokenizer)
    assert {token: numbers[token] for token in list_tokens(tokenizer)} == list_tokens(tokenizer)
    assert [numbers[token] for token in extended.tokens] == [*range(rows, rows + len(extended.tokens))]
    assert bool(extended.tokens) == FAMILIES[family].has_tags
    assert is_restored(tokenizer, extended.tokenizer, rows, extended.pieces)
    for side in ("source", "target"):
        assert encode(extended.tokenizer, side, SENTENCES) == encode(tokenizer, side, SENTENCES)


@pytest.mark.parametrize("family", UNIGRAM)
def test_pieces_make_a_new_script_known_and_change_no_other_text(family: str, tmp_path: Path) -> None:
    tokenizer = FAMILIES[family].make(tmp_path)
    code = CODES.get(family, "xkat")
    rows = max(list_tokens(tokenizer).values()) + 4
    extended = extend_vocabulary(tokenizer, rows=rows, languages=[code], sentences={code: GEORGIAN}, pieces=40)

    assert extended.after[code].unknown == 0
    assert extended.after[code].tokens > extended.before[code].tokens
    assert is_restored(tokenizer, extended.tokenizer, rows, extended.pieces)
    assert encode(extended.tokenizer, "source", SENTENCES) == encode(tokenizer, "source", SENTENCES)

    # A word in the new script within other text: as before for tasks from before
    addition = Addition(
        languages=(code,), tasks=("en-xx",), vocabulary=rows, pieces=extended.pieces, widths={"encoder.0": 1}
    )
    restricted = restrict_tokenizer(extended.tokenizer, addition)
    mixed = ["a კარგი b", *GEORGIAN, *SENTENCES]
    assert encode(restricted, "source", mixed) == encode(tokenizer, "source", mixed)
    restricted.save_pretrained(tmp_path / "saved")
    assert list_tokens(AutoTokenizer.from_pretrained(tmp_path / "saved")) == list_tokens(tokenizer)


@pytest.mark.parametrize("family", ["m2m_100", "nllb", "marian", "bart"])
def test_tokenizers_that_cannot_get_pieces_say_how_they_cover_the_language(family: str, tmp_path: Path) -> None:
    tokenizer, code = FAMILIES[family].make(tmp_path), CODES.get(family, "xkat")
    with pytest.raises(NeuronspecError, match=r"tokens a word, .* % unknown\): set model\.extend\.pieces=0"):
        extend_vocabulary(tokenizer, rows=500, languages=[code], sentences={code: GEORGIAN}, pieces=9)


@pytest.mark.parametrize("family", REFUSED)
def test_vocabularies_of_one_pair_are_refused(family: str, tmp_path: Path) -> None:
    tokenizer = FAMILIES[family].make(tmp_path)
    with pytest.raises(NeuronspecError, match="a vocabulary for each side"):
        extend_vocabulary(tokenizer, rows=500, languages=["ka"], sentences={"ka": GEORGIAN}, pieces=0)


@pytest.mark.parametrize(("family", "code"), [("nllb", "xkat"), ("mbart-50", "xkat")])
def test_a_code_that_no_tag_of_the_model_has_the_form_of_is_refused(family: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match=r"the model's tags look like .*, and xkat does not"):
        extend_vocabulary(
            FAMILIES[family].make(tmp_path), rows=500, languages=[code], sentences={code: GEORGIAN}, pieces=0
        )


def extend(tokenizer: PreTrainedTokenizerBase) -> TextCodec:
    """The codec of a model to which Georgian was added."""
    from transformers import M2M100Config

    rows = len(tokenizer)
    extended = extend_vocabulary(tokenizer, rows=rows, languages=["ka"], sentences={"ka": GEORGIAN}, pieces=60)
    config = M2M100Config(decoder_start_token_id=2, vocab_size=rows + len(extended.tokens))
    addition = Addition(
        languages=("ka",), tasks=("en-ka", "ka-en"), vocabulary=rows, pieces=extended.pieces, widths={"encoder.0": 1}
    )
    config.added_languages = [addition.model_dump(mode="json")]
    return TextCodec(extended.tokenizer, config)


@pytest.fixture(scope="module")
def codec(tokenizer: PreTrainedTokenizerFast) -> TextCodec:
    return extend(tokenizer)


@settings(max_examples=60)
@given(text=st.text(st.sampled_from("abcdefghijklmnop კარგიძ_<>/s2éé  \u2581"), max_size=30))
def test_any_text_of_an_old_direction_has_the_tokens_that_it_had(
    text: str, codec: TextCodec, tokenizer: PreTrainedTokenizerFast
) -> None:
    before = TextCodec(tokenizer, codec.config.__class__(decoder_start_token_id=2, vocab_size=len(tokenizer)))
    assert codec.encode_sources([text], "de-en") == before.encode_sources([text])
    assert codec.encode_targets([text], "en-de") == before.encode_targets([text])

    # Without new letters, the same for new directions.
    if not set(text) & set("კარგიძ"):
        assert codec.encode_sources([text], "ka-en") == before.encode_sources([text])


def test_directions_between_old_and_new_languages_read_what_their_source_needs(codec: TextCodec) -> None:
    (new,), (old,) = (codec.encode_sources(["კარგი"], task) for task in ("ka-de", "de-ka"))
    assert codec.tokenizer.unk_token_id not in new
    assert codec.tokenizer.unk_token_id in old or old != new
    assert codec.find_tokenizer("de-en").get_vocab().keys() < codec.tokenizer.get_vocab().keys()


def test_no_new_piece_can_be_a_part_of_known_text() -> None:
    known = {"▁a": -2.0, "b": -3.0, "a": -4.0, "▁": -5.0}
    pieces = find_new_pieces(["ab ба", "баб аб"] * 9, known, 50)
    assert pieces
    assert all(not set(piece) <= set("ab▁") for piece in pieces)
    assert min(pieces.values()) >= -5.0
    assert find_new_pieces(["ab ab"] * 9, known, 50) == {}
    assert len(find_new_pieces(["ab ба", "баб аб"] * 9, known, 1)) == 1


def test_coverage_counts_words_tokens_and_unknown_ones(tokenizer: PreTrainedTokenizerFast) -> None:
    coverage = measure_coverage(tokenizer, ["კარგი დილა"])
    assert (coverage.sentences, coverage.words) == (1, 2)
    assert coverage.unknown == 2
