"""A language added to a finished run's model: trained, killed, proven, and used like any other model."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tests.patience import PATIENCE
from tests.pipeline.conftest import DICTIONARY
from tests.processes import COMMAND, Process, call

import neuronspec as ns
from neuronspec.config.loading import load_config
from neuronspec.config.schema import Config
from neuronspec.config.sections import Translation
from neuronspec.errors import NeuronspecError
from neuronspec.methods import method_options
from neuronspec.methods.add_language.proof import prove_addition
from neuronspec.models.additions import align_weights, read_additions
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import load_model, load_tokenizer, save_model
from neuronspec.models.text_batches import make_batches
from neuronspec.pipeline.export_source import read_export_text
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.run import open_run
from neuronspec.pipeline.run_checkup import check_run
from neuronspec.specialization.masking import attach_masks, specialize
from neuronspec.training.method import Before
from neuronspec.translation.beam_search import translate_sentences
from neuronspec.translation.ct2_translator import CT2Translator

# Word for word as in `DICTIONARY`, as far as the sentences here need it
GREEK = "τον γάτα σκύλος σπίτι δέντρο άντρας γυναίκα παιδί βλέπει αρέσει βρίσκει παίρνει αγαπά μεγάλο μικρό παλιό νέο"
OLD = ("en-de", "en-sv", "de-en", "sv-en")


def write(folder: Path, base: Path, **changes: Any) -> None:
    """Write a corpus of English with Greek, and a recipe that adds Greek to a model."""
    draw = random.Random(1)
    english = DICTIONARY["en"].split()
    rows = [[0, draw.randrange(13, 17), draw.randrange(1, 8), draw.randrange(8, 13), 0] for _ in range(200)]
    lines = ["\t".join(" ".join(words[n] for n in row) for words in (english, GREEK.split())) for row in rows]
    (folder / "corpus.el.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    recipe: dict[str, Any] = {
        **{"name": "greek", "out": "run", "threads": 1, "device": "cpu", "languages": ["el"]},
        "data": {"train": [{"path": "corpus.{lang}.tsv"}], "hold_out": {"valid": 0.1, "test": 0.1}},
        "sampling": {"tokens_per_batch": 300},
        "model": {"pretrained": str(base), "extend": {"pieces": 60, "widen": 8, "min_neurons": 8, "sentences": 4}},
        "continued": {
            **{"updates": 6, "learning_rate": 3.0e-3, "warmup": 0, "schedule": "constant", "validate_every": 3},
            **{"weight_decay": 0.1, "max_gradient_norm": 1.0, "checkpoint_every": 2, "select": "last"},
        },
        "methods": {"add_language": {}, "fine_tune": {}},
        "analyze": {"figures": False, "permutations": 99, "examples": 0},  # nothing of this is looked at here
        "translate": {"beams": 1, "max_tokens": 8},
        "score": {"trials": 100},
    }
    recipe["model"]["extend"] |= changes
    (folder / "greek.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")


def load(folder: Path) -> Config:
    return load_config(folder / "greek.yaml", [f"out={folder / 'run'}"], method_options())


@pytest.fixture(scope="module")
def base(finished: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A specialized model in the directory of its finished run."""
    folder = tmp_path_factory.mktemp("base")
    shutil.copytree(finished.out, folder / "run")
    return Layout(folder / "run").model("neuron_specialization")


