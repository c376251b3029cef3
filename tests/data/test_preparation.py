import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.config.schema import Config
from neuronspec.config.sections import Corpus, Data
from neuronspec.data.configured_corpora import check_templates, list_corpus_files
from neuronspec.data.preparation import prepare_text
from neuronspec.data.texts import STATISTICS_FILE, TEXT_PARTS, Texts, assign_pairs
from neuronspec.errors import NeuronspecError
from neuronspec.files import read_json, write_json

ENGLISH = [
    f"{subject} {verb} the {thing}"
    for subject in ("we", "you", "they")
    for verb in ("see", "eat", "need", "like")
    for thing in ("boat", "tree", "house", "song", "fish", "road", "lamp", "bread")
]


def write_corpora(directory: Path, texts: dict[str, list[tuple[str, str]]]) -> str:
    """One TSV file for each language, English first."""
    for language, pairs in texts.items():
        lines = "".join(f"{english}\t{other}\n" for english, other in pairs)
        (directory / f"{language}.tsv").write_text(lines, encoding="utf-8")
    return str(directory / "{lang}.tsv")


def translate(language: str, sentences: list[str] = ENGLISH) -> list[tuple[str, str]]:
    return [(sentence, f"{language} {number}") for number, sentence in enumerate(sentences)]


def make_config(train: str, **values: Any) -> Config:
    data = {"train": [{"path": train}], "hold_out": {"valid": 0.15, "test": 0.15}, **values.pop("data", {})}
    tasks = {} if "tasks" in values else {"languages": ["de", "fr"]}
    return Config.model_validate({"data": data, "model": {"preset": "tiny"}, **tasks, **values})


def read_part(texts: Texts, part: str, pair: str) -> list[tuple[str, ...]]:
    lines = texts.path(part, pair).read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    return [tuple(line.split("\t")) for line in lines]


@pytest.fixture
def template(tmp_path: Path) -> str:
    return write_corpora(tmp_path, {language: translate(language) for language in ("de", "fr")})


def test_the_hold_out_puts_an_english_sentence_on_one_side_for_all_languages(tmp_path: Path) -> None:
    # each language has other sentences in another order, and spells them in its own way
    corpora = {
        language: translate(language, [form.format(text) for text in random.Random(language).sample(ENGLISH, 80)])
        for language, form in {"de": "{}", "fr": "  {}.", "sv": "{}!"}.items()
    }
    corpora["fr"] = [(english.upper(), french) for english, french in corpora["fr"]]
    config = make_config(write_corpora(tmp_path, corpora), tasks=["en-de", "fr-en", "sv-en"])
    texts = prepare_text(config, tmp_path / "text")
    parts: dict[str, set[str]] = {}
    for part in TEXT_PARTS:
        for language in corpora:
            for english, _ in read_part(texts, part, f"en-{language}"):
                parts.setdefault(english.lower().strip("!. "), set()).add(part)
    assert len(parts) >= 80
    assert all(len(where) == 1 for where in parts.values())
    assert {part for where in parts.values() for part in where} == set(TEXT_PARTS)


def test_every_pair_is_written_once_in_its_order(tmp_path: Path, template: str) -> None:
    texts = prepare_text(make_config(template), tmp_path / "text")
    for language in ("de", "fr"):
        parts = [read_part(texts, part, f"en-{language}") for part in TEXT_PARTS]
        original = translate(language)
        assert sorted(pair for part in parts for pair in part) == sorted(original)
        for part in parts:
            assert part == [pair for pair in original if pair in part]
        shares = [len(part) / len(original) for part in parts]
        assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.1)


def test_statistics_add_up_and_are_what_is_on_disk(tmp_path: Path) -> None:
    pairs = translate("de")
    bad = [("", "leer"), ("short", "kurz"), ("word " * 9, "zu lang"), ("see www now", "Muster"), pairs[0]]
    template = write_corpora(tmp_path, {"de": [*pairs, *bad]})
    limits = {"min_words": 2, "max_words": 8, "drop_matching": "www"}
    config = make_config(template, tasks=["de-en"], prepare=limits)
    texts = prepare_text(config, tmp_path / "text")
    reasons = {"empty": 1, "too short": 1, "too long": 1, "pattern": 1, "duplicate": 1}
    assert texts.dropped == {"en-de": {"read": 101, "kept": 96, **reasons}}
    written = {part: len(read_part(texts, part, "en-de")) for part in TEXT_PARTS}
    assert {part: sizes["en-de"] for part, sizes in texts.sizes.items()} == written
    assert sum(written.values()) == 96
    assert Texts.load(tmp_path / "text") == texts


