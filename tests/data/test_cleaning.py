import hashlib
import unicodedata
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.data.cleaning import clean_pairs
from neuronspec.data.corpus_formats import Pair
from neuronspec.data.holdout import held_out_share
from neuronspec.data.normalization import comparison_form, normalize_text

# few letters, so that duplicates occur, and every kind of character that must not survive
odd_text = st.text(st.sampled_from("abe\u0301\u0304\t\n\r\x00\x0b\x1c\x85\u00a0\u2028\u3000\ud800 ")) | st.text()
options = st.fixed_dictionaries(
    {
        "min_words": st.integers(0, 3),
        "max_words": st.none() | st.integers(0, 6),
        "max_ratio": st.none() | st.floats(1, 4),
        "min_source_words": st.integers(0, 4),
        "deduplicate": st.booleans(),
    }
)


def clean(pairs: list[tuple[str, str]], **limits: Any) -> tuple[list[tuple[str, str]], Counter[str]]:
    counts: Counter[str] = Counter()
    kept = list(clean_pairs((Pair(*pair, f"f:{i}") for i, pair in enumerate(pairs)), counts=counts, **limits))
    return kept, counts


@given(st.lists(st.tuples(odd_text, odd_text)), options)
def test_cleaning_is_idempotent_and_accounts_for_every_pair(
    pairs: list[tuple[str, str]], limits: dict[str, Any]
) -> None:
    kept, counts = clean(pairs, **limits)
    again, counts_again = clean(kept, **limits)
    assert again == kept
    assert counts_again == Counter(read=len(kept), kept=len(kept))
    assert counts["read"] == len(pairs) == counts.total() - counts["read"]
    assert counts["kept"] == len(kept)


@given(odd_text)
def test_nothing_survives_that_would_break_a_line_or_a_field(text: str) -> None:
    clean_text = normalize_text(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in clean_text)
    assert clean_text.split() == clean_text.split(" ") or clean_text == ""
    assert unicodedata.is_normalized("NFC", clean_text)
    clean_text.encode()


@given(st.lists(st.tuples(odd_text, odd_text)))
def test_order_is_kept(pairs: list[tuple[str, str]]) -> None:
    kept, _ = clean(pairs)
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for source, target in pairs:
        forms = (comparison_form(source), comparison_form(target))
        first.setdefault(forms, (normalize_text(source), normalize_text(target)))
    assert kept == [pair for forms, pair in first.items() if all(forms)]


def test_composed_and_decomposed_text_is_the_same() -> None:
    assert clean([("cafe\u0301", "x"), ("caf\u00e9", "x")])[0] == [("caf\u00e9", "x")]


@pytest.mark.parametrize(
    ("pair", "limits", "reason"),
    [
        (("a b c", "x y z"), {}, "kept"),
        ((" \t ", "x"), {}, "empty"),
        (("a", "\x00"), {}, "empty"),
        (("a b", "x"), {"min_words": 2}, "too short"),
        (("a b", "x y"), {"min_words": 2}, "kept"),
        (("a b", "x y z"), {"min_source_words": 3}, "too short"),
        (("a b c", "x"), {"min_source_words": 3}, "kept"),
        (("a b", "x y z"), {"max_words": 2}, "too long"),
        (("a b", "x y"), {"max_words": 2}, "kept"),
        (("a", "x y z"), {"max_ratio": 2.5}, "length ratio"),
        (("a b c", "x"), {"max_ratio": 2.5}, "length ratio"),
        (("a b c", "x"), {"max_ratio": 3}, "kept"),
    ],
)
def test_each_limit_drops_for_its_own_reason(pair: tuple[str, str], limits: dict[str, Any], reason: str) -> None:
    kept, counts = clean([pair], **limits)
    assert counts == Counter({"read": 1, reason: 1})
    assert len(kept) == (reason == "kept")


def test_a_duplicate_is_a_whole_pair() -> None:
    pairs = [("a", "x"), ("a", "y"), (" a", "x "), ("b", "x")]
    kept, counts = clean(pairs)
    assert kept == [("a", "x"), ("a", "y"), ("b", "x")]
    assert counts["duplicate"] == 1
    assert len(clean(pairs, deduplicate=False)[0]) == 4


def test_invisible_characters_make_no_text_no_word_and_no_difference() -> None:
    assert clean([("\u200b", "x"), ("a", "\ufeff \u200e")])[1] == Counter(read=2, empty=2)
    assert clean([("a \u200b", "x")], min_words=2)[1]["too short"] == 1
    kept, counts = clean([("a\u200bb", "x"), ("ab", "x\u200f"), ("a\u200cb", "x")])
    assert kept == [("a\u200bb", "x"), ("a\u200cb", "x")]  # what is kept stays as it was written
    assert counts["duplicate"] == 1


def test_the_sides_of_a_pair_are_not_run_together() -> None:
    assert len(clean([("a b", "c"), ("a", "b c")])[0]) == 2


def test_cleaning_is_a_stream() -> None:
    def pairs() -> Any:
        yield Pair("a", "b", "f:1")
        raise AssertionError("read too far")

    assert next(clean_pairs(pairs(), counts=Counter())) == ("a", "b")


@pytest.mark.parametrize(
    "variant",
    [
        "Open the 12 files in <b>{folder}</b>, please!",
        "open the 99 files in %s please",
        "Open  the 12 files\tin %1$s, please",
        "“Open the 00 files” in %(name)s: please",
        "OPEN THE 31 FILES IN $1 - PLEASE",
        "_Open the 12 &files in please",
        "Open the 12 files in ${folder} {{name}} please",
        "\ufeffOpen the 12\u00a0fi\u00adles in\u200b please\u200e",
        "Open the 12 files in %2 %.2f %ld %@ <a href='x'/> please",
    ],
)
def test_variants_of_a_sentence_fall_on_the_same_side(variant: str) -> None:
    assert held_out_share(variant) == held_out_share("Open the 12 files in please")


@pytest.mark.parametrize("other", ["Open the 1 file", "Open a file", "Opened the file", "if a < b then", "100% sure"])
def test_different_sentences_have_different_shares(other: str) -> None:
    assert held_out_share(other) != held_out_share("Open the file")


def test_what_only_looks_like_a_placeholder_stays() -> None:
    assert held_out_share("a < b and c > d") == held_out_share("a b and c d")
    assert held_out_share("100% sure") == held_out_share("999 sure")


def test_the_share_is_the_hash_of_the_words() -> None:
    digest = hashlib.blake2b(b"dont open page 00", digest_size=8).hexdigest()
    assert held_out_share("Don't open page 42!") == pytest.approx(int(digest, 16) / 2**64, abs=1e-15)


@given(odd_text)
def test_the_share_is_a_share_and_survives_cleaning(text: str) -> None:
    share = held_out_share(text)
    assert 0 <= share < 1
    assert held_out_share(normalize_text(text)) == share


def test_shares_are_uniform() -> None:
    words = [f"{first}{second}" for first in "abcdefghijklmnopqrstuvwxyz" for second in "abcdefghijklmnopqrstuvwxyz"]
    shares = [held_out_share(f"{one} and {two}") for one in words for two in words[:5]]  # 3380 sentences
    assert sum(share < 0.1 for share in shares) == pytest.approx(338, abs=5 * 17.4)  # five standard deviations
