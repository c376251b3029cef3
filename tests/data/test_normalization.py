import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.data.normalization import comparison_form, hash_forms, is_empty

# letters of scripts that need joiners, viramas and marks, next to everything that nobody sees
odd_text = st.text(
    st.sampled_from("ab. e\u0301می\u0915\u094d\u0937\u0d28\u0d4d❤🔥\u200b\u200c\u200d\u200e\u202b\u2069\u2060\ufeff")
    | st.sampled_from("\u00ad\ufe0f\u034f\u3164\u115f\u2800\u180e\x00\x1b\x85\u00a0\u3000\u2028\ufffe\ufff9\U000e0041")
) | st.text(st.characters())

INVISIBLE = [
    "\u200b", "\u200e", "\u200f", "\u061c", "\u202a", "\u202e", "\u2066", "\u2069", "\u2060", "\u2063", "\u00ad",
    "\ufeff", "\u034f", "\ufe0e", "\ufe0f", "\U000e0100", "\u180e", "\u3164", "\uffa0", "\ufff9", "\U000e0041",
]  # fmt: skip


@pytest.mark.parametrize("character", INVISIBLE)
def test_what_nobody_sees_counts_as_nothing(character: str) -> None:
    assert is_empty(character)
    assert is_empty(f" {character}\t{character} ")
    assert comparison_form(f"{character}Good{character} mor{character}ning {character}") == "Good morning"


@pytest.mark.parametrize(
    "text", ["", " ", "\t\n", "\x00", "\x1b\x07", "\u00a0\u3000\u2028\x85", "\u2800", "\u200c\u200d"]
)
def test_a_text_without_a_visible_character_is_empty(text: str) -> None:
    assert is_empty(text)
    assert comparison_form(text) == ""


@pytest.mark.parametrize(
    "text", [".", "0", "\u0301", "。", "\u094d", "\u06dd", "\u0600", "\ufffc", "\ufffd", "🔥", "\ue000", "\u200c."]
)
def test_a_text_with_a_visible_character_is_not_empty(text: str) -> None:
    assert not is_empty(text)
    assert comparison_form(text) != ""


@pytest.mark.parametrize(
    "word",
    [
        "می\u200cخواهم",  # Persian
        "\u0915\u094d\u200d\u0937",  # Devanagari: a half form
        "\u0d05\u0d35\u0d28\u0d4d\u200d",  # Malayalam: the joiner at the end makes a chillu
        "❤\u200d🔥",
    ],
)
def test_a_joiner_within_a_word_counts(word: str) -> None:
    assert comparison_form(f"\u200b{word}\ufeff") == word
    assert comparison_form(word) != comparison_form(word.replace("\u200c", "").replace("\u200d", ""))


@pytest.mark.parametrize(
    "text", ["\u200cwords end", "words\u200c end", "words \u200dend", "words end\u200c", "words\u200c\u200d \u200cend"]
)
def test_a_joiner_at_the_edge_of_a_word_counts_as_nothing(text: str) -> None:
    assert comparison_form(text) == "words end"


def test_a_repeated_joiner_is_one_joiner() -> None:
    assert comparison_form("می\u200c\u200b\u200cخواهم") == "می\u200cخواهم"


def test_an_emoji_is_the_same_in_either_presentation() -> None:
    assert comparison_form("❤\ufe0f\u200d🔥") == comparison_form("❤\u200d🔥")


@pytest.mark.parametrize("other", ["good morning", "Good morning.", "Goodmorning", "Good mornin\u0261"])
def test_what_a_reader_sees_makes_a_difference(other: str) -> None:
    assert comparison_form(other) != comparison_form("Good morning")


@given(odd_text)
def test_the_form_of_a_form_is_itself_and_is_empty_exactly_for_empty_texts(text: str) -> None:
    form = comparison_form(text)
    assert comparison_form(form) == form
    assert is_empty(text) == (form == "")
    assert unicodedata.is_normalized("NFC", form)
    assert form.split() == form.split(" ") or form == ""
    assert comparison_form(unicodedata.normalize("NFD", text)) == form


@given(odd_text, st.sampled_from(INVISIBLE), st.data())
def test_an_invisible_character_anywhere_makes_no_difference(text: str, character: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(text)))
    assert comparison_form(text[:place] + character + text[place:]) == comparison_form(text)


def test_everything_that_unicode_calls_ignorable_is() -> None:
    ignorable = regex.compile(r"\p{Default_Ignorable_Code_Point}")
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    assert [c for c in characters if ignorable.match(c) and not is_empty(c)] == []
    others = [c for c in characters if is_empty(c) and not ignorable.match(c) and not c.isspace()]
    assert {unicodedata.category(c) for c in others} == {"Cc", "Cf", "Cn", "So"}
    assert [c for c in others if unicodedata.category(c) in ("Cf", "So")] == ["\u2800", "\ufff9", "\ufffa", "\ufffb"]


def test_texts_are_not_run_together_in_their_number() -> None:
    assert hash_forms("a b", "c") != hash_forms("a", "b c") != hash_forms("a b c")
    assert hash_forms("a", "b") == hash_forms("a", "b") != hash_forms("b", "a")
