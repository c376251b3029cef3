"""Runs of models with a vocabulary for each side, and of models that are told the direction in words."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
import yaml
from tests.pipeline.running import run
from transformers import (
    FSMTConfig,
    FSMTForConditionalGeneration,
    FSMTTokenizer,
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

from neuronspec.config.loading import load_config
from neuronspec.data.store import TokenStore
from neuronspec.errors import NeuronspecError
from neuronspec.methods import method_options
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.models.text_batches import make_batches
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.recording import record_activations
from neuronspec.pipeline.layout import Layout

WORDS = {
    **{"the": "das", "old": "alte", "new": "neue", "bridge": "Brücke", "mill": "Mühle", "river": "Fluss"},
    **{"garden": "Garten", "tower": "Turm", "near": "nahe", "is": "ist", "big": "große", "small": "kleine"},
}
SHAPE = {
    **{"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2},
    **{"decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 64},
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two aligned files, word by word translations."""
    folder = tmp_path_factory.mktemp("corpus")
    draw = random.Random(1)
    rows = sorted({tuple(draw.choices(list(WORDS), k=draw.randint(3, 7))) for _ in range(150)})
    (folder / "en.txt").write_text("".join(" ".join(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "de.txt").write_text("".join(" ".join(map(WORDS.get, row)) + "\n" for row in rows), encoding="utf-8")  # type: ignore[arg-type]
    return folder


def train_pieces(folder: Path, language: str, size: int) -> list[str]:
    lines = (folder / f"{language}.txt").read_text(encoding="utf-8").splitlines()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(folder / language),
        vocab_size=size,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    loaded = sentencepiece.SentencePieceProcessor(model_file=str(folder / f"{language}.model"))
    return [loaded.id_to_piece(number) for number in range(3, loaded.get_piece_size())]


def write_json(path: Path, tokens: list[str]) -> str:
    path.write_text(json.dumps({token: number for number, token in enumerate(tokens)}), encoding="utf-8")
    return str(path)


def make_marian(folder: Path) -> Path:
    """Make a Marian model with a vocabulary for each side."""
    sides = {
        language: ["</s>", "<unk>", *train_pieces(folder, language, size), "<pad>"]
        for language, size in (("en", 40), ("de", 55))
    }
    tokenizer = MarianTokenizer(
        str(folder / "en.model"),
        str(folder / "de.model"),
        write_json(folder / "en.json", sides["en"]),
        write_json(folder / "de.json", sides["de"]),
        separate_vocabs=True,
        source_lang="en",
        target_lang="de",
    )
    torch.manual_seed(0)
    config = MarianConfig(
        **SHAPE,
        vocab_size=len(sides["en"]),
        decoder_vocab_size=len(sides["de"]),
        pad_token_id=len(sides["en"]) - 1,
        decoder_start_token_id=len(sides["de"]) - 1,
        eos_token_id=0,
        forced_eos_token_id=0,
        share_encoder_decoder_embeddings=False,
        tie_word_embeddings=False,
    )
    MarianMTModel(config).save_pretrained(folder / "marian")
    tokenizer.save_pretrained(folder / "marian")
    return folder / "marian"


def make_fsmt(folder: Path) -> Path:
    """Make an FSMT model, whose tokenizer encodes sources only."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    merges: dict[str, None] = {}
    for word in (*WORDS, *WORDS.values()):
        letters = [*word[:-1], f"{word[-1]}</w>"]
        while len(letters) > 1:
            merges[f"{letters[0]} {letters[1]}"] = None
            letters = [letters[0] + letters[1], *letters[2:]]
    (folder / "merges").write_text("".join(f"{merge}\n" for merge in merges), encoding="utf-8")
    tokenizer = FSMTTokenizer(
        langs=["en", "de"],
        src_vocab_file=write_json(folder / "src.json", [*special, *(f"{word}</w>" for word in WORDS)]),
        tgt_vocab_file=write_json(folder / "tgt.json", [*special, *(f"{word}</w>" for word in sorted(WORDS.values()))]),
        merges_file=str(folder / "merges"),
    )
    torch.manual_seed(0)
    sizes = dict.fromkeys(("src_vocab_size", "tgt_vocab_size"), 4 + len(WORDS))
    config = FSMTConfig(langs=["en", "de"], **SHAPE, **sizes, decoder_start_token_id=2, tie_word_embeddings=False)
    FSMTForConditionalGeneration(config).save_pretrained(folder / "fsmt")
    tokenizer.save_pretrained(folder / "fsmt")
    return folder / "fsmt"


def make_t5(folder: Path) -> Path:
    """Make a T5 model without language tags."""
    words = ["translate", "English", "German", "to", ":", *WORDS, *WORDS.values()]
    letters = sorted({letter for word in words for letter in word} | {"▁"})
    pieces = [(f"▁{word}", -1.0) for word in words] + [(":", -1.0)] + [(letter, -9.0) for letter in letters]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    tokenizer = T5Tokenizer(vocab=[*special, *dict(pieces).items()], extra_ids=0)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    T5ForConditionalGeneration(config).save_pretrained(folder / "t5")
    tokenizer.save_pretrained(folder / "t5")
    return folder / "t5"


def configure(folder: Path, pretrained: Path, out: Path, **changes: Any) -> Any:
    """Return the configuration of a small run."""
    values = {
        "tasks": ["en-de"],
        "data": {"train": [{"path": "{lang}.txt", "format": "lines"}], "hold_out": {"valid": 0.15, "test": 0.1}},
        "model": {"pretrained": str(pretrained)},
        "train": {"updates": 0},
        "continued": {"updates": 4, "warmup": 1, "validate_every": 2},
        "sampling": {"tokens_per_batch": 200},
        "translate": {"beams": 2, "max_tokens": 8},
        "score": {"trials": 100},
        "methods": {"neuron_specialization": {}},
        "analyze": {"figures": False, "resamples": 0, "permutations": 99, "examples": 2},
        "out": str(out),
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**values, **changes}), encoding="utf-8")
    return load_config(path, (), method_options())


@pytest.mark.parametrize("make", [make_marian, make_fsmt])
def test_a_run_reads_and_writes_each_side_with_its_own_vocabulary(
    corpus: Path, tmp_path: Path, make: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure(corpus, make(corpus), tmp_path / "run")
    layout = run(config)
    tokenizer = load_tokenizer(layout.vocabulary)

    store = TokenStore(layout.tokens("valid"))
    rows = [line.split("\t") for line in (layout.text / "valid.en-de.tsv").read_text(encoding="utf-8").splitlines()]
    model = load_model(layout.model("pretrained"))
    batches = list(make_batches(model, tokenizer, {"en-de": [(row[0], row[1]) for row in rows]}))
    lengths = sorted(store.lengths("en-de")[:, 1].tolist())
    labels = sorted(int((row != -100).sum()) - 1 for batch in batches for row in batch["labels"])  # with an end
    assert lengths == labels

    counts, expected = ActivationCounts.load(layout.counts), record_activations(model, batches)
    for layer in counts.layers:
        assert torch.equal(counts.values[layer], expected.values[layer])
    for system in ("pretrained", "neuron_specialization"):
        lines = (layout.translations(system) / "en-de.txt").read_text(encoding="utf-8").splitlines()
        assert len(lines) == len((layout.text / "test.en-de.tsv").read_text(encoding="utf-8").splitlines())
        assert not any("<pad>" in line or "</s>" in line for line in lines)


def test_a_model_without_tags_is_refused_before_any_work(corpus: Path, tmp_path: Path) -> None:
    config = configure(corpus, make_t5(corpus), tmp_path / "run", tasks=["en-de", "de-en"])
    with pytest.raises(NeuronspecError, match=r"en-de and de-en look the same to this model.*source_prefix"):
        run(config)
    assert not (tmp_path / "run" / "prepare").exists()


def test_a_prefix_tells_the_direction_in_training_and_later(corpus: Path, tmp_path: Path) -> None:
    prefix = "translate {src_name} to {tgt_name}: "
    model = {"pretrained": str(make_t5(corpus)), "source_prefix": prefix}
    config = configure(corpus, corpus / "t5", tmp_path / "run", tasks=["en-de", "de-en"], model=model)
    layout: Layout = run(config)
    for system in ("pretrained", "neuron_specialization"):
        assert load_model(layout.model(system)).config.source_prefix == prefix
    lines = [(layout.translations("pretrained") / f"{task}.txt").read_text() for task in ("en-de", "de-en")]
    assert lines[0] != lines[1]


def test_long_validation_and_test_text_is_said_once_by_prepare(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = make_marian(corpus)
    config = MarianMTModel.from_pretrained(model).config
    config.max_position_embeddings = 5
    MarianMTModel(config).save_pretrained(tmp_path / "short")
    load_tokenizer(model).save_pretrained(tmp_path / "short")
    config = configure(corpus, tmp_path / "short", tmp_path / "run")
    run(config, until="prepare")
    said = [record.message for record in caplog.records if "longer than 5 tokens" in record.message]
    assert [message.split(":")[0] for message in said] == ["validation text of en-de", "test text of en-de"]
    stopping = configure(corpus, tmp_path / "short", tmp_path / "other", translate={"too_long": "error"})
    with pytest.raises(NeuronspecError, match=r"test text of en-de: .*shorten them"):
        run(stopping, until="prepare")


def test_validation_text_that_is_left_out_entirely_is_refused(corpus: Path, tmp_path: Path) -> None:
    model = make_marian(corpus)
    shortened = MarianMTModel.from_pretrained(model).config
    shortened.max_position_embeddings = 3
    MarianMTModel(shortened).save_pretrained(tmp_path / "short")
    load_tokenizer(model).save_pretrained(tmp_path / "short")
    data = {
        "train": [{"path": "{lang}.txt", "format": "lines"}],
        "hold_out": {"valid": 0.15, "test": 0.1},
        "too_long": "skip",
    }
    config = configure(corpus, tmp_path / "short", tmp_path / "run", data=data)
    with pytest.raises(NeuronspecError, match=r"nothing is left of the validation text of en-de.*data\.too_long=cut"):
        run(config, until="prepare")


def test_a_direction_that_is_added_later_must_be_told_from_the_others(corpus: Path, tmp_path: Path) -> None:
    model = {"pretrained": str(make_t5(corpus)), "source_prefix": "translate {src_name}: "}
    (corpus / "fr.txt").write_text((corpus / "de.txt").read_text(encoding="utf-8"), encoding="utf-8")
    changes: dict[str, Any] = {"model": model, "tasks": ["de-en", "en-fr"], "methods": {"fine_tune": {}}}
    run(configure(corpus, corpus / "t5", tmp_path / "run", **changes), until="translate")

    added = configure(corpus, corpus / "t5", tmp_path / "run", **changes, zero_shot=["de-fr"])
    with pytest.raises(NeuronspecError, match=r"de-en and de-fr have the same source_prefix"):
        run(added, until="translate")
