from __future__ import annotations

from neuronspec.exports.vocabulary.characters import find_characters, find_scripts

PIECES = ["a", "é", "ж", "न", "ि", "中", "7", "!", "▁", "<0x0A>", "ab", "\u0301"]


def test_signs_digits_and_bytes_are_always_kept_and_letters_of_the_scripts_of_the_text() -> None:
    assert find_characters(PIECES, set()) == {"7", "!", "▁", "<0x0A>", "\u0301"}
    assert find_characters(PIECES, {"LATIN"}) == {"7", "!", "▁", "<0x0A>", "\u0301", "a", "é"}
    assert find_characters(PIECES, {"DEVANAGARI", "CJK"}) >= {"न", "ि", "中"}


def test_a_script_with_hardly_any_letter_is_not_one_of_the_text() -> None:
    assert find_scripts({"▁aa": 5_000, "ж": 1, "中": 20, "12.": 9}) == {"LATIN", "CJK"}
    assert find_scripts({}) == set()
