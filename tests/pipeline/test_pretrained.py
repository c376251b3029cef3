"""A run that starts from a pretrained model of another maker: NLLB's tokenizer and tags, small random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.plain_program import find_code, translate_plainly
from tests.processes import COMMAND, call
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    M2M100Config,
    M2M100ForConditionalGeneration,
    NllbTokenizer,
)

from neuronspec.neurons.masks import NeuronMasks

CHANGES = ("continued.updates=4", "select.k=0.8", "methods={neuron_specialization: {}}", "analyze.figures=false")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, write_project: Callable[[Path], None]) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    write_project(folder)
    save_nllb(folder)
    recipe = (folder / "toy.yaml").read_text().replace("{preset: tiny}", f"{{pretrained: {folder / 'nllb'}}}")
    lines = [line for line in recipe.splitlines() if not line.startswith(("train:", "prepare:"))]
    (folder / "toy.yaml").write_text("\n".join(lines))
    done = call([*COMMAND, "run", "toy.yaml", *CHANGES], folder)
    assert done.returncode == 0, done.stderr
    return folder


def save_nllb(folder: Path) -> None:
    """Write a model directory such as NLLB's, learnt pieces included."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    texts = [(folder / f"corpus.{language}.tsv").read_text() for language in ("de", "sv")]
    learner.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=120, special_tokens=["<s>", "<pad>", "</s>", "<unk>"])
    )
    learner.save(str(folder / "bpe.json"))
    model = json.loads((folder / "bpe.json").read_text())["model"]
    tokenizer = NllbTokenizer(vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]])
    config = M2M100Config(
        vocab_size=len(tokenizer),
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
    )
    M2M100ForConditionalGeneration(config).save_pretrained(folder / "nllb")
    tokenizer.save_pretrained(folder / "nllb")


def test_the_model_is_taken_as_it_is_and_its_neurons_are_specialised(run: Path) -> None:
    before = AutoModelForSeq2SeqLM.from_pretrained(run / "nllb").state_dict()
    taken = AutoModelForSeq2SeqLM.from_pretrained(run / "run/train/pretrained/model").state_dict()
    trained = AutoModelForSeq2SeqLM.from_pretrained(run / "run/train/neuron_specialization/model").state_dict()
    assert all(before[name].equal(taken[name]) for name in before)
    assert not all(before[name].equal(trained[name]) for name in before)
    masks = NeuronMasks.from_pretrained(run / "run/train/neuron_specialization/model")
    assert masks.tasks == ("en-de", "en-sv", "de-en", "sv-en")


def test_its_own_tokenizer_and_tags_are_kept(run: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(run / "run/train/neuron_specialization/model", src_lang="deu_Latn")
    ids = tokenizer("das")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids)[0] == "deu_Latn"
    assert ids[-1] == tokenizer.eos_token_id


def test_plain_transformers_translate_with_it_as_its_card_says(run: Path) -> None:
    directory = run / "run/train/pretrained/model"
    card = (directory / "README.md").read_text()
    assert "from the pretrained model `nllb`." in card
    assert str(run) not in card
    (code,) = find_code(card)
    assert 'tokenizer.src_lang = "eng_Latn"' in code
    sources = [line.split("\t")[0] for line in (run / "run/prepare/text/test.en-de.tsv").read_text().splitlines()]
    translations = (run / "run/translate/pretrained/en-de.txt").read_text().splitlines()
    [plain] = translate_plainly(directory, [code], sources)
    assert [" ".join(line.split()) for line in plain] == translations  # a run's files hold a line for each sentence


def test_it_keeps_its_own_way_of_decoding(run: Path) -> None:
    before, after = (
        json.loads((folder / "generation_config.json").read_text())
        for folder in (run / "nllb", run / "run/train/neuron_specialization/model")
    )
    assert before == after
