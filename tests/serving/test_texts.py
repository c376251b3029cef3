"""A user's text is cut where a reader would, and comes back with its lines and white space."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.data.normalization import is_empty
from neuronspec.serving.texts import split_text


def count_characters(texts: Sequence[str]) -> list[int]:
    return [len(text) for text in texts]


def cut(text: str, longest: int | None = 12) -> list[str]:
    split = split_text(text, count_characters, longest)
    assert split.join(split.pieces) == text
    return list(split.pieces)


LETTERS = 'aB. !?\n\r\t\u2028\u200b\u00a0\u0301。，我いไम।1,–“"'
TEXTS = st.text(alphabet=st.sampled_from(LETTERS), max_size=60) | st.text(max_size=60)


@given(TEXTS, st.integers(1, 12) | st.none())
def test_nothing_is_lost_and_every_piece_can_be_read(text: str, longest: int | None) -> None:
    pieces = cut(text, longest)
    for piece in pieces:
        assert not is_empty(piece)
        assert len(piece.splitlines()) == 1
        assert piece == piece.strip()

    # What is longer than the limit cannot be cut: letters with their marks, and what nobody can see.
    if longest == 1:
        assert all(len(piece) == 1 or len(cut(piece, 1)) == 1 for piece in pieces)


@given(TEXTS, st.integers(1, 12), st.lists(st.text(max_size=8), min_size=60, max_size=60))
def test_translations_have_the_lines_of_their_text(text: str, longest: int, invented: list[str]) -> None:
    split = split_text(text, count_characters, longest)
    visible = [f"<{word}>" for word in invented[: len(split.pieces)]]
    joined = split.join(visible + ["x"] * (len(split.pieces) - len(visible)))

    lines, found = text.splitlines(), joined.splitlines()
    assert len(lines) == len(found)
    for line, translated in zip(lines, found, strict=True):
        assert is_empty(line) == is_empty(translated)
        assert not is_empty(line) or line == translated


def test_short_lines_stay_whole_with_all_their_sentences() -> None:
    assert cut(" One. Two.\r\n\r\n\tThree.\n", 10) == ["One. Two.", "Three."]
    assert cut("One. Two. " * 9, None) == [("One. Two. " * 9).strip()]
    assert cut("") == cut(" \n\u200b\n") == []


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ('She left! "Why?" he asked. (It was late.) He slept.', 4),
        ("Dr. Li, Prof. J. R. Kim and Mr. Ng met at 3.5 p.m. today.", 1),
        ("Am 3. Oktober kam z.B. Frau Dr. Maier, vgl. Abb. 2 und ca. 20 Leute.", 1),
        ("In 1999 war er hier. 2001 ging er. „Schade.“ Nun ja …", 4),
        ("我来了。你呢？“好！”他说。", 4),
        ("今日は。元気ですか？はい！", 3),
        ("यह एक घर है। वह कहाँ है? ठीक है।", 3),
        ("¿Qué? ¡No! Sí.", 3),
        ("Он ушёл. Она осталась, т.е. ждала. Всё.", 3),
        ("ما هذا؟ هذا بيت. نعم", 3),
    ],
)
def test_sentences_end_where_nothing_speaks_against_it(text: str, sentences: int) -> None:
    # Lines of this length are cut at the ends of sentences, and sentences are not.
    assert len(cut(text, len(text) - 1 if sentences > 1 else len(text))) == sentences
    longest = max(map(len, cut(text, len(text) - 1)))
    assert sentences == 1 or len(cut(text, longest)) == sentences


def test_sentences_that_are_too_long_are_cut_where_it_harms_least() -> None:
    assert cut("one two, three four") == ["one two,", "three four"]
    assert cut("one two three four") == ["one two", "three four"]
    assert cut("我们今天去学校，因为我们要学习。", 10) == ["我们今天去学校，", "因为我们要学习。"]
    assert cut("abcdefghijklmnop") == ["abcdefgh", "ijklmnop"]
    assert cut("e\u0301" * 8) == ["e\u0301" * 4, "e\u0301" * 4]  # letters keep their marks


def test_spaces_between_sentences_come_and_go_with_the_language() -> None:
    chinese = split_text("我来了。你呢？", count_characters, 4)
    assert chinese.join(["I came.", "You?"]) == "I came. You?"
    english = split_text("I came. You?", count_characters, 7)
    assert english.join(["我来了。", "你呢？"]) == "我来了。你呢？"
    assert english.join(["Ich kam.", "Du?"]) == "Ich kam. Du?"

    # A translation of several lines has one
    assert english.join(["Ich\nkam.", "Du?"]) == "Ich kam. Du?"
