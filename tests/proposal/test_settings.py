"""Settings follow the amount of text, the time and the machine, and a run accepts what is written."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests.proposal.layouts import lines, sentences, table, write
from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

from neuronspec.config import find_recipe, load_config
from neuronspec.config.schema import Config
from neuronspec.errors import NeuronspecError
from neuronspec.methods import method_options
from neuronspec.proposal import copy_recipe, propose
from neuronspec.proposal.budget import TrainingTime, find_training_time, plan_preset, round_down
from neuronspec.proposal.settings import Settings, choose_preparation, choose_vocabulary_size
from neuronspec.proposal.text_amounts import TextAmounts
from neuronspec.training.speed import Speed


def load(path: Path, text: str) -> Config:
    path.write_text(text, encoding="utf-8")
    return load_config(path, (), method_options())


def amounts_of(pairs: int, pieces: int = 10_000, characters: int = 100, whole: bool = False) -> TextAmounts:
    lengths = np.full((100, 2), 20)
    words = np.array([[5, 5], [12, 12], [25, 24], [40, 41]]).repeat(25, axis=0)
    return TextAmounts(
        pairs={"en-de": pairs},
        samples={"en-de": len(words)},
        lengths=lengths,
        words=words,
        pieces=pieces,
        characters=characters,
        whole=whole,
    )


def amounts_by_pair(words: dict[str, tuple[int, int]]) -> TextAmounts:
    """Return amounts of a number of pairs, all sentences of which have a number of words."""
    rows = np.concatenate([np.full((50, 2), length) for _, length in words.values()])
    return TextAmounts(
        pairs={pair: count for pair, (count, _) in words.items()},
        samples=dict.fromkeys(words, 50),
        lengths=rows,
        words=rows,
        pieces=10_000,
        characters=100,
        whole=False,
    )


SLOW = Speed(seconds_per_update=1.0, memory=0, parameters=1, updates=1)


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    folder = tmp_path / "corpora"
    write(folder, {"talks.de.tsv": table("en", "de", count=400), "notes.csv": "a,b\n"})
    write(folder, {f"nl/corpus.{code}": lines(code, 200) for code in ("en", "nl")})
    return write(folder, {f"fr/{code}.train": lines(code[:2], 200) for code in ("eng_Latn", "fra_Latn")})


def test_the_yaml_is_a_configuration_that_reads_the_files(corpora: Path, tmp_path: Path) -> None:
    text = propose([corpora], minutes=0.05).format_yaml(tmp_path / "my.yaml")
    config = load(tmp_path / "my.yaml", text)
    assert (config.name, config.pivot, config.languages) == ("my", "en", ["de", "fr", "nl"])
    assert [corpus.path for corpus in config.data.train] == [
        f"{corpora}/fr/{{lang}}.train",
        f"{corpora}/nl/corpus.{{lang}}",
        f"{corpora}/talks.{{lang}}.tsv",
    ]
    assert [corpus.languages for corpus in config.data.train] == [["fr"], ["nl"], ["de"]]
    assert list(config.methods) == ["fine_tune", "neuron_specialization"]

    # Paths are short where they can be, and comments name sizes, spellings and what is left out.
    assert '- {path: "corpora/fr/{lang}.train", languages: [fr]}' in text
    assert "# fr: 200 pairs; its files write eng_Latn for en, fra_Latn for fr" in text
    assert "# - " in text
    assert "notes.csv: a .csv table" in " ".join(text.replace("\n#", "").split())  # long paths break its lines
    assert f"neuronspec run {tmp_path / 'my.yaml'}" in text
    assert max(map(len, text.splitlines())) <= 120


def test_paths_are_absolute_where_the_files_are_not_below_the_yaml(corpora: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "my.yaml"
    text = propose([corpora], minutes=0.05, languages=["de"]).format_yaml(path)
    assert f'path: "{corpora}/talks.{{lang}}.tsv"' in text
    assert load(path, text).data.train[0].path == f"{corpora}/talks.{{lang}}.tsv"


def test_names_that_yaml_and_comments_could_misread_stay_names(tmp_path: Path) -> None:
    odd = tmp_path / 'a: "b" # [c]\x1b'
    write(odd, {f"{code}.tsv": table("en", "de") for code in ("no", "de")})
    text = propose([odd], minutes=0.05, languages=["no", "de"]).format_yaml(tmp_path / "on.yaml")
    config = load(tmp_path / "on.yaml", text)
    assert config.languages == ["no", "de"]
    assert config.data.train[0].path == f"{odd}/{{lang}}.tsv"
    assert "\x1b" not in text


@pytest.mark.parametrize(
    "letter",
    ["\x7f", "\x85", "\x9f", "\u2028", "\u2029", "\ufeff", "\ufffe", "\uffff", "\U0001fffe", "\n", "😀", "\u200c"],
)
def test_names_with_characters_that_yaml_forbids_or_changes_stay_names(letter: str, tmp_path: Path) -> None:
    odd = tmp_path / f"x{letter}y"
    write(odd, {f"a{letter}.de-en.tsv": table("de", "en"), f"b{letter}.fr": lines("fr")})
    text = propose([odd], minutes=0.05).format_yaml(tmp_path / f"my{letter}.yaml")
    config = load(tmp_path / f"my{letter}.yaml", text)
    assert config.name == f"my{letter}"
    [corpus] = config.data.train
    assert Path(corpus.path.format(src="de", tgt="en")).is_file()


def test_what_is_held_out_is_bounded_and_only_for_languages_without_text_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, {"big.de.tsv": table("en", "de", count=30_000), "small.fr.tsv": table("en", "fr", count=3_000)})
    write(tmp_path, {f"flores/{code}.devtest": lines(code) for code in ("en", "de")})
    config = load(tmp_path / "my.yaml", propose([tmp_path], minutes=0.05).format_yaml(tmp_path / "my.yaml"))
    assert config.data.test[0].languages == ["de"]
    assert 50 <= config.data.hold_out.test * 3_000 <= 600
    assert config.data.hold_out.valid * 3_000 >= 40
    assert config.data.hold_out.valid * 30_000 <= 1_000


def test_corpora_for_all_parts_hold_nothing_out(tmp_path: Path) -> None:
    write(
        tmp_path,
        {f"{part}/de.tsv": table("en", "de", count=n) for part, n in (("train", 80), ("dev", 40), ("test", 40))},
    )
    config = load(tmp_path / "my.yaml", propose([tmp_path], minutes=0.05).format_yaml(tmp_path / "my.yaml"))
    assert (config.data.hold_out.valid, config.data.hold_out.test) == (0, 0)
    assert [len(getattr(config.data, part)) for part in ("train", "valid", "test")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("amounts", "low", "high"),
    [
        (amounts_of(200, pieces=150, whole=True), 64, 150),
        (amounts_of(10_000), 500, 2_000),
        (amounts_of(120_000), 3_000, 6_000),
        (amounts_of(2_000_000), 10_000, 20_000),
        (amounts_of(60_000_000), 60_000, 64_000),
        (amounts_of(10_000, characters=4_000), 6_000, 6_000),
    ],
)
def test_the_vocabulary_grows_with_the_text_and_never_exceeds_it(amounts: TextAmounts, low: int, high: int) -> None:
    assert low <= choose_vocabulary_size(amounts, languages=3) <= high


def test_the_vocabulary_is_no_larger_than_the_text_gives(corpora: Path, tmp_path: Path) -> None:
    config = load(tmp_path / "my.yaml", propose([corpora], minutes=0.05).format_yaml(tmp_path / "my.yaml"))
    different = {word for code in ("en", "de", "fr", "nl") for text in sentences(code) for word in text.split()}
    assert config.prepare.vocabulary.size < 10 * len(different)


def plan(monkeypatch: pytest.MonkeyPatch, pairs: int, minutes: float, tokens_per_second: float) -> Any:
    """Plan a run on a machine that trains so many tokens a second, whatever the model."""
    speed = Speed(seconds_per_update=1_024 / tokens_per_second, memory=0, parameters=1, updates=1)
    monkeypatch.setattr("neuronspec.proposal.budget.measure_speed", lambda *_, **__: speed)
    monkeypatch.setattr("neuronspec.proposal.budget._FLOPS", {"cpu": 1e99, "cuda": 1e99})
    time = find_training_time(minutes, pairs=pairs, tested=2_000, methods=2)
    return time, plan_preset(amounts_of(pairs), 4_000, time)


@pytest.mark.parametrize(
    ("pairs", "minutes", "speed", "preset"),
    [
        (120_000, 10, 8_000, "tiny"),
        (120_000, 600, 8_000, "mT-shallow"),
        (2_000_000, 600, 50_000, "mT-small"),
        (60_000_000, 10_000, 100_000, "mT-big"),
        (60_000_000, 10, 8_000, "tiny"),
        (5_000, 600, 100_000, "tiny"),
    ],
)
def test_the_model_grows_with_the_text_and_the_time(
    monkeypatch: pytest.MonkeyPatch, pairs: int, minutes: float, speed: float, preset: str
) -> None:
    assert plan(monkeypatch, pairs, minutes, speed)[1].model.preset == preset


@pytest.mark.parametrize(
    ("pairs", "minutes", "speed"), list(itertools.product((20_000, 500_000), (5, 60), (2_000, 50_000)))
)
def test_the_trainings_fit_into_the_time(
    monkeypatch: pytest.MonkeyPatch, pairs: int, minutes: float, speed: float
) -> None:
    time, budget = plan(monkeypatch, pairs, minutes, speed)
    taken = (budget.updates + 2 * budget.continued) * budget.seconds_per_update
    assert taken <= 1.01 * time.seconds <= 60 * minutes
    assert budget.continued < budget.updates
    assert 512 <= budget.tokens_per_batch <= 8_192


@pytest.mark.parametrize(("minutes", "words", "pairs"), [(5, 15, 50_000), (60, 30, 75_000), (600, 100, 100_000)])
def test_only_short_sentences_are_trained_where_there_is_little_time(
    monkeypatch: pytest.MonkeyPatch, minutes: float, words: int, pairs: int
) -> None:
    _, budget = plan(monkeypatch, pairs=100_000, minutes=minutes, tokens_per_second=3_000)
    assert (budget.max_words, budget.amounts.total) == (words, pairs)


@pytest.mark.parametrize(
    ("words", "limit", "said"),
    [
        ({"en-de": (4_000, 18), "en-sv": (30_000, 5)}, 20, ""),
        ({"en-de": (4_000, 45), "en-sv": (30_000, 5)}, 50, ""),
        ({"en-de": (4_000, 300), "en-sv": (30_000, 5)}, None, "no limit: the sentences are long"),
        ({"en-de": (4_000, 300)}, None, "no limit: the sentences are long"),
    ],
)
def test_a_limit_on_words_leaves_text_of_every_language(
    monkeypatch: pytest.MonkeyPatch, words: dict[str, tuple[int, int]], limit: int | None, said: str
) -> None:
    monkeypatch.setattr("neuronspec.proposal.budget.measure_speed", lambda *_, **__: SLOW)
    amounts = amounts_by_pair(words)
    budget = plan_preset(amounts, 4_000, find_training_time(1, pairs=34_000, tested=2_000, methods=2))
    assert budget.max_words == limit
    assert budget.amounts.pairs == {pair: count for pair, (count, _) in words.items()}
    settings = Settings()
    choose_preparation(settings, amounts, 4_000, budget)
    assert settings.reasons.get("prepare.max_words", "").startswith(said)
    assert not said or "%" not in settings.reasons["prepare.max_words"]


def test_shares_of_the_text_count_every_language_by_its_size() -> None:
    amounts = amounts_by_pair({"en-de": (1_000, 40), "en-sv": (9_000, 5)})
    assert amounts.limit(15).pairs == {"en-de": 0, "en-sv": 9_000}
    assert amounts.share_within(15) == ("en-de", 0)
    assert amounts.tokens == 2 * (1_000 * 40 + 9_000 * 5)


def test_text_without_spaces_is_not_dropped_for_its_number_of_words(tmp_path: Path) -> None:
    texts = [(f"this is the sentence number {number} of a book", f"这是书里的第{number}句话") for number in range(60)]
    write(tmp_path, {"x.en-zh.tsv": "".join(f"{english}\t{other}\n" for english, other in texts)})
    text = propose([tmp_path], minutes=0.05).format_yaml(tmp_path / "my.yaml")
    assert load(tmp_path / "my.yaml", text).prepare.max_length_ratio is None
    assert "words cannot be compared in en-zh" in text


def test_little_text_is_not_passed_over_endlessly(monkeypatch: pytest.MonkeyPatch) -> None:
    _, budget = plan(monkeypatch, pairs=1_000, minutes=1_000, tokens_per_second=50_000)
    assert budget.updates * budget.tokens_per_batch <= 41 * amounts_of(1_000).tokens


def test_the_time_for_training_leaves_room_for_the_rest() -> None:
    time = find_training_time(10, pairs=100_000, tested=2_000, methods=2)
    assert 300 < time.seconds < 550
    assert time.pretraining + 2 * time.continued == pytest.approx(time.seconds)
    assert find_training_time(0.1, pairs=10**6, tested=10**5, methods=2).seconds == pytest.approx(1.8)
    assert TrainingTime(seconds=100, methods=8).continued < TrainingTime(seconds=100, methods=2).continued


def test_schedules_fit_the_updates(corpora: Path, tmp_path: Path) -> None:
    config = load(tmp_path / "my.yaml", propose([corpora], minutes=0.05).format_yaml(tmp_path / "my.yaml"))
    assert 1 <= config.train.warmup <= max(1, config.train.updates // 5)
    assert config.train.validate_every <= config.train.updates
    assert config.continued.warmup == 0
    assert config.continued.decay == 1
    assert config.translate.max_tokens < 200


def save_nllb(folder: Path, tags: list[str]) -> Path:
    """Write a small model with NLLB's tokenizer, and only these tags of languages."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *"▁ abcdefghijklmnopqrstuvwxyz'0123456789"]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = NllbTokenizer(vocab=vocabulary, merges=[], extra_special_tokens=tags)
    sizes = dict.fromkeys(("encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads"), 1)
    config = M2M100Config(vocab_size=len(tokenizer), d_model=16, encoder_ffn_dim=32, decoder_ffn_dim=32, **sizes)
    M2M100ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_pretrained_model_is_specialized_as_it_is(corpora: Path, tmp_path: Path) -> None:
    model = save_nllb(tmp_path / "nllb", ["eng_Latn", "deu_Latn", "fra_Latn", "nld_Latn"])
    text = propose([corpora], minutes=0.05, model=str(model)).format_yaml(tmp_path / "my.yaml")
    config = load(tmp_path / "my.yaml", text)
    assert config.model.pretrained == str(model)
    assert config.train.updates == 0
    assert config.continued.updates > 0
    assert config.continued.learning_rate <= 1e-4
    assert "vocabulary" not in text
    assert "it has tags for all of these languages" in text


