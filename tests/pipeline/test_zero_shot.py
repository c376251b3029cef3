"""Directions that no training saw: their test sets, their composed masks, their scores; as one resumable job."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.patience import PATIENCE
from tests.pipeline.running import run
from tests.processes import COMMAND, Process, call, call_together

from neuronspec.config.loading import load_config
from neuronspec.config.schema import Config
from neuronspec.data.test_sets import find_untested, read_test_set
from neuronspec.data.texts import Texts
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.results import Results
from neuronspec.languages import EC30_LEVELS
from neuronspec.methods import method_options
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.run import Run
from neuronspec.specialization.masking import specialize
from neuronspec.translation.beam_search import translate_sentences

UNSEEN = ["de-sv", "sv-de"]
SYSTEMS = ["pretrained", "pretrained+masks", "pretrained+random", "fine_tune", "neuron_specialization"]
RUN = (*COMMAND, "run", "toy.yaml", "zero_shot=all", "analyze.figures=false")


def write_texts(folder: Path, **rows: list[tuple[str, str]]) -> Texts:
    for pair, lines in rows.items():
        text = "".join(f"{first}\t{second}\n" for first, second in lines)
        (folder / f"test.{pair.replace('_', '-')}.tsv").write_text(text, encoding="utf-8")
    return Texts(folder, {"test": {}})


def read_translations(layout: Layout) -> dict[str, str]:
    files = sorted((layout.out / "translate").rglob("*.txt"))
    return {str(file.relative_to(layout.out)): file.read_text(encoding="utf-8") for file in files}


def test_a_test_set_is_joined_over_the_sentences_that_both_languages_have(tmp_path: Path) -> None:
    texts = write_texts(
        tmp_path,
        en_de=[("one", "eins"), ("two", "zwei"), ("two", "Zwei!"), ("three", "drei")],
        en_fr=[("three", "trois"), ("two", "deux"), ("one", "un"), ("two", "Deux !"), ("two", "deux ?")],
    )
    trained = ["en-de", "de-en", "en-fr", "fr-en"]
    assert read_test_set(texts, "de-en", trained, "en") == (
        ["eins", "zwei", "Zwei!", "drei"],
        ["one", "two", "two", "three"],
    )
    # a sentence that comes twice meets its own partner, in the order of the source's text
    assert read_test_set(texts, "de-fr", trained, "en") == (
        ["eins", "zwei", "Zwei!", "drei"],
        ["un", "deux", "Deux !", "trois"],
    )
    assert read_test_set(texts, "fr-de", trained, "en") == (
        ["trois", "deux", "un", "Deux !"],
        ["drei", "zwei", "eins", "Zwei!"],
    )


def test_languages_that_share_no_test_sentence_are_refused(tmp_path: Path) -> None:
    texts = write_texts(tmp_path, en_de=[("one", "eins")], en_fr=[("two", "deux")])
    with pytest.raises(NeuronspecError, match="the test texts of de and fr share no sentence in en"):
        read_test_set(texts, "de-fr", ["en-de", "de-en", "en-fr", "fr-en"], "en")


def test_directions_without_shared_test_sentences_are_found_at_once(tmp_path: Path) -> None:
    texts = write_texts(
        tmp_path, en_de=[("one", "eins")], en_fr=[("two", "deux"), ("One", "Un")], en_it=[(" one ", "uno")]
    )
    trained = ["en-de", "de-en", "en-fr", "fr-en", "en-it", "it-en"]
    unseen = ["de-fr", "fr-it", "de-it", "it-de"]
    assert find_untested(texts, unseen, trained, "en") == ["de-fr", "fr-it"]
    for task in unseen:
        if task in ("de-fr", "fr-it"):
            with pytest.raises(NeuronspecError, match="share no sentence"):
                read_test_set(texts, task, trained, "en")
        else:
            assert read_test_set(texts, task, trained, "en")


def test_directions_without_test_text_are_left_out_of_the_whole_run_with_a_warning(
    tmp_path: Path, write_project: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    write_project(tmp_path, sentences=40)
    # German and Swedish are tested on different English sentences.
    tests = {
        "de": "the old cat sees now\tdas alt Katze sieht jetzt",
        "sv": "the big dog likes here\tden stor hund gillar här",
    }
    for language, line in tests.items():
        (tmp_path / f"test.{language}.tsv").write_text(f"{line}\n", encoding="utf-8")
    changes = ["train.updates=0", "methods={}", "zero_shot=[de-sv]", "data.hold_out.test=0", "select.k=0.5"]
    test = f"data.test=[{{path: '{tmp_path}/test.{{lang}}.tsv'}}]"
    places = [f"out={tmp_path / 'run'}", "analyze.figures=false", "analyze.examples=0"]
    config = load_config(tmp_path / "toy.yaml", [*changes, test, *places], method_options())
    layout = run(config)
    [warning] = [line for line in caplog.messages if "left out" in line]
    assert warning.startswith("without test text, and left out: de-sv; these languages share no test sentence in en")
    assert Run(config).tested_directions == config.directions()
    assert set(Results.load(layout.scores).tasks) == set(config.directions())
    translated = {file.stem for file in (layout.out / "translate").rglob("*.txt")}
    assert translated == set(config.directions())
    assert (layout.report / "summary.md").is_file()


@given(st.lists(st.integers(0, 5), max_size=12), st.lists(st.integers(0, 5), max_size=12))
def test_joined_test_sets_are_the_same_pairs_in_both_directions(
    tmp_path_factory: pytest.TempPathFactory, german: list[int], french: list[int]
) -> None:
    texts = write_texts(
        tmp_path_factory.mktemp("texts"),
        en_de=[(str(n), f"de{place}") for place, n in enumerate(german)],
        en_fr=[(str(n), f"fr{place}") for place, n in enumerate(french)],
    )
    trained = ["en-de", "de-en", "en-fr", "fr-en"]
    expected = sum(min(german.count(n), french.count(n)) for n in range(6))
    if not expected:
        return
    there, back = (list(zip(*read_test_set(texts, task, trained, "en"), strict=True)) for task in ("de-fr", "fr-de"))
    assert len(there) == expected == len(set(there))
    assert {(target, source) for source, target in there} == set(back)
    assert there == sorted(there, key=lambda pair: int(pair[0][2:]))
    assert all(german[int(source[2:])] == french[int(target[2:])] for source, target in there)


def test_the_directions_of_a_grid_follow_from_what_is_trained() -> None:
    values = {"data": {"train": [{"path": "x"}], "hold_out": {"valid": 0.1, "test": 0.1}}, "model": {"preset": "tiny"}}
    config = Config.model_validate(values | {"languages": ["de", "fr", "it"], "zero_shot": "all"})
    assert config.zero_shot_directions() == ["de-fr", "de-it", "fr-de", "fr-it", "it-de", "it-fr"]
    assert config.tested_directions() == [*config.directions(), *config.zero_shot_directions()]
    one_way = Config.model_validate(values | {"tasks": ["de-en", "en-fr", "en-it", "fr-it"], "zero_shot": "all"})
    assert one_way.zero_shot_directions() == ["de-fr", "de-it"]
    thirty = Config.model_validate(
        values | {"languages": [code for level in EC30_LEVELS.values() for code in level], "zero_shot": "all"}
    )
    assert len(thirty.zero_shot_directions()) == 870
    for wrong in (["en-de"], ["de-es"], ["de-fr", "de-fr"]):
        with pytest.raises(ValueError, match=r"zero_shot"):
            Config.model_validate(values | {"languages": ["de", "fr"], "zero_shot": wrong})


def test_a_grid_of_a_finished_run_leaves_the_trainings_alone(
    copied: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    config, layout = copied.model_copy(update={"zero_shot": "all"}), Layout(copied.out)
    before = read_translations(layout)
    files = [layout.model(system) / "model.safetensors" for system in SYSTEMS[::3]]
    trained = [file.stat().st_mtime_ns for file in files]
    run(config)
    assert [file.stat().st_mtime_ns for file in files] == trained
    after = read_translations(layout)
    assert {name: text for name, text in after.items() if Path(name).stem not in UNSEEN} == before
    assert len(after) - len(before) == len(UNSEEN) * len(SYSTEMS)
    # each system decodes an unseen direction with the encoder neurons of one task and the decoder neurons of another
    texts = Texts.load(layout.text)
    sources, references = read_test_set(texts, "de-sv", config.directions(), "en")
    model, tokenizer = load_model(layout.model("neuron_specialization")), load_tokenizer(layout.vocabulary)
    masks = NeuronMasks.from_pretrained(layout.model("neuron_specialization"))
    specialize(model, masks.compose(encoder="de-en", decoder="en-sv"))
    expected = translate_sentences(
        model,
        tokenizer,
        sources,
        list(masks.compose(encoder="de-en", decoder="en-sv").tasks) * len(sources),
        config.translate,
    )
    assert after["translate/neuron_specialization/de-sv.txt"].splitlines() == expected
    results = Results.load(layout.scores)
    assert results.zero_shot == set(UNSEEN)
    assert {score.sentences for score in results.scores if score.task == "de-sv"} == {len(references)}
    for name in ("zero_shot.bleu.csv", "thresholds.bleu.tex", "levels.bleu.md"):
        assert (layout.report / "tables" / name).is_file()
    summary = (layout.report / "summary.md").read_text(encoding="utf-8")
    assert "Translating zero-shot: " in summary
    assert not layout.scoring.exists()


def read_scores(layout: Layout) -> list[str]:
    return [(layout.scores / name).read_text(encoding="utf-8") for name in ("scores.jsonl", "comparisons.jsonl")]


def test_r1_a_grid_killed_in_the_middle_goes_on_and_two_processes_make_the_same(copied: Config) -> None:
    folder, layout = copied.out.parent, Layout(copied.out)
    process = Process(RUN, folder)
    deadline = time.monotonic() + PATIENCE
    watched = layout.translations("pretrained+masks") / "de-sv.txt"
    while not watched.exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (layout.translations("neuron_specialization") / "de-sv.txt").exists()
    kept = [*layout.translations("pretrained").iterdir(), watched]
    written = [file.stat().st_mtime_ns for file in kept]
    done = call(RUN, folder)
    assert done.returncode == 0, done.stderr
    assert "translate.pretrained: done before" in done.stderr
    assert [file.stat().st_mtime_ns for file in kept] == written
    alone = read_translations(layout), read_scores(layout)
    for place in (layout.out / "translate", layout.scores):
        shutil.rmtree(place)
    for done in call_together(RUN, folder):
        assert done.returncode == 0, done.stderr
    assert (read_translations(layout), read_scores(layout)) == alone


def test_every_system_takes_part(finished: Config) -> None:
    assert Run(finished).systems == SYSTEMS
