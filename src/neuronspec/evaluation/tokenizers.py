"""How BLEU splits text: sacrebleu's tokenizer of the language, Moses', or the pieces of a SentencePiece model."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sacrebleu.metrics import BLEU

from neuronspec.errors import NeuronspecError, NeuronspecWarning, first_line
from neuronspec.languages import find_language

Split = Callable[[str], str]  # a text with spaces between its tokens

TOKENIZERS = {
    **dict.fromkeys(("zh", "zho", "cmn", "yue"), "zh"),
    **dict.fromkeys(("ja", "jpn"), "ja-mecab"),
    **dict.fromkeys(("ko", "kor"), "ko-mecab"),
}


def build_bleu(target_language: str) -> Any:
    """Return BLEU with the tokenizer of a language; on characters, with a warning, where that is not installed."""
    language = target_language.strip("_").replace("_", "-").split("-")[0].lower()  # zho_Hant, __zh__, zh-TW
    tokenizer = TOKENIZERS.get(language, "13a")
    try:
        return BLEU(tokenize=tokenizer)
    except RuntimeError:  # MeCab is an extra of sacrebleu's
        extra = tokenizer.split("-")[0]
        warnings.warn(
            f"the tokenizer {tokenizer!r} is not installed, so BLEU for {target_language!r} is computed on "
            "characters (tok:char in the signature) and cannot be compared with published scores; "
            f"mend it with: pip install 'sacrebleu[{extra}]'",
            NeuronspecWarning,
            stacklevel=3,
        )
        return BLEU(tokenize="char")


def build_bleu_of(split: Split, signature: str) -> Any:
    """Return BLEU over what `split` puts spaces between."""
    scorer = BLEU(tokenize="none")
    scorer.tokenizer, scorer.tokenizer_signature = split, signature
    return scorer


def build_tokenized_bleu(target_language: str) -> Any:
    """Return BLEU on Moses tokens.

    Raises:
        NeuronspecError: sacremoses is not installed.
    """
    try:
        language = find_language(target_language).code
    except NeuronspecError:
        language = target_language.strip("_").replace("_", "-").lower()
    return build_bleu_of(*_load_moses(language.split("-")[0]))  # pt-BR, zh-Hant


@functools.cache
def _load_moses(language: str) -> tuple[Split, str]:
    """Return Moses' tokenizer for a language, as tokenizer.perl splits without options, and its signature."""
    try:
        sacremoses: Any = importlib.import_module("sacremoses")
    except ImportError as error:
        raise NeuronspecError(
            "tokenised BLEU needs Moses' tokenizer, which is not installed; mend it with: pip install sacremoses"
        ) from error
    tokenizer = sacremoses.MosesTokenizer(lang=language)

    @functools.lru_cache(maxsize=2**16)
    def split(text: str) -> str:
        return str(tokenizer.tokenize(text, return_str=True))

    return split, f"moses-{language}-sacremoses-{importlib.metadata.version('sacremoses')}"


def load_sentencepiece(path: Path) -> tuple[Split, str]:
    """Return what splits a text into the pieces of a model, and its part of a signature.

    Raises:
        NeuronspecError: the file cannot be read or is no SentencePiece model.
    """
    from sentencepiece import SentencePieceProcessor

    try:
        model = path.read_bytes()
        if not model:  # SentencePiece takes no bytes for no argument
            raise ValueError("it is empty")
        pieces = SentencePieceProcessor(model_proto=model)
    except (OSError, RuntimeError, ValueError) as error:
        raise NeuronspecError(
            f"cannot read {str(path)!r} as a SentencePiece model: {first_line(error)}; give the .model file"
        ) from error

    @functools.lru_cache(maxsize=2**16)  # the references are the same for every system
    def split(text: str) -> str:
        return " ".join(pieces.encode_as_pieces(text))

    name = re.sub(r"[|:\s]", "_", path.name)  # what separates the fields of a signature
    signature = f"spm-{name}-{hashlib.sha256(model).hexdigest()[:8]}"
    return split, signature