def test_a_pretrained_model_without_a_language_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "x", {f"corpus.{code}": lines("fr") for code in ("en", "gsw")})
    model = save_nllb(tmp_path / "nllb", ["eng_Latn", "deu_Latn"])
    with pytest.raises(NeuronspecError, match="gsw"):
        propose([tmp_path / "x"], model=str(model))


def test_text_for_validation_and_test_alone_is_refused(tmp_path: Path) -> None:
    write(
        tmp_path, {f"flores.{part}/{code}.{part}": lines(code) for part in ("dev", "devtest") for code in ("en", "de")}
    )
    with pytest.raises(NeuronspecError, match="there is no text to train on, only for validation and test"):
        propose([tmp_path])


# Files, and why a run could not train with them
TOO_LITTLE: dict[str, tuple[dict[str, str], str]] = {
    "one pair": ({"x.de-en.tsv": table("de", "en", count=1)}, "has 1 sentence pair for training, .* at least 40"),
    "a few pairs": ({"x.de-en.tsv": table("de", "en", count=12)}, "12 sentence pairs for .*validation and test: give"),
    "a few pairs with test text": (
        {"train.de-en.tsv": table("de", "en", count=39), "test.de-en.tsv": table("de", "en")},
        "39 sentence pairs for training, too little text to hold some out for validation: give",
    ),
    "test text that is the training text": (
        {"train.de-en.tsv": table("de", "en"), "test.de-en.tsv": table("de", "en", count=60)},
        "the training text of en-de is the same as its text for validation and test",
    ),
    "fields without text": (
        {"x.de-en.jsonl": '{"source": "ein Satz", "target": null}\n' * 50},
        "no line of the training text of en-de has a sentence on both sides .*jsonl",
    ),
    "text that cannot be used": (
        {"flores.devtest/en.devtest": lines("en"), "flores.devtest/de.devtest": lines("de"), "notes.csv": "a,b\n"},
        "only for validation and test .*; not used .*notes.csv: a .csv table",
    ),
}