@pytest.fixture(scope="module")
def added(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A run that has added Greek."""
    folder = tmp_path_factory.mktemp("greek")
    write(folder, base)
    done = call((*COMMAND, "run", "greek.yaml"), folder)
    assert done.returncode == 0, done.stderr
    return Layout(folder / "run")


def read_proof(layout: Layout) -> Any:
    return json.loads((layout.model("add_language") / "added_languages.json").read_text(encoding="utf-8"))


def test_the_proof_says_that_the_other_directions_are_what_they_were(added: Layout, base: Path) -> None:
    proof = read_proof(added)
    assert proof["languages"] == ["el"]
    assert proof["tasks"] == ["en-el", "el-en"]
    assert proof["weights_before"] == proof["weights_after"]
    assert [one["task"] for one in proof["directions"]] == list(ns.NeuronMasks.from_pretrained(base).tasks)
    assert all(one["before"] == one["after"] and one["sentences"] == 4 for one in proof["directions"])
    assert all(count >= 8 for count in proof["own"].values())
    assert proof["vocabulary"] > proof["vocabulary_before"] == load_model(base).config.vocab_size
    assert proof["trained"] > 0


def test_the_translations_of_the_proof_are_those_that_anybody_gets(added: Layout, base: Path) -> None:
    model, tokenizer = load_model(added.model("add_language")), load_tokenizer(added.model("add_language"))
    specialize(model, ns.NeuronMasks.from_pretrained(added.model("add_language")))
    sentences = read_export_text(open_run(base.parents[2]), ["de-en"], 4)["de-en"]
    lines = translate_sentences(model, tokenizer, sentences, ["de-en"] * len(sentences))

    (proven,) = (one for one in read_proof(added)["directions"] if one["task"] == "de-en")
    digest = hashlib.sha256("".join(f"{' '.join(line.split())}\n" for line in lines).encode()).hexdigest()
    assert digest == proven["translations"]


def test_a_model_that_does_something_else_is_not_published(added: Layout, base: Path, tmp_path: Path) -> None:
    masks = ns.NeuronMasks.from_pretrained(base)
    before = Before(model=str(base), masks=masks, sentences={"de-en": ["das Katze sieht der Haus"]})
    assert prove_addition(added.model("add_language"), before).directions[0].sentences == 1

    # One weight of another direction
    tampered = load_model(added.model("add_language"))
    with torch.no_grad():
        tampered.model.encoder.layers[0].self_attn.q_proj.weight[0, 0] += 1e-6
    save_model(tampered, tmp_path / "weights", load_tokenizer(base))
    shutil.copy(added.model("add_language") / "neuron_masks.safetensors", tmp_path / "weights")
    with pytest.raises(NeuronspecError, match=r"1 weights .* first model\.encoder\.layers\.0\.self_attn\.q_proj"):
        prove_addition(tmp_path / "weights", before)

    # The same weights, used in another way
    shutil.copytree(added.model("add_language"), tmp_path / "used")
    config = json.loads((tmp_path / "used" / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "used" / "config.json").write_text(json.dumps(config | {"activation_function": "gelu"}))
    with pytest.raises(NeuronspecError, match="the outputs of de-en have changed"):
        prove_addition(tmp_path / "used", before)


def test_other_methods_of_the_run_start_from_the_same_model_and_change_the_rest(added: Layout, base: Path) -> None:
    tuned, before = load_model(added.model("fine_tune")).state_dict(), load_model(base).state_dict()
    name = "model.encoder.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(tuned[name], before[name])
    assert torch.equal(load_model(added.model("add_language")).state_dict()[name], before[name])


def test_old_text_with_the_new_letters_is_read_as_before(added: Layout, base: Path) -> None:
    sentence = "das γάτα Haus"
    before, after = (align_weights(load_model(place)) for place in (base, added.model("add_language")))
    outputs = []
    for model, place in ((before, base), (after, added.model("add_language"))):
        specialize(model, ns.NeuronMasks.from_pretrained(place))
        outputs.append(translate_sentences(model, load_tokenizer(place), [sentence], ["de-en"]))
    assert outputs[0] == outputs[1]

    codec = TextCodec(load_tokenizer(added.model("add_language")), after.config)
    (old,), (new,) = (codec.encode_sources([sentence], task) for task in ("de-en", "el-en"))
    assert codec.tokenizer.unk_token_id in old
    assert max(new) >= read_additions(after.config)[0].vocabulary > max(old)


def test_both_kinds_of_directions_are_exported_with_proof(added: Layout, base: Path, tmp_path: Path) -> None:
    place = added.model("add_language")
    model, tokenizer = load_model(place), load_tokenizer(place)
    masks = ns.NeuronMasks.from_pretrained(place)
    for task in ("de-en", "el-en", "en-el"):
        text = ["τον παλιό σκύλος βλέπει"] if task == "el-en" else ["das Katze Haus sieht"]
        finished = ns.export(model, tokenizer, masks, task=task, out=tmp_path / task, sentences=text, max_tokens=8)
        assert all(one.equal == one.sentences for one in finished.agreements)
        finished = ns.export(
            model, tokenizer, masks, task=task, out=tmp_path / f"ct2-{task}", sentences=text, max_tokens=8, format="ct2"
        )
        assert all(one.equal == one.sentences for one in finished.agreements)
    smaller = load_model(tmp_path / "de-en")
    assert len(load_tokenizer(tmp_path / "de-en")) <= smaller.config.vocab_size
    assert smaller.config.vocab_size == load_model(base).config.vocab_size


def test_all_directions_are_recorded_and_translated_by_every_engine(added: Layout, base: Path) -> None:
    place = added.model("add_language")
    model, tokenizer = load_model(place), load_tokenizer(place)
    specialize(model, ns.NeuronMasks.from_pretrained(place))
    pairs = {"de-en": [("das Katze", "the cat")], "en-el": [("the cat", "τον γάτα")]}
    counts = ns.record_activations(model, make_batches(model, tokenizer, pairs))
    assert set(counts.tasks) == {"de-en", "en-el"}
    assert counts.widths["encoder.0"] == 520

    sentences = ["das Katze γάτα", "the big cat", "τον γάτα", "das Hund"]
    tasks = ["de-en", "en-el", "el-en", "de-el"]
    attach_masks(model, ns.NeuronMasks.from_pretrained(place), ["de-el"])
    options = Translation(beams=1, max_tokens=8)
    expected = translate_sentences(model, tokenizer, sentences, tasks, options)
    with CT2Translator(model, tokenizer, threads=1) as translator:
        assert translator(sentences, tasks, options) == expected


def test_a_further_language_is_added_to_the_result(added: Layout, tmp_path: Path, base: Path) -> None:
    write(tmp_path, added.model("add_language"), pieces=0)
    recipe = yaml.safe_load((tmp_path / "greek.yaml").read_text(encoding="utf-8"))
    recipe |= {"languages": ["bg"], "methods": {"add_language": {}}}
    old = read_export_text(open_run(base.parents[2]), OLD, 3)
    for task, sentences in old.items():
        (tmp_path / f"{task}.tsv").write_text("".join(f"{line}\t{line}\n" for line in sentences), encoding="utf-8")
    recipe["model"]["extend"]["proof"] = {task: str(tmp_path / f"{task}.tsv") for task in old}
    (tmp_path / "greek.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (tmp_path / "corpus.el.tsv").rename(tmp_path / "corpus.bg.tsv")

    run = ns.run(tmp_path / "greek.yaml", out=tmp_path / "run", until="train")
    assert (
        len(
            run.load_masks().tasks
            if run.has_masks
            else ns.NeuronMasks.from_pretrained(run.layout.model("pretrained")).tasks
        )
        == 8
    )
    assert len(read_additions(load_model(run.layout.model("pretrained")).config)) == 2


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"min_neurons": 500}, r"too few neurons are free: .* model\.extend\.widen="),
        ({"proof": {"de-fr": "x.tsv"}}, "x.tsv"),
        ({"masks": "nowhere"}, "nowhere"),
    ],
)
def test_what_cannot_be_added_is_refused_before_training(
    changes: dict[str, Any], problem: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, base, **changes)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NeuronspecError, match=problem):
        ns.run(tmp_path / "greek.yaml", until="train")


def test_the_check_knows_the_tokens_that_will_be_added(base: Path, tmp_path: Path) -> None:
    write(tmp_path, base)
    result = check_run(open_run(tmp_path / "greek.yaml", out=tmp_path / "run"), "greek.yaml")
    assert not [problem for problem in result.found if problem.level == "error"]
    assert result.facts["tags"] == {"en": "__en__", "el": "__el__"}


def test_a_direction_that_is_there_is_refused(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, base)
    (tmp_path / "corpus.el.tsv").rename(tmp_path / "corpus.de.tsv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NeuronspecError, match="is a direction of the model already"):
        ns.run(tmp_path / "greek.yaml", {"languages": ["de"]}, until="prepare")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model.extend": None}, "needs room for them"),
        ({"train.updates": 5}, "training is for the methods"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    changes: dict[str, Any], problem: str, base: Path, tmp_path: Path
) -> None:
    write(tmp_path, base)
    with pytest.raises(NeuronspecError, match=problem):
        ns.run(tmp_path / "greek.yaml", changes, out=tmp_path / "run")


def test_r1_a_killed_training_ends_with_the_same_bits(added: Layout, base: Path, tmp_path: Path) -> None:
    write(tmp_path, base)
    command = (*COMMAND, "train", "greek.yaml", "--method", "add_language")
    process = Process(command, tmp_path)
    watched = Layout(tmp_path / "run").training("add_language") / "checkpoints" / "checkpoint-000002"
    deadline = time.monotonic() + PATIENCE
    while not watched.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    done = call(command, tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("model.safetensors", "neuron_masks.safetensors", "added_languages.json"):
        same = Layout(tmp_path / "run").model("add_language") / name
        assert same.read_bytes() == (added.model("add_language") / name).read_bytes()
