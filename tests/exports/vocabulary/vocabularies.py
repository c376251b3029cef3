"""Small models with real tokenizer classes whose vocabularies are large enough to be trimmed."""

from __future__ import annotations

import io
import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    BartTokenizer,
    M2M100Tokenizer,
    MarianTokenizer,
    MBart50Tokenizer,
    NllbTokenizer,
    PegasusTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Speech2TextTokenizer,
    T5Tokenizer,
)

from neuronspec.data.vocabulary import learn_vocabulary
from neuronspec.exports.vocabulary.trimming import list_tokens

TASKS = ("de-en",)
_DRAW = random.Random(4)
SYLLABLES = ["ba", "de", "gi", "ko", "lu", "mar", "ten", "sch", "over", "und", "жа", "ли", "é"]


def draw_sentences(count: int, syllables: list[str]) -> list[str]:
    """Invented words, so that every vocabulary learns pieces of several characters."""
    words = ["".join(_DRAW.choices(syllables, k=_DRAW.randint(1, 4))) for _ in range(60)]
    return [" ".join(_DRAW.choices(words, k=_DRAW.randint(2, 6))) for _ in range(count)]


LEARNED = draw_sentences(300, SYLLABLES)
TEXTS = {"de": draw_sentences(12, SYLLABLES[:7]), "en": draw_sentences(12, SYLLABLES[2:9])}
SHAPE = {
    **{"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "num_heads": 2},
    **{"decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "num_layers": 1, "d_kv": 8},
    **{"d_ff": 24, "max_position_embeddings": 64, "dropout": 0.0, "dropout_rate": 0.0},
}


def learn_pieces(folder: Path, kind: str, size: int = 150) -> tuple[str, list[tuple[str, float]]]:
    """A SentencePiece model of a type, and its pieces without the first three, which are special."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LEARNED),
        model_writer=model,
        model_type=kind,
        vocab_size=size,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path = folder / f"{kind}.model"
    path.write_bytes(model.getvalue())
    loaded = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [(loaded.id_to_piece(number), loaded.get_score(number)) for number in range(3, loaded.get_piece_size())]
    return str(path), pieces


def learn_merges(splitter: Any, alphabet: list[str], special: list[str]) -> tuple[dict[str, int], list[Any]]:
    """Vocabulary and merges of byte-pair encoding."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = splitter
    learner.train_from_iterator(
        LEARNED, trainers.BpeTrainer(vocab_size=160 + len(alphabet), special_tokens=special, initial_alphabet=alphabet)
    )
    content = json.loads(learner.to_str())["model"]
    return content["vocab"], [tuple(merge) for merge in content["merges"]]


def write_json(path: Path, value: Any) -> str:
    path.write_text(json.dumps(value), encoding="utf-8")
    return str(path)


def make_ours(folder: Path) -> PreTrainedTokenizerBase:
    return learn_vocabulary(iter(LEARNED), 150, ["de", "en", "fr"])


def make_nllb(folder: Path) -> NllbTokenizer:
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary, merges = learn_merges(pre_tokenizers.Metaspace(), [], special)
    return NllbTokenizer(vocab=vocabulary, merges=merges)


def make_bart(folder: Path) -> BartTokenizer:
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    vocabulary, merges = learn_merges(splitter, pre_tokenizers.ByteLevel.alphabet(), special)
    return BartTokenizer(vocab=vocabulary, merges=merges)


def make_m2m(folder: Path, kind: str) -> M2M100Tokenizer:
    path, pieces = learn_pieces(folder, kind)
    names = ["<s>", "<pad>", "</s>", "<unk>", *(piece for piece, _ in pieces)]
    return M2M100Tokenizer(write_json(folder / "m2m.json", {name: number for number, name in enumerate(names)}), path)


def make_speech2text(folder: Path) -> Speech2TextTokenizer:
    """As a model that was imported from fairseq has it, with tags of ours at its end and names of unused ids."""
    path, pieces = learn_pieces(folder, "bpe")
    tags = [f"__{code}__" for code in ("de", "en", "fr")]
    names = ["<s>", "<pad>", "</s>", "<unk>", *(piece for piece, _ in pieces), "▁ba ", *tags]
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    vocabulary = write_json(folder / "fairseq.json", {name: number for number, name in enumerate(names)})
    return Speech2TextTokenizer(vocabulary, path, extra_special_tokens=tags, **special)


def make_mbart(folder: Path) -> MBart50Tokenizer:
    special = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    return MBart50Tokenizer(vocab=[*special, *learn_pieces(folder, "unigram")[1]])


def make_madlad(folder: Path) -> T5Tokenizer:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    tags = [(f"<2{code}>", 0.0) for code in ("de", "en", "fr", "zh")]
    return T5Tokenizer(vocab=[*special, *tags, *learn_pieces(folder, "unigram")[1]], extra_ids=0)


def make_t5(folder: Path) -> T5Tokenizer:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return T5Tokenizer(vocab=[*special, *learn_pieces(folder, "unigram")[1]], extra_ids=3)


def make_pegasus(folder: Path) -> PegasusTokenizer:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<mask_1>", 0.0), ("<mask_2>", 0.0)]
    return PegasusTokenizer(vocab=[*special, *learn_pieces(folder, "unigram")[1], ("<unk>", 0.0)])


def make_marian(folder: Path) -> MarianTokenizer:
    source, pieces = learn_pieces(folder, "unigram")
    target, others = learn_pieces(folder, "bpe", size=100)
    names = ["</s>", "<unk>", ">>deu<<", ">>eng<<", ">>fra<<"]
    names += dict.fromkeys(piece for piece, _ in [*pieces, *others])
    vocabulary = write_json(folder / "marian.json", {name: n for n, name in enumerate([*names, "<pad>"])})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where sacremoses is not installed
        return MarianTokenizer(source, target, vocabulary)


KINDS: dict[str, tuple[Callable[[Path], PreTrainedTokenizerBase], str, dict[str, Any]]] = {
    "ours": (make_ours, "m2m_100", {}),
    "nllb": (make_nllb, "m2m_100", {}),
    "m2m_100, byte-pair encoding": (lambda folder: make_m2m(folder, "bpe"), "m2m_100", {}),
    "m2m_100, unigram": (lambda folder: make_m2m(folder, "unigram"), "m2m_100", {}),
    "imported from fairseq": (make_speech2text, "m2m_100", {}),
    "mbart-50": (make_mbart, "mbart", {}),
    "madlad": (make_madlad, "t5", {"tie_word_embeddings": False}),
    "mt5": (make_t5, "mt5", {"feed_forward_proj": "gated-gelu"}),
    "marian": (make_marian, "marian", {}),
    "bart": (make_bart, "bart", {}),
    "pegasus": (make_pegasus, "pegasus", {}),
}


def make_model(tokenizer: PreTrainedTokenizerBase, architecture: str, **changes: Any) -> PreTrainedModel:
    """An untrained model that has a few more embeddings than the tokenizer has tokens, as real ones have."""
    names = ("bos", "eos", "pad")
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id", None) for name in names}
    start = special["pad_token_id"] if architecture in ("t5", "mt5", "marian", "pegasus") else special["eos_token_id"]
    size = max(list_tokens(tokenizer).values()) + 5
    settings = {**SHAPE, **special, "decoder_start_token_id": start, "vocab_size": size, **changes}
    torch.manual_seed(1)
    model: PreTrainedModel = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(architecture, **settings)).eval()

    # No trained model says a token that the tokenizer does not have.
    with torch.no_grad():
        model.get_output_embeddings().weight[size - 4 :] = 0

    # A bias of the output, where the architecture has one, that differs between tokens
    if getattr(model, "final_logits_bias", None) is not None:
        model.final_logits_bias.copy_(torch.randn(1, size))
    return model
