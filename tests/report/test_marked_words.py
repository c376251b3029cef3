from __future__ import annotations

import pytest

from neuronspec.neurons.examples import Example
from neuronspec.neurons.token_text import TokenPlace, TokenRole
from neuronspec.report.language_cards import LanguageCard, choose_neurons
from neuronspec.report.marked_words import choose_role, list_words, mark_word


def mark(text: str, start: int, end: int) -> str:
    first, last = mark_word(TokenPlace(text=text, start=start, end=end, role="word"))
    return text[first:last]


@pytest.mark.parametrize(
    ("text", "token", "word"),
    [
        ("Die Wörterbücher fehlen", "bü", "Wörterbücher"),
        ("Die Wörterbücher fehlen", " Wört", "Wörterbücher"),
        ("isn't it?", "n't", "isn't"),
        ("it is 3.5 m", ".5", "3.5"),
        ("well, yes", ",", ","),
        ("到达机场了", "机场", "机场"),  # no spaces: the letters of the token
        ("กินข้าว", "ข้", "ข้"),
        ("กินข้าว", "ข", "ข้"),  # never a letter without its marks
        ("iPhone手机", "one", "iPhone"),
        ("हिन्दी में", "न्", "हिन्दी"),
        ("مرحبا بكم", "حب", "مرحبا"),
    ],
)
def test_a_word_is_marked_whole(text: str, token: str, word: str) -> None:
    start = text.index(token)
    assert mark(text, start, start + len(token)) == word


@pytest.mark.parametrize(("start", "end", "word"), [(1, 2, "b"), (2, 2, "b"), (0, 0, "a"), (5, 5, "c"), (4, 4, "c")])
def test_a_token_without_letters_belongs_to_the_next_word(start: int, end: int, word: str) -> None:
    assert mark("a b c", start, end) == word


def test_nothing_is_marked_where_there_is_no_word() -> None:
    assert mark("", 0, 0) == mark("  ", 1, 1) == ""
    assert mark_word(TokenPlace(text="a b", start=3, end=3, role="end")) == (3, 3)


def make_example(text: str, word: str, role: TokenRole = "word") -> Example:
    start = text.index(word)
    end = start + len(word) if role == "word" else start
    return Example("de-en", [], 0, 1.0, TokenPlace(text=text, start=start, end=end, role=role))


def test_frequent_words_come_first_and_once() -> None:
    examples = [make_example("so Der Tag", "Tag"), make_example("Der Tag", "Der"), make_example("mit der Uhr", "der")]
    assert list_words(examples) == ["Der", "Tag"]
    assert list_words(examples, 1) == ["Der"]
    assert list_words([make_example("a", "a", "tag")]) == []


def test_a_neuron_reads_what_more_than_half_of_its_examples_are() -> None:
    word, tag, end = (make_example("a b", "a", role) for role in ("word", "tag", "end"))
    assert choose_role([tag, tag, tag, word, word]) == "tag"
    assert choose_role([end, end, word]) == "end"
    assert choose_role([tag, tag, word, word]) == "word"
    assert choose_role([tag, end, word]) == "word"
    assert choose_role([]) == "word"


def test_a_card_shows_neurons_of_words_first_and_a_few_of_tags() -> None:
    places = [("decoder.0", number) for number in range(20)]
    card = LanguageCard(task="a", label="a", name="a", stack="decoder", layer_shares=[], neurons=places)
    reads = {f"decoder.0:{number}": "tag" if number % 2 == 0 else "word" for number in range(20)}
    chosen = choose_neurons(card, reads, limit=4)
    assert [number for _, number in chosen.neurons] == [1, 3, 5, 7, 0, 2, 4]
    everything = choose_neurons(card, dict.fromkeys(reads, "word"), limit=4)
    assert [number for _, number in everything.neurons] == [0, 1, 2, 3]
