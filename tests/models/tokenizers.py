"""Small tokenizers of the real classes, each with the layout and the vocabularies of its family."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
from transformers import (
    BartConfig,
    BartTokenizer,
    BlenderbotConfig,
    BlenderbotSmallConfig,
    BlenderbotSmallTokenizer,
    BlenderbotTokenizer,
    FSMTConfig,
    FSMTTokenizer,
    M2M100Config,
    M2M100Tokenizer,
    MarianConfig,
    MarianTokenizer,
    MBart50Tokenizer,
    MBartConfig,
    MBartTokenizer,
    MT5Config,
    NllbMoeConfig,
    NllbTokenizer,
    PegasusConfig,
    PegasusTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    T5Config,
    T5Tokenizer,
    UMT5Config,
)

SENTENCES = ["a b c d e", "b c a d e f Guten Tag hello world word", "translate German to English: French: Sorbian"]
BPE = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "▁": 4, "a": 5, "b": 6, "▁a": 7, "▁b": 8, "c": 9}
BYTES = {
    token: number
    for number, token in enumerate(
        ["<s>", "<pad>", "</s>", "<unk>", *"abcdefghilnorstwEFGS:", *("Ġ", "Ġa", "Ġb", "Ġw")]
    )
}


@dataclass(frozen=True)
class Family:
    """A tokenizer as its family has it, and the configuration of its model."""

    make: Callable[[Path], PreTrainedTokenizerBase]
    config: Callable[[], PretrainedConfig]
    has_tags: bool = True


def write_pieces(folder: Path) -> tuple[str, list[tuple[str, float]]]:
    """Write a SentencePiece model, and return its path and its pieces without the special ones."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_writer=model,
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path = folder / "pieces.model"
    path.write_bytes(model.getvalue())
    loaded = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [(loaded.id_to_piece(number), loaded.get_score(number)) for number in range(3, loaded.get_piece_size())]
    return str(path), pieces


def _write(path: Path, value: Any) -> str:
    path.write_text(json.dumps(value), encoding="utf-8")
    return str(path)


