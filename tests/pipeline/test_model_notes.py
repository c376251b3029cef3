"""The models of a run are used without this package, and their cards say how; no stage is redone for a card."""

from __future__ import annotations

import json
import logging
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tests.pipeline.conftest import DICTIONARY, write_project
from tests.pipeline.running import run
from tests.plain_program import find_code, translate_plainly
from tests.processes import call
from tests.stage_lines import read_stages

from neuronspec.config.loading import load_config
from neuronspec.config.schema import Config
from neuronspec.config.sections import Translation
from neuronspec.evaluation.results import Results
from neuronspec.languages import split_direction
from neuronspec.methods import method_options
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.systems import title_system
from neuronspec.translation.beam_search import translate_sentences

CODES = ("de", "pt-BR", "zho_Hans", "xx1")
RECIPE = """
name: codes
threads: 1
device: cpu
data:
  train: [{path: "corpus.{lang}.tsv"}]
  hold_out: {valid: 0.1, test: 0.1}
prepare: {vocabulary: {size: 100}}
sampling: {tokens_per_batch: 600}
model: {preset: tiny}
train: {updates: 1, learning_rate: 1.0e-4, warmup: 0, schedule: constant, select: last}
continued: {updates: 1, learning_rate: 1.0e-4, warmup: 0, schedule: constant, select: last}
methods: {fine_tune: {}}
translate: {beams: 4, max_tokens: 12}
score: {trials: 100}
"""
SENTENCES = ["the old cat sees the dog", "the child", "here now the woman likes a small tree and a big house"]
Said = Callable[[], dict[str, str]]


def write_corpora(folder: Path) -> None:
    """Write corpora of English with four languages, whose codes are spelled in four ways."""
    write_project(folder, sentences=160)
    words = DICTIONARY["en"].split()
    others = {"pt-BR": DICTIONARY["sv"].split(), "zho_Hans": list("这猫狗房树男女孩看喜找拿爱大小老少此彼今")}
    others["xx1"] = [word[::-1] for word in words]
    lines = [line.split("\t")[0] for line in (folder / "corpus.de.tsv").read_text(encoding="utf-8").splitlines()]
    for code, own in others.items():
        names = dict(zip(words, own, strict=True))
        rows = (f"{line}\t{' '.join(names[word] for word in line.split())}\n" for line in lines)
        (folder / f"corpus.{code}.tsv").write_text("".join(rows), encoding="utf-8")


def read_card(directory: Path) -> str:
    return (directory / "README.md").read_text(encoding="utf-8")


