import io
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from neuronspec.data import vocabulary
from neuronspec.data.normalization import normalize_text
from neuronspec.data.vocabulary import learn_vocabulary, limit_sample, sample_sentences, tag_token
from neuronspec.errors import NeuronspecError
from neuronspec.models.encoding import encode

SIZE = 200
LANGUAGES = ("de", "en", "hi", "zh")
ALPHABETS = ("abcdefgäöüß", "abcdefgilmnors", "अआइईउऊकखगघ", "的一是不了人我在")
PUNCTUATION = (".", ",", "!", "?", " -", "%", "…")


def invent(count: int, seed: int) -> list[str]:
    """Sentences in four made-up languages, three of them written with accents or another script."""
    words = random.Random(0)
    vocabularies = [
        ["".join(words.choices(letters, k=words.randint(1, 7))) for _ in range(60)] for letters in ALPHABETS
    ]
    draw = random.Random(seed)
    return [
        " ".join(draw.choices(draw.choice(vocabularies), k=draw.randint(1, 9))) + draw.choice(PUNCTUATION)
        for _ in range(count)
    ]


TEXT, HELD_OUT = invent(600, seed=1), invent(200, seed=2)
IDEOGRAPHS = [chr(number) for number in range(0x4E00, 0x4F00)]


@pytest.fixture(scope="module")
def learned() -> PreTrainedTokenizerFast:
    return learn_vocabulary(iter(TEXT), SIZE, LANGUAGES)