@pytest.mark.parametrize("case", TOO_LITTLE)
def test_text_that_a_run_would_refuse_is_refused_before(case: str, tmp_path: Path) -> None:
    files, reason = TOO_LITTLE[case]
    with pytest.raises(NeuronspecError, match=reason):
        propose([write(tmp_path, files)], minutes=0.05)


def test_numbers_are_rounded_down() -> None:
    assert [round_down(number) for number in (0.2, 1, 99.9, 123, 98_765)] == [1, 1, 99, 120, 98_000]


@pytest.mark.parametrize("recipe", ["bilingual", "demo", "ec30", "ec31-small", "iwslt", "nllb"])
def test_a_copy_of_a_recipe_means_the_same(recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    original = load_config(recipe, (), method_options())
    for place in (Path("copy.yaml"), Path("deep/er/copy.yaml")):
        place.parent.mkdir(parents=True, exist_ok=True)
        copied = load(place, copy_recipe(recipe, place))
        paths = {corpus.path for corpus in (*original.data.train, *original.data.valid, *original.data.test)}
        moved = {
            str(Path(corpus.path).resolve()) for corpus in (*copied.data.train, *copied.data.valid, *copied.data.test)
        }
        assert moved == paths
        blank = {"data": copied.data}
        assert original.model_copy(update=blank) == copied

    text = copy_recipe(recipe, tmp_path / "copy.yaml")
    assert text == Path(load_recipe_path(recipe)).read_text(encoding="utf-8")
    assert yaml.safe_load(text)["name"] == recipe


def load_recipe_path(recipe: str) -> Path:

    return find_recipe(recipe)


def test_an_unknown_recipe_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NeuronspecError, match=r"no recipe 'iwslt14' \(did you mean 'iwslt'\?\); there are"):
        copy_recipe("iwslt14", "copy.yaml")