def test_given_valid_and_test_corpora_are_kept_whole(tmp_path: Path, template: str) -> None:
    # what is tested on is not filtered, so that scores compare with those of others
    special = [("long " * 50, "lang"), ("a", "b"), ("a", "b"), (" ", "leer")]
    for part in ("valid", "test"):
        (tmp_path / part).mkdir()
    data = {
        "valid": [{"path": write_corpora(tmp_path / "valid", {"de": special})}],
        "test": [{"path": write_corpora(tmp_path / "test", {"de": special[:2]})}, {"path": template}],
        "hold_out": {},
    }
    texts = prepare_text(
        make_config(template, data=data, prepare={"max_words": 20}, tasks=["en-de"]), tmp_path / "text"
    )
    assert read_part(texts, "valid", "en-de") == [(("long " * 50).strip(), "lang"), ("a", "b"), ("a", "b")]
    assert texts.sizes == {"train": {"en-de": 96}, "valid": {"en-de": 3}, "test": {"en-de": 98}}
    assert texts.dropped == {"en-de": {"read": 96, "kept": 96}}  # of the training text


@pytest.fixture
def overlapping(tmp_path: Path) -> dict[str, Any]:
    """Data whose held-out text shares sentences with the training text: as pairs, on one side, and across pairs."""
    train = {
        "de": [("the mill", "die Mühle"), ("the river", "der Fluss"), ("a house", "ein Haus"), ("rain", "Regen")],
        "fr": [("the sea", "la mer"), ("a boat", "un bateau"), ("the wind", "le vent")],
    }
    test = {
        "de": [
            ("the\u00a0mill\u200b", "die Mühle"),
            ("any river", "der  Fluss"),
            ("the sea", "das Meer"),
            ("new", "neu"),
        ],
        "fr": [("the mill", "le moulin"), ("old", "vieux")],
    }
    valid = {"de": [("A house", "ein Haus"), ("fresh", "frisch")], "fr": [("a ship", "un navire")]}
    data = {}
    for part, texts in {"train": train, "test": test, "valid": valid}.items():
        (tmp_path / part).mkdir()
        data[part] = [{"path": write_corpora(tmp_path / part, texts)}]
    return {**data, "hold_out": {}}


def test_held_out_sentences_that_are_also_in_train_are_counted_and_said(
    tmp_path: Path, overlapping: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    texts = prepare_text(make_config("", data=overlapping), tmp_path / "text")
    nothing = {"either": 0, "first": 0, "second": 0, "both": 0}
    assert texts.overlap == {
        "en-de": {
            # the mill as a pair, the river on the German side, the sea in the English of en-fr
            "test": {"either": 3, "first": 2, "second": 2, "both": 1},
            "valid": {"either": 1, "first": 0, "second": 1, "both": 0},  # letter case makes a difference
        },
        "en-fr": {"test": {"either": 1, "first": 1, "second": 0, "both": 0}, "valid": nothing},
    }
    assert texts.sizes["train"] == {"en-de": 4, "en-fr": 3}
    assert Texts.load(tmp_path / "text") == texts
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(";")[0] for line in said] == [
        "valid: 1 of 3 pairs have a sentence that is also in train, 0 of them as the same pair (most in en-de: 1)",
        "test: 4 of 6 pairs have a sentence that is also in train, 1 of them as the same pair (most in en-de: 3)",
    ]
    assert "prepare.drop_held_out=true" in said[0]