@pytest.fixture(scope="module")
def reloaded(learned: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    directory = tmp_path_factory.mktemp("vocabulary")
    learned.save_pretrained(directory)
    assert not list(directory.glob("*.py"))
    return AutoTokenizer.from_pretrained(directory, trust_remote_code=False)


@pytest.fixture(scope="module")
def reference() -> sentencepiece.SentencePieceProcessor:
    """The same model, learned and run by SentencePiece alone."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT),
        model_writer=model,
        vocab_size=SIZE,
        model_type="unigram",
        character_coverage=1.0,
        normalization_rule_name="identity",
        bos_id=0,
        pad_id=1,
        eos_id=2,
        unk_id=3,
        num_threads=1,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def test_ids_equal_those_of_sentencepiece_on_held_out_text(
    reloaded: PreTrainedTokenizerFast, reference: sentencepiece.SentencePieceProcessor
) -> None:
    strange = ["zebra 123", "日本語 abc", "🙂🙂 hat", "x", "a" * 300, "abc\u3000def"]
    for sentence in [*HELD_OUT, *strange]:
        ids = reloaded(sentence, add_special_tokens=False)["input_ids"]
        assert ids == reference.encode(sentence.replace("\u3000", " ")), sentence
    pieces = [len(reloaded.tokenize(sentence)) for sentence in HELD_OUT]
    assert sum(pieces) < 0.8 * sum(map(len, HELD_OUT))  # it is no mere list of characters


def test_the_loaded_tokenizer_is_the_one_that_was_saved(
    learned: PreTrainedTokenizerFast, reloaded: PreTrainedTokenizerFast
) -> None:
    assert reloaded.get_vocab() == learned.get_vocab()
    assert reloaded.special_tokens_map == learned.special_tokens_map
    tagged = [f"{tag_token('de')} {sentence}" for sentence in HELD_OUT]
    assert reloaded(tagged)["input_ids"] == learned(tagged)["input_ids"]


def test_special_tokens_have_the_ids_of_m2m_100_and_tags_follow_the_pieces(reloaded: PreTrainedTokenizerFast) -> None:
    special = (reloaded.bos_token_id, reloaded.pad_token_id, reloaded.eos_token_id, reloaded.unk_token_id)
    assert special == (0, 1, 2, 3)
    tags = [tag_token(language) for language in LANGUAGES]
    assert reloaded.convert_tokens_to_ids(tags) == [SIZE, SIZE + 1, SIZE + 2, SIZE + 3]
    assert len(reloaded) == SIZE + len(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_tag_is_one_special_token_in_front_of_the_text(language: str, reloaded: PreTrainedTokenizerFast) -> None:
    sentence = HELD_OUT[0]
    plain = reloaded(sentence)["input_ids"]
    assert plain == [*reloaded(sentence, add_special_tokens=False)["input_ids"], reloaded.eos_token_id]
    tagged = reloaded(f"{tag_token(language)} {sentence}")["input_ids"]
    assert tagged == [reloaded.convert_tokens_to_ids(tag_token(language)), *plain]
    assert reloaded.decode(tagged, skip_special_tokens=True).strip() == sentence


@pytest.mark.parametrize("sentence", [*HELD_OUT[:20], "a , b !", "g-a", "% a"])
def test_text_survives_the_round_trip(sentence: str, reloaded: PreTrainedTokenizerFast) -> None:
    ids = reloaded(sentence)["input_ids"]
    assert reloaded.unk_token_id not in ids
    assert reloaded.decode(ids, skip_special_tokens=True) == sentence


@given(st.text(st.sampled_from("abcdefg äöü. \u0308\t\u00a0")))
@settings(max_examples=80)
def test_text_is_normalised_as_it_is_when_prepared(reloaded: PreTrainedTokenizerFast, text: str) -> None:
    # what a user types at a served model meets the same normalisation as the training text
    assert reloaded(text)["input_ids"] == reloaded(normalize_text(text))["input_ids"]


def test_learning_is_deterministic(learned: PreTrainedTokenizerFast) -> None:
    again = learn_vocabulary(iter(TEXT), SIZE, LANGUAGES)
    assert again.backend_tokenizer.to_str() == learned.backend_tokenizer.to_str()


def test_character_coverage_leaves_rare_characters_out() -> None:
    text = ["abc abd acd bcd"] * 2_000 + ["q"]
    tokenizers = [learn_vocabulary(iter(text), 64, [], coverage) for coverage in (1.0, 0.999)]
    assert [tokenizer.unk_token_id in tokenizer("q")["input_ids"] for tokenizer in tokenizers] == [False, True]


@pytest.mark.parametrize(
    "sentences",
    [[], ["", " "], ["".join(IDEOGRAPHS)] * 3],
    ids=["no text", "blank text", "more characters than pieces"],
)
def test_text_that_does_not_fit_the_size_is_a_clear_error(sentences: list[str]) -> None:
    with pytest.raises(
        NeuronspecError, match=r"a vocabulary of 64 pieces .*; give more text or another prepare\.vocabulary\.size"
    ):
        learn_vocabulary(iter(sentences), 64, ["de"])


def write_columns(directory: Path, sizes: dict[str, int]) -> dict[str, list[tuple[Path, int]]]:
    """One file for each language, `en` in the first column: every sentence says where it stands."""
    files: dict[str, list[tuple[Path, int]]] = {"en": []}
    for language, size in sizes.items():
        path = directory / f"train.en-{language}.tsv"
        path.write_text("".join(f"en {language} {n}\t{language} {n}\n" for n in range(size)), encoding="utf-8")
        files["en"].append((path, 0))
        files[language] = [(path, 1)]
    return files


def count_languages(sample: Iterator[str] | Sequence[str]) -> Counter[str]:
    return Counter(sentence.split()[0] for sentence in sample)


def test_a_sample_is_balanced_by_temperature(tmp_path: Path) -> None:
    files = write_columns(tmp_path, {"de": 6_400, "fr": 1_600})
    sizes = {"en": 8_000, "de": 6_400, "fr": 1_600}
    counts = count_languages(sample_sentences(files, sizes, 2, 2_000, seed=1))
    roots = {language: size**0.5 for language, size in sizes.items()}
    for language, root in roots.items():
        assert counts[language] == pytest.approx(2_000 * root / sum(roots.values()), rel=0.12)


def test_a_sample_reaches_into_every_file_and_holds_nothing_twice(tmp_path: Path) -> None:
    files = write_columns(tmp_path, {"de": 500, "fr": 500})
    sample = list(sample_sentences(files, {"en": 1_000, "de": 500, "fr": 500}, 1, 400, seed=3))
    assert len(set(sample)) == len(sample)
    english = Counter(sentence.split()[1] for sentence in sample if sentence.startswith("en "))
    assert min(english["de"], english["fr"]) > 70
    positions = [int(sentence.split()[-1]) for sentence in sample]
    assert sum(positions) / len(positions) == pytest.approx(250, rel=0.1)


def test_all_is_taken_where_there_is_little(tmp_path: Path) -> None:
    files = write_columns(tmp_path, {"de": 30, "fr": 5})
    counts = count_languages(sample_sentences(files, {"en": 35, "de": 30, "fr": 5}, 1, 1_000, seed=0))
    assert counts == {"en": 35, "de": 30, "fr": 5}


def test_the_seed_decides_the_sample(tmp_path: Path) -> None:
    files, sizes = write_columns(tmp_path, {"de": 300}), {"en": 300, "de": 300}
    samples = [list(sample_sentences(files, sizes, 5, 100, seed)) for seed in (1, 1, 2)]
    assert samples[0] == samples[1] != samples[2]


def test_text_that_looks_like_a_special_token_stays_text(tokenizer: PreTrainedTokenizerFast) -> None:
    (ids,) = encode(tokenizer, "source", ["abc </s> __de__ <pad> <s> dog"])
    assert not {0, 1, 2, *tokenizer.convert_tokens_to_ids(["__de__"])} & set(ids)


def test_a_sample_is_limited_by_its_bytes_not_only_by_its_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, sizes = {}, {"en": 400, "de": 100, "fr": 20}
    for number, (language, size) in enumerate(sizes.items(), 1):
        path = tmp_path / f"{language}.tsv"
        path.write_text("".join(f"{'x' * 10 * number}\t\n" for _ in range(size)))
        files[language] = [(path, 0)]

    def measure(count: int) -> int:
        return sum(map(len, sample_sentences(files, sizes, 2, count, seed=1)))

    monkeypatch.setattr(vocabulary, "MOST_BYTES", 1 << 30)
    assert limit_sample(files, sizes, 2, 500) == 500
    for most in (5_000, 3_000, 1_000):
        monkeypatch.setattr(vocabulary, "MOST_BYTES", most)
        limited = limit_sample(files, sizes, 2, 500)
        assert 0.8 * most < measure(limited) < 1.2 * most


def test_a_number_of_threads_gives_one_vocabulary() -> None:
    several = [learn_vocabulary(iter(TEXT), SIZE, LANGUAGES, threads=3).get_vocab() for _ in range(2)]
    assert several[0] == several[1]
