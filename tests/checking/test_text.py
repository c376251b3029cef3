"""Problems of text: each is found in text that has it, and sound text has none."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from transformers import M2M100Config, PreTrainedTokenizerFast

from neuronspec.checking.problem import Problem
from neuronspec.checking.text import check_text
from neuronspec.checking.text_sample import PairText, choose_limit, read_text
from neuronspec.checking.tokens import (
    EncodedText,
    check_lengths,
    check_passes,
    check_unknown,
    count_passes,
    encode_text,
)
from neuronspec.config.sections import Corpus, Data, HoldOut, Preparation, Sampling, Training
from neuronspec.models.codec import TextCodec

ENGLISH = "the old house stands near quiet river and many people visit small museum every summer because they like it"
GERMAN = "das alte Haus steht nahe ruhigen Fluss und viele Leute besuchen kleine Museum jeden Sommer weil sie mögen es"


def make_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    english, german = ENGLISH.split(), GERMAN.split()
    rows = ([draw.randrange(len(german)) for _ in range(draw.randint(9, 14))] for _ in range(count))
    return [(" ".join(english[n] for n in row), " ".join(german[n] for n in row)) for row in rows]


def make_text(**parts: list[tuple[str, str]]) -> PairText:
    text = PairText(pair="en-de", whole={"train", "valid", "test"})
    given = {"train": make_pairs(1_000, 1), "valid": make_pairs(100, 2), "test": make_pairs(100, 3), **parts}
    for part, pairs in given.items():
        text.parts[part].extend(pairs)
    return text


def find(problems: list[Problem], words: str) -> Problem:
    [found] = [problem for problem in problems if words in problem.message]
    return found


def test_sound_text_has_no_problem() -> None:
    assert list(check_text([make_text()])) == []


def test_copies_repetitions_and_empty_sides_are_counted() -> None:
    pairs = make_pairs(1_000, 1)
    copies = [(second, second) for _, second in pairs[:200]]
    problems = list(check_text([make_text(train=[*pairs, *copies, *pairs[:30], *[("", "leer")] * 20])]))
    copied = find(problems, "the same on both sides, which teaches a model to copy")
    assert (copied.level, "en-de 200 of 1,250" in copied.message) == ("warning", True)
    assert "en-de 49 of 1,250" in find(problems, "come more than once").message  # 30, and 19 of the empty ones
    empty = find(problems, "are empty on a side")
    assert (empty.level, empty.fix, "en-de 20 of 1,250" in empty.message) == ("note", "prepare leaves them out", True)


def test_leaks_are_counted_by_the_sentences_of_a_language_whatever_the_pair() -> None:
    text = make_text()
    # Seen in another spelling of white space, with another translation
    text.parts["test"][:10] = [(f" {first}  ", f"{second} {second}") for first, second in text.parts["train"][:10]]
    text.parts["test"][10:20] = text.parts["valid"][:10]
    problems = list(check_text([text]))
    leak = find(problems, "also in the training text")
    assert leak.message.startswith("10 of 100 test pairs")
    assert (leak.level, leak.fix.partition(" ")[0]) == ("warning", "prepare.drop_held_out=true")
    assert find(problems, "also in the validation text").message.startswith("10 of 100 test pairs")
    assert "also in the training" not in str(list(check_text([text], drops_held_out=True)))

    other = PairText(pair="en-fr", whole={"train", "valid", "test"})
    other.parts["train"].extend((first, "oui") for first, _ in make_text().parts["valid"])
    found = find(list(check_text([make_text(), other])), "also in the training text")
    assert found.message.startswith("100 of 100 valid pairs")


def test_a_leak_into_text_that_was_not_read_to_its_end_is_no_claim_about_all_of_it() -> None:
    text = make_text()
    text.parts["test"][0] = text.parts["train"][0]
    text.whole.discard("train")
    assert find(list(check_text([text])), "also in the training text").message.endswith("as far as that was read")


def test_swapped_sides_and_sides_in_another_language_are_found() -> None:
    swapped = [(second, first) for first, second in make_pairs(200, 5)]
    [problem] = check_text([make_text(valid=swapped)])
    assert problem.subject == "valid text of en-de"
    assert problem.message == "the sides of the valid text of en-de look swapped: en looks like de, and de like en"

    twice = [(first, first.upper()) for first, _ in make_pairs(200, 5)]
    [foreign] = check_text([make_text(valid=twice)])
    assert "sentences on the de side of the valid text of en-de look like another language, most often en" in (
        foreign.message
    )


def test_sides_that_are_out_of_step_look_misaligned() -> None:
    pairs = make_pairs(400, 1)
    text = [(first if n % 3 else first[:8], second) for n, (first, second) in enumerate(pairs)]
    assert "they look misaligned" in str(list(check_text([make_text(test=text)])))


def test_little_text_is_noted_and_no_text_is_an_error() -> None:
    few = list(check_text([make_text(train=make_pairs(20, 1), test=[])]))
    assert [problem.level for problem in few] == ["note", "error"]
    assert few[0].message.startswith("there are few train sentences: en-de 20")
    assert (few[1].message, few[1].fix) == (
        "there is no test text of en-de",
        "give it as data.test, or a larger data.hold_out.test",
    )


def write(folder: Path, name: str, pairs: list[tuple[str, str]]) -> str:
    (folder / name).write_text("".join(f"{first}\t{second}\n" for first, second in pairs), encoding="utf-8")
    return str(folder / name)


def test_text_is_read_up_to_a_limit_and_what_was_not_read_is_known(tmp_path: Path) -> None:
    data = Data(
        train=[Corpus(path=write(tmp_path, "de.tsv", make_pairs(50, 1)))],
        test=[Corpus(path=write(tmp_path, "test.de.tsv", make_pairs(5, 2)))],
        valid=[Corpus(path=str(tmp_path / "missing.tsv"))],
    )
    [text], problems = read_text(data, ["en-de"], "en", limit=20)
    assert {part: text.count(part) for part in ("train", "test")} == {"train": "over 20", "test": "5"}
    assert [(problem.level, problem.subject) for problem in problems] == [("error", "data.valid")]
    assert "missing.tsv does not exist" in problems[0].message
    assert choose_limit(10_000) == 2_000


def test_cleaning_and_holding_out_are_those_of_the_run(tmp_path: Path) -> None:
    pairs = [*make_pairs(300, 1), ("short", "kurz"), *make_pairs(10, 1)]
    data = Data(train=[Corpus(path=write(tmp_path, "de.tsv", pairs))], hold_out=HoldOut(valid=0.2, test=0.2))
    [text], _ = read_text(data, ["en-de"], "en", cleaning=Preparation(min_words=3))
    assert text.counts == {"read": 311, "kept": 300, "too short": 1, "duplicate": 10}
    sizes = [len(text.parts[part]) for part in ("train", "valid", "test")]
    assert sum(sizes) == 300
    assert all(size > 30 for size in sizes)
    assert text.whole == {"train", "valid", "test"}
    [part], _ = read_text(data, ["en-de"], "en", limit=100)
    assert part.whole == set()


def encode(tokenizer: PreTrainedTokenizerFast, text: PairText) -> list[EncodedText]:
    codec = TextCodec(tokenizer, M2M100Config(decoder_start_token_id=2))
    return list(encode_text(codec, [text], ["en-de", "de-en"], "en"))


@pytest.fixture
def letters(tokenizer: PreTrainedTokenizerFast) -> PairText:
    """Text that the small tokenizer can read: it knows the letters from a to p."""
    text = PairText(pair="en-de", whole={"train", "valid", "test"})
    for part in ("train", "valid", "test"):
        text.parts[part].extend([("abc def ghi", "klm nop")] * 50)
    return text


def test_unknown_characters_are_counted_and_named(tokenizer: PreTrainedTokenizerFast, letters: PairText) -> None:
    assert list(check_unknown(encode(tokenizer, letters), "x")) == []
    letters.parts["train"][:10] = [("abc", "猫 犬")] * 10
    [problem] = check_unknown(encode(tokenizer, letters), "another vocabulary")
    assert (problem.subject, problem.level, problem.fix) == ("text of de", "warning", "another vocabulary")
    assert problem.message.endswith("are unknown to the vocabulary, from the characters 猫 犬")


def test_lengths_are_those_of_the_model_and_fixes_hold_the_text(
    tokenizer: PreTrainedTokenizerFast, letters: PairText
) -> None:
    encoded = encode(tokenizer, letters)
    longest = max(int(text.widest.max()) for text in encoded)
    assert list(check_lengths(encoded, Sampling(max_tokens=longest), max_output=longest)) == []

    [left_out] = check_lengths(encoded, Sampling(max_tokens=8))
    assert left_out.level == "error"  # all of it
    key, _, value = left_out.fix.partition("=")
    assert key == "sampling.max_tokens"
    assert int(value) >= longest
    [cut] = check_lengths(encoded, Sampling(), max_output=6)
    assert (cut.subject, cut.level) == ("translate.max_tokens", "warning")
    fixed = int(cut.fix.partition("=")[2])
    assert list(check_lengths(encoded, Sampling(), max_output=fixed)) == []


def test_text_beyond_the_positions_of_the_model_is_reported(
    tokenizer: PreTrainedTokenizerFast, letters: PairText
) -> None:
    from transformers import BartConfig

    config = BartConfig(decoder_start_token_id=2, max_position_embeddings=10, vocab_size=len(tokenizer))
    encoded = list(encode_text(TextCodec(tokenizer, config), [letters], ["en-de"], "en"))
    problems = list(check_lengths(encoded, Sampling()))
    assert [problem.subject for problem in problems] == ["sampling.max_tokens", "data.too_long"]
    assert "valid text of en-de 50 of 50 (limit 10)" in problems[1].message
    assert problems[0].fix == "give shorter sentences"
    assert [problem.level for problem in check_lengths(encoded, Sampling(), too_long="error")] == ["error", "error"]


def test_passes_over_the_text_are_counted(tokenizer: PreTrainedTokenizerFast, letters: PairText) -> None:
    encoded = encode(tokenizer, letters)
    tokens = sum(int(text.widest.sum()) for text in encoded if text.part == "train")
    once = Sampling(tokens_per_batch=tokens)
    training = Training(updates=10, batches_per_update=2)
    passes = count_passes(training, once, encoded, [letters], "en")
    assert passes == pytest.approx(20, rel=0.2)
    assert list(check_passes(training, "train", passes)) == []

    [often] = check_passes(training, "continued", 1_000.0)
    assert (often.level, often.fix) == ("note", "continued.updates=1 sees it about 100 times")
    [seldom] = check_passes(training, "train", 0.25)
    assert seldom.fix == "train.updates=40 sees all of it once"
    assert list(check_passes(training, "continued", 0.25)) == []  # the model has seen it before
    letters.whole.discard("train")
    assert count_passes(training, once, encoded, [letters], "en") is None
    assert np.isclose(float(passes or 0), 20 * 0.9)