def make_marian(folder: Path, *, tags: tuple[str, ...] = (), separate: bool = False, **options: Any) -> MarianTokenizer:
    """Make a Marian tokenizer whose two SentencePiece models differ, with one vocabulary or one for each side."""
    path, pieces = write_pieces(folder)
    other = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["x y z a b", "hello wor ld"] * 20),
        model_writer=other,
        vocab_size=20,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "other.model").write_bytes(other.getvalue())
    loaded = sentencepiece.SentencePieceProcessor(model_proto=other.getvalue())
    others = [loaded.id_to_piece(number) for number in range(3, loaded.get_piece_size())]
    source = [piece for piece, _ in pieces]
    names = ["</s>", "<unk>", *source, *tags]
    if not separate:
        names += [piece for piece in others if piece not in names]
    vocabulary = _write(folder / "source.json", {name: number for number, name in enumerate([*names, "<pad>"])})
    if separate:
        target = {name: number for number, name in enumerate(["</s>", "<unk>", *others, "<pad>"])}
        options |= {"target_vocab_file": _write(folder / "target.json", target), "separate_vocabs": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where sacremoses is not installed
        return MarianTokenizer(path, str(folder / "other.model"), vocabulary, **options)


def make_madlad(folder: Path) -> T5Tokenizer:
    """Make a T5 tokenizer with MADLAD-400's tags as pieces of its vocabulary."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    tags = [(f"<2{code}>", 0.0) for code in ("de", "en", "fr", "zh")]
    return T5Tokenizer(vocab=[*special, *tags, *write_pieces(folder)[1]], extra_ids=0)


def make_t5(folder: Path) -> T5Tokenizer:
    """Make a T5 tokenizer without tags."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return T5Tokenizer(vocab=[*special, *write_pieces(folder)[1]], extra_ids=2)


def make_m2m(folder: Path) -> M2M100Tokenizer:
    """Make an M2M-100 tokenizer."""
    return M2M100Tokenizer(_write(folder / "m2m.json", BPE), write_pieces(folder)[0])


def make_nllb(folder: Path, **options: Any) -> NllbTokenizer:
    """Make an NLLB tokenizer."""
    return NllbTokenizer(vocab=dict(BPE), merges=[("▁", "a"), ("▁", "b")], **options)


def make_mbart(folder: Path, kind: type[PreTrainedTokenizerBase]) -> PreTrainedTokenizerBase:
    """Make a tokenizer of mBART-cc25 or mBART-50."""
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    made: PreTrainedTokenizerBase = kind(vocab=[*special, *write_pieces(folder)[1]])
    return made


def make_pegasus(folder: Path) -> PegasusTokenizer:
    """Make a Pegasus tokenizer."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<mask_1>", 0.0), ("<mask_2>", 0.0)]
    return PegasusTokenizer(vocab=[*special, *write_pieces(folder)[1], ("<unk>", 0.0)])


def make_bytes(folder: Path, kind: type[PreTrainedTokenizerBase]) -> PreTrainedTokenizerBase:
    """Make a byte-level tokenizer, of BART or Blenderbot."""
    made: PreTrainedTokenizerBase = kind(vocab=dict(BYTES), merges=[("Ġ", "a"), ("Ġ", "b"), ("Ġ", "w")])
    return made


def make_blenderbot_small(folder: Path) -> BlenderbotSmallTokenizer:
    """Make a BlenderbotSmall tokenizer."""
    words = {name: number for number, name in enumerate(["__null__", "__start__", "__end__", "__unk__", "a", "b", "c"])}
    (folder / "merges.txt").write_text("#version\na b\n", encoding="utf-8")
    return BlenderbotSmallTokenizer(_write(folder / "small.json", words), str(folder / "merges.txt"))


def make_fsmt(folder: Path) -> FSMTTokenizer:
    """Make an FSMT tokenizer, whose end token is empty, with a vocabulary for each side."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    source = {name: number for number, name in enumerate([*special, "a</w>", "b</w>", "c</w>", "word</w>"])}
    target = {name: number for number, name in enumerate([*special, "b</w>", "x</w>", "c</w>", "a</w>", "y</w>"])}
    (folder / "merges").write_text("w o\nwo r\nwor d</w>\n", encoding="utf-8")
    return FSMTTokenizer(
        langs=["en", "de"],
        src_vocab_file=_write(folder / "src.json", source),
        tgt_vocab_file=_write(folder / "tgt.json", target),
        merges_file=str(folder / "merges"),
    )


FAMILIES: dict[str, Family] = {
    "m2m_100": Family(make_m2m, lambda: M2M100Config(decoder_start_token_id=2)),
    "nllb": Family(make_nllb, lambda: M2M100Config(decoder_start_token_id=2)),
    "nllb legacy": Family(
        lambda folder: make_nllb(folder, legacy_behaviour=True), lambda: M2M100Config(decoder_start_token_id=2)
    ),
    "nllb-moe": Family(make_nllb, lambda: NllbMoeConfig(decoder_start_token_id=2)),
    "mbart-cc25": Family(lambda folder: make_mbart(folder, MBartTokenizer), lambda: MBartConfig()),
    "mbart-50": Family(
        lambda folder: make_mbart(folder, MBart50Tokenizer), lambda: MBartConfig(decoder_start_token_id=2)
    ),
    "marian": Family(
        lambda folder: make_marian(folder, tags=(">>deu<<", ">>fra<<", ">>cmn_Hans<<", ">>eng<<")),
        lambda: MarianConfig(decoder_start_token_id=3),
    ),
    "marian, two vocabularies": Family(
        lambda folder: make_marian(folder, separate=True, source_lang="en", target_lang="de"),
        lambda: MarianConfig(decoder_start_token_id=3),
        has_tags=False,
    ),
    "fsmt": Family(make_fsmt, lambda: FSMTConfig(decoder_start_token_id=2, langs=["en", "de"]), has_tags=False),
    "madlad": Family(make_madlad, lambda: T5Config(decoder_start_token_id=0)),
    "t5": Family(make_t5, lambda: T5Config(decoder_start_token_id=0), has_tags=False),
    "mt5": Family(make_t5, lambda: MT5Config(decoder_start_token_id=0), has_tags=False),
    "umt5": Family(make_t5, lambda: UMT5Config(decoder_start_token_id=0), has_tags=False),
    "bart": Family(lambda folder: make_bytes(folder, BartTokenizer), lambda: BartConfig(), has_tags=False),
    "blenderbot": Family(
        lambda folder: make_bytes(folder, BlenderbotTokenizer), lambda: BlenderbotConfig(), has_tags=False
    ),
    "blenderbot-small": Family(make_blenderbot_small, lambda: BlenderbotSmallConfig(), has_tags=False),
    "pegasus": Family(make_pegasus, lambda: PegasusConfig(decoder_start_token_id=0), has_tags=False),
}