def test_held_out_sentences_are_dropped_from_train_on_request(
    tmp_path: Path, overlapping: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    texts = prepare_text(make_config("", data=overlapping, prepare={"drop_held_out": True}), tmp_path / "text")
    assert read_part(texts, "train", "en-de") == [("rain", "Regen")]
    assert read_part(texts, "train", "en-fr") == [("a boat", "un bateau"), ("the wind", "le vent")]
    assert texts.sizes == {
        "train": {"en-de": 1, "en-fr": 2},
        "valid": {"en-de": 2, "en-fr": 1},
        "test": {"en-de": 4, "en-fr": 2},
    }
    assert texts.dropped == {
        "en-de": {"read": 4, "kept": 1, "held out": 3},
        "en-fr": {"read": 3, "kept": 2, "held out": 1},
    }
    counts = [count for parts in texts.overlap.values() for part in parts.values() for count in part.values()]
    assert counts == [0] * 16
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_direction_that_loses_all_its_text_is_named(tmp_path: Path, overlapping: dict[str, Any]) -> None:
    data = {**overlapping, "test": overlapping["train"]}
    with pytest.raises(NeuronspecError, match=r"en-de has no train pairs: .* 4 held out\); .*drop_held_out"):
        prepare_text(make_config("", data=data, prepare={"drop_held_out": True}), tmp_path / "text")


def test_text_that_was_prepared_before_overlap_was_counted_opens(tmp_path: Path, template: str) -> None:
    texts = prepare_text(make_config(template), tmp_path / "text")
    statistics = read_json(tmp_path / "text" / STATISTICS_FILE)
    del statistics["overlap"]
    write_json(tmp_path / "text" / STATISTICS_FILE, statistics)
    assert Texts.load(tmp_path / "text") == replace(texts, overlap={})


def test_a_table_that_tells_no_languages_apart_is_refused(tmp_path: Path) -> None:
    (tmp_path / "all.tsv").write_text("en\tde\tfr\none\teins\tun\ntwo\tzwei\tdeux\n")
    corpus = {"path": str(tmp_path / "all.tsv")}
    data = Data.model_validate({"train": [corpus]})
    with pytest.raises(NeuronspecError, match=r"all\.tsv is one table for en-de, en-fr, which would all get the same"):
        check_templates(data, ["en-de", "en-fr"], "en")
    check_templates(data, ["en-de"], "en")
    named = [{**corpus, "columns": columns} for columns in (["{src}", "{tgt}"], ["en", "{lang}"])]
    check_templates(Data.model_validate({"train": named}), ["en-de", "en-fr"], "en")
    with pytest.raises(NeuronspecError, match=r"all\.tsv names one language only, .* for de-fr write"):
        check_templates(Data.model_validate({"train": named}), ["en-de", "de-fr"], "en")


def test_several_corpora_are_joined(tmp_path: Path, template: str) -> None:
    (tmp_path / "more").mkdir()
    more = write_corpora(tmp_path / "more", {"de": [*translate("de"), ("one more", "noch eins")]})
    config = make_config(template, data={"train": [{"path": template}, {"path": more}]}, tasks=["en-de"])
    texts = prepare_text(config, tmp_path / "text")
    assert texts.dropped["en-de"] == {"read": 193, "kept": 97, "duplicate": 96}


@pytest.mark.parametrize(
    ("part", "values", "mend"),
    [
        (
            "train",
            {"prepare": {"min_words": 99}},
            r"read, 0 kept \(dropped: 4 too short\); give more text, or relax prepare\.min_words",
        ),
        (
            "valid",
            {"data": {"hold_out": {"valid": 1e-9, "test": 0.4}}},
            r"give data\.valid, more text, or a larger data\.hold_out",
        ),
        (
            "test",
            {"data": {"hold_out": {"valid": 0.4, "test": 1e-9}}},
            r"give data\.test, more text, or a larger data\.hold_out",
        ),
    ],
)
def test_an_empty_direction_is_named_with_the_mend_and_nothing_stays(
    part: str, values: dict[str, Any], mend: str, tmp_path: Path, template: str
) -> None:
    write_corpora(tmp_path, {"fr": translate("fr")[:4]})
    before = sorted(path.name for path in tmp_path.iterdir())
    config = make_config(template, languages=["fr"], **values)
    with pytest.raises(NeuronspecError, match=rf"en-fr has no {part} pairs: 4 were .*{mend}"):
        prepare_text(config, tmp_path / "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"a\tb\n\xff\tc\n")])
def test_a_bad_corpus_leaves_the_text_of_before(damage: Any, tmp_path: Path, template: str) -> None:
    config = make_config(template)
    prepare_text(config, tmp_path / "text")
    before = {path.name: path.read_bytes() for path in (tmp_path / "text").iterdir()}
    damage(tmp_path / "fr.tsv")  # `de` is read first
    with pytest.raises(NeuronspecError, match=r"fr\.tsv"):
        prepare_text(config, tmp_path / "text")
    assert {path.name: path.read_bytes() for path in (tmp_path / "text").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_preparing_twice_gives_the_same_bytes(tmp_path: Path, template: str) -> None:
    written = []
    for name in ("one", "two"):
        prepare_text(make_config(template), tmp_path / name)
        written.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert written[0] == written[1]
    assert set(written[0]) == {
        "statistics.json",
        *(f"{part}.en-{lang}.tsv" for part in TEXT_PARTS for lang in ("de", "fr")),
    }


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        (["en-de", "de-en"], {"en-de": ("en-de", 0), "de-en": ("en-de", 1)}),
        (["de-en", "en-de"], {"en-de": ("en-de", 0), "de-en": ("en-de", 1)}),
        (["de-en"], {"de-en": ("en-de", 1)}),
        (["de-fr", "fr-de"], {"de-fr": ("de-fr", 0), "fr-de": ("de-fr", 1)}),
        (["fr-de", "de-en"], {"fr-de": ("fr-de", 0), "de-en": ("en-de", 1)}),
    ],
)
def test_two_directions_share_a_pair_with_the_pivot_first(
    tasks: list[str], expected: dict[str, tuple[str, int]]
) -> None:
    assert assign_pairs(tasks, "en") == expected


@given(st.permutations(["en-de", "de-en", "fr-en", "de-fr", "fr-de", "en-sv", "sv-de"]), st.sampled_from(["en", "de"]))
def test_the_side_of_a_task_is_where_its_source_stands(tasks: list[str], pivot: str) -> None:
    pairs = assign_pairs(tasks, pivot)
    assert list(pairs) == tasks
    for task, (pair, side) in pairs.items():
        languages = pair.split("-")
        assert [languages[side], languages[1 - side]] == task.split("-")
        assert pivot not in languages or languages[0] == pivot
    unordered = Counter(frozenset(pair.split("-")) for pair in {pair for pair, _ in pairs.values()})
    assert set(unordered.values()) == {1}


FILES = (
    "de.tsv",
    "fr.tsv",
    "notes.md",
    "wheel.whl",
    "a/de/x.json",
    "a/fr/x.json",
    "a/fr/y.po",
    "b.de-en.en",
    "b.de-en.de",
)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["{lang}.tsv"], {"de.tsv", "fr.tsv"}),
        (["de.tsv"], {"de.tsv"}),
        (["wheel.whl!in/*/{lang}.json"], {"wheel.whl"}),
        (["a/{lang}/*.json"], {"a/de/x.json", "a/fr/x.json"}),
        (["b.{src}-{tgt}.{lang}", "de.tsv", "{lang}.tsv"], {"b.de-en.en", "b.de-en.de", "de.tsv", "fr.tsv"}),
        (["absent/{lang}.tsv", "absent.tsv", "hub:some/name"], set()),
        (["a"], {"a"}),
    ],
)
@pytest.mark.parametrize("relative", [False, True])
def test_the_files_of_corpora_are_found(
    paths: list[str], expected: set[str], relative: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data [v1]"  # brackets are no pattern where no placeholder stands
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    monkeypatch.chdir(root)
    given = [path if relative or path.startswith("hub:") else f"{root}/{path}" for path in paths]
    found = list_corpus_files([Corpus(path=path) for path in given])
    assert {Path(os.path.relpath(path, root)).as_posix() for path in found} == expected
    assert found == sorted(set(found))


def test_what_is_read_is_among_the_files_found(tmp_path: Path, template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list_corpus_files([Corpus(path=template)])
    opened: set[Path] = set()
    original = Path.open

    def record(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if "r" in mode:
            opened.add(path)
        return original(path, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", record)
    prepare_text(make_config(template), tmp_path / "text")
    read = {path for path in opened if path.suffix == ".tsv" and tmp_path / ".text.tmp" not in path.parents}
    assert read == set(found)


def test_a_table_named_by_one_language_is_no_source_of_pairs_without_the_pivot() -> None:
    data = Data(train=[Corpus(path="train/{lang}.tsv")])
    check_templates(data, ["en-de"], "en")
    with pytest.raises(NeuronspecError, match=r"for de-fr write \{src\} and \{tgt\}"):
        check_templates(data, ["en-de", "de-fr"], "en")


def test_a_corpus_may_hold_some_of_the_languages_only(tmp_path: Path) -> None:
    german = write_corpora(tmp_path, {"de": translate("de")})
    (tmp_path / "talks.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in translate("fr")), encoding="utf-8")
    (tmp_path / "flores").mkdir()
    test = write_corpora(tmp_path / "flores", {"deu_Latn": translate("de", ENGLISH[:9])})
    data = {
        "train": [{"path": german, "languages": ["deu"]}, {"path": str(tmp_path / "talks.tsv"), "languages": ["fr"]}],
        "test": [{"path": test, "languages": ["de"]}],
    }
    config = make_config(german, data=data)
    texts = prepare_text(config, tmp_path / "text")
    assert texts.sizes["test"]["en-de"] == 9
    assert texts.sizes["train"]["en-de"] + texts.sizes["valid"]["en-de"] == len(ENGLISH)
    assert 0 < texts.sizes["test"]["en-fr"] < len(ENGLISH) / 2
    assert sum(texts.sizes[part]["en-fr"] for part in TEXT_PARTS) == len(ENGLISH)

    only_german = {**data, "train": data["train"][:1]}
    with pytest.raises(NeuronspecError, match=r"en-fr has no train pairs: 0 were read.* name them in the languages of"):
        prepare_text(make_config(german, data=only_german), tmp_path / "again")


def test_held_out_shares_stand_next_to_corpora_for_some_languages_only() -> None:
    some, whole = {"path": "{lang}.tsv", "languages": ["de"]}, {"path": "{lang}.tsv"}
    assert make_config("{lang}.tsv", data={"test": [some]}).data.hold_out.test
    for corpora in ([whole], [some, whole]):
        with pytest.raises(ValueError, match="exactly one"):
            make_config("{lang}.tsv", data={"test": corpora})