def read_generation(directory: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((directory / "generation_config.json").read_text(encoding="utf-8"))
    return values


def train_codes(folder: Path, **changes: Any) -> Layout:
    """Train a moment on English and four languages, and return the models with weights that make them eloquent."""
    write_corpora(folder)
    (folder / "codes.yaml").write_text(yaml.safe_dump(yaml.safe_load(RECIPE) | changes), encoding="utf-8")
    config = load_config(folder / "codes.yaml", [f"out={folder / 'run'}"], method_options())
    layout = run(config, until="train", only="fine_tune")

    # A model that has learned little says the same of everything, unless its weights are large.
    directory = layout.model("fine_tune")
    model = load_model(directory)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    model.save_pretrained(directory, state_dict={name: one.clone() for name, one in model.state_dict().items()})
    return layout


def translate_here(directory: Path, task: str, sentences: list[str], options: Translation) -> list[str]:
    """Translate with this package."""
    model, tokenizer = load_model(directory), load_tokenizer(directory)
    return translate_sentences(model, tokenizer, sentences, [task] * len(sentences), options)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    """For each stage that ran since the last call, the reason; nothing for what was done before."""
    caplog.set_level(logging.INFO, logger="neuronspec")

    def take() -> dict[str, str]:
        lines = [line.partition(" again: ") for line in read_stages(caplog.messages) if " again: " in line]
        caplog.clear()
        return {name: reason for name, _, reason in lines}

    return take


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that translates between English and four languages, in both directions."""
    layout = train_codes(tmp_path_factory.mktemp("codes"), languages=list(CODES))
    return layout.model("fine_tune")


def test_plain_transformers_translate_like_this_package(codes: Path) -> None:
    (code,) = find_code(read_card(codes))
    expected, programs = [], []
    for task in ("en-de", "en-zho_Hans", "pt-BR-en", "xx1-en"):
        found = translate_here(codes, task, SENTENCES, Translation(beams=4, max_tokens=12))
        assert len(set(found)) == len(SENTENCES)
        expected.append(found)

        # As the card says, the two tags are exchanged for those of another direction.
        source, target = split_direction(task)
        programs.append(code.replace('"__en__ "', f'"__{source}__ "').replace('"__de__"', f'"__{target}__"'))

    assert len(set(programs)) == len(programs)
    assert translate_plainly(codes, programs, SENTENCES) == expected


def test_the_card_of_a_model_that_is_not_scored_says_so(codes: Path) -> None:
    card = read_card(codes)
    for said in (
        "not been scored",
        "| pretrained | 1 | 1 | 600 | 0.0001 | 1 |",
        "| fine-tuned | 1 | 1 | 600 | 0.0001 | 1 |",
        "| `pt-BR` | `__pt-BR__` |",
        "| xx1 | `xx1` | `__xx1__` |",
        "Without either, the model chooses a language by itself.",
    ):
        assert said in card, said

    # Nobody wants to publish where something was on a machine.
    assert str(codes.parents[3]) not in card


def test_a_model_of_several_targets_forces_none(codes: Path) -> None:
    values = read_generation(codes)
    assert "forced_bos_token_id" not in values
    assert (values["num_beams"], values["max_new_tokens"]) == (4, 12)


def test_a_model_of_one_target_translates_into_it_without_being_told(tmp_path: Path) -> None:
    directory = train_codes(tmp_path, tasks=["xx1-en"], translate={"beams": 1, "max_tokens": 12}).model("fine_tune")
    card = read_card(directory)
    assert "`model.generate(**inputs)` translates into English" in card
    (code,) = find_code(card)
    expected = translate_here(directory, "xx1-en", SENTENCES, Translation(beams=1, max_tokens=12))
    assert len(set(expected)) == len(SENTENCES)

    # Greedy search needs no start: the language is forced, as one token more.
    plain = code.replace("decoder_input_ids=torch.tensor([start] * len(sentences))", "max_new_tokens=13")
    assert plain != code
    assert translate_plainly(directory, [code, plain], SENTENCES) == [expected, expected]


# Cards of a finished run


def test_every_card_has_the_scores_of_its_system(finished: Config) -> None:
    layout = Layout(finished.out)
    results = Results.load(layout.scores)
    for system in ("pretrained", *finished.methods):
        card = read_card(layout.model(system))
        assert f"# toy: {title_system(system)}" in card
        for task in results.tasks:
            scores = [results.score(system, metric, [task]) for metric in results.metrics]
            assert f"| `{task}` | 20 | {' | '.join(f'{score:.1f}' for score in scores)} |" in card
        for signature in results.signatures:
            assert f"- {signature}" in card


def test_a_model_with_masks_says_first_that_others_load_a_part(finished: Config, tmp_path: Path) -> None:
    layout = Layout(finished.out)
    directory = tmp_path / "model"
    shutil.copytree(layout.model("neuron_specialization"), directory)
    card = read_card(directory)
    first = card.split("\n\n")[2]
    assert "loads only a part" in first
    assert "`neuron_masks.safetensors`" in first

    # What it offers instead, a smaller model of one direction, translates as it was scored.
    (command,) = re.findall(r"^\$ neuronspec (export .+)$", card, re.M)
    named = {"en-de=PAIRS.tsv": f"en-de={layout.text / 'test.en-de.tsv'}", "ELSEWHERE": str(tmp_path / "pruned")}
    words = [named.get(word, word) for word in shlex.split(command)]
    assert set(named.values()) < set(words)
    done = call(["-m", "neuronspec", *words], directory)
    assert done.returncode == 0, done.stderr
    (plain,) = find_code(read_card(layout.model("pretrained")))
    translations = (layout.translations("neuron_specialization") / "en-de.txt").read_text(encoding="utf-8")
    sources = [line.split("\t")[0] for line in (layout.text / "test.en-de.tsv").read_text("utf-8").splitlines()]
    assert translate_plainly(tmp_path / "pruned", [plain], sources) == [translations.splitlines()]


def test_nothing_is_redone_for_a_card_and_a_lost_one_comes_back(copied: Config, said: Said) -> None:
    layout = Layout(copied.out)
    card, other = (layout.model(system) / "README.md" for system in ("pretrained", "fine_tune"))
    before, times = card.read_text(encoding="utf-8"), other.stat().st_mtime_ns
    card.unlink()
    run(copied)
    assert not said()
    assert card.read_text(encoding="utf-8") == before
    assert other.stat().st_mtime_ns == times

    # What somebody wrote into it is replaced; whoever wants to keep it copies the model.
    card.write_text("mine", encoding="utf-8")
    run(copied)
    assert not said()
    assert card.read_text(encoding="utf-8") == before


def test_another_way_of_translating_trains_nothing_and_takes_the_scores_off_the_card(
    copied: Config, said: Said
) -> None:
    layout = Layout(copied.out)
    directory = layout.model("fine_tune")
    before = read_card(directory), read_generation(directory)
    wanted = copied.translate.model_copy(update={"beams": 2, "early_stopping": True})
    changed = copied.model_copy(update={"translate": wanted})

    # Where no stage runs, nothing is another one.
    run(changed, until="train", only="fine_tune")
    assert not said()
    assert (read_card(directory), read_generation(directory)) == before

    run(changed, until="translate")
    assert not {"train", "train.fine_tune"} & said().keys()
    assert "not been scored" in read_card(directory)
    assert read_generation(directory)["num_beams"] == 2
    assert read_generation(directory)["early_stopping"] is True

    # With the new scores, the card is complete again.
    run(changed)
    assert said().keys() == {"score", "report"}
    assert "## Scores\n\n| direction |" in read_card(directory)
    assert "--beams 2" in read_card(directory)


def test_a_model_whose_training_would_be_redone_keeps_its_card(copied: Config) -> None:
    directory = Layout(copied.out).model("pretrained")
    before = read_card(directory)
    longer = copied.train.model_copy(update={"updates": 99})
    run(copied.model_copy(update={"train": longer}), until="prepare")
    assert read_card(directory) == before


def test_the_weights_of_a_model_still_count(copied: Config, said: Said) -> None:
    path = Layout(copied.out).model("fine_tune") / "config.json"
    path.write_text(path.read_text(encoding="utf-8").replace("}", "\n}"), encoding="utf-8")
    run(copied, until="train", only="fine_tune")
    assert "was changed" in said()["train.fine_tune"]


def test_a_model_that_two_runs_share_has_the_notes_of_each(finished: Config, tmp_path: Path) -> None:
    place = Layout(finished.out).model("fine_tune")
    before = read_card(place), read_generation(place)
    wanted = finished.translate.model_copy(update={"beams": 2})
    other = finished.model_copy(update={"out": tmp_path / "other", "translate": wanted})
    shared = run(other, until="train", only="fine_tune", share_from=[finished.out]).model("fine_tune")

    assert (shared / "model.safetensors").samefile(place / "model.safetensors")
    assert read_generation(shared)["num_beams"] == 2
    assert "not been scored" in read_card(shared)
    assert (read_card(place), read_generation(place)) == before
