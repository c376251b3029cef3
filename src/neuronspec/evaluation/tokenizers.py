"""Tokenizers of BLEU and TER: those of sacrebleu for a language, Moses, or the pieces of a SentencePiece model."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from neuronspec.errors import NeuronspecError, NeuronspecWarning, first_line
from neuronspec.evaluation.writing import find_writing, split_letters
from neuronspec.languages.meaning import read_code
from neuronspec.libraries import import_library
from neuronspec.reading_limits import read_bytes

Split = Callable[[str], str]  # a text with spaces between its tokens

# Sacrebleu's tokenizers by how a language is written; `13a` splits at spaces and punctuation.
TOKENIZERS = {
    **{"spaced": "13a", "unspaced": "13a"},
    **{"chinese": "zh", "japanese": "ja-mecab", "korean": "ko-mecab"},
}
LETTERS = "tercom-letters"  # the signature of TER's tokens where `split_letters` makes them


def build_bleu(target_language: str) -> Any:
    """Return BLEU with the tokenizer of a language; on characters, with a warning, if it is not installed."""
    from sacrebleu.metrics import BLEU

    tokenizer = TOKENIZERS[find_writing(target_language)]
    try:
        return BLEU(tokenize=tokenizer)
    except RuntimeError:  # MeCab is an extra of sacrebleu's
        extra = tokenizer.split("-")[0]
        warnings.warn(
            f"the tokenizer {tokenizer!r} is not installed, so BLEU for {target_language!r} is computed on "
            "characters (tok:char in the signature) and cannot be compared with published scores; "
            f"install it with: pip install 'neuronspec[cjk]', or pip install 'sacrebleu[{extra}]'",
            NeuronspecWarning,
            stacklevel=3,
        )
        return BLEU(tokenize="char")


# What sacrebleu's tokenizer 13a does after it has replaced some characters: patterns and what replaces them.
_RULES_OF_13A = (
    (r"([\{-\~\[-\` -\&\(-\+\:-\@\/])", r" \1 "),
    (r"([^0-9])([\.,])", r"\1 \2 "),
    (r"([\.,])([^0-9])", r" \1 \2"),
    (r"([0-9])(-)", r"\1 \2 "),
)
# The characters of the first rule; spaces around spaces change nothing.
_SYMBOLS_OF_13A = '{|}~[\\]^_`!"#$%&()*+:;<=>?@/'
_ENTITIES = {"&quot;": '"', "&amp;": "&", "&lt;": "<", "&gt;": ">"}


def tokenize_all(tokenizer: Split, texts: Sequence[str]) -> list[list[str]]:
    """Return the tokens of texts, as BLEU sees them.

    Sacrebleu's tokenizer for most languages, `13a`, is applied to all texts at once, which takes a tenth of the time.

    Args:
        tokenizer: Tokenizer of a metric of sacrebleu.
        texts: Texts, one for each sentence.

    Example:
        >>> from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
        >>> tokenize_all(Tokenizer13a(), ["It's 1,000 (or so).", "No..."])
        [["It's", '1,000', '(', 'or', 'so', ')', '.'], ['No', '.', '.', '.']]
    """
    lines = [text.rstrip() for text in texts]
    if not lines or not _is_13a(tokenizer):
        return [tokenizer(line).split() for line in lines]

    # Texts become the lines of one, between spaces: no rule looks beyond the spaces around a line.
    text = "\n".join(f" {_join_lines(line)} " for line in lines)
    for entity, character in _ENTITIES.items():
        text = text.replace(entity, character)
    for symbol in _SYMBOLS_OF_13A:
        text = text.replace(symbol, f" {symbol} ")
    for pattern, replacement in _RULES_OF_13A[1:]:
        text = re.sub(pattern, replacement, text)
    return [line.split() for line in text.split("\n")]


def _join_lines(text: str) -> str:
    """Return a text without what tokenizer 13a leaves out, and in one line."""
    text = text.replace("<skipped>", "")
    return text.replace("-\n", "").replace("\n", " ")


def _is_13a(tokenizer: Split) -> bool:
    """Return whether a tokenizer is sacrebleu's `13a` with the rules that are known here."""
    rules = getattr(getattr(tokenizer, "_post_tokenizer", None), "_re", ())
    known = tuple((pattern.pattern, replacement) for pattern, replacement in rules) == _RULES_OF_13A
    return known and type(tokenizer).__name__ == "Tokenizer13a"


def build_ter(target_language: str) -> Any:
    """Return TER with the words of a language, or its characters where it puts no spaces between words.

    Chinese and Japanese are split as sacrebleu's `--ter-asian-support --ter-normalized` does: each Chinese character
    is a word. That option does not split Thai, Lao, Khmer, Burmese, Tibetan and similar scripts, so a sentence would
    be one word, right or wrong as a whole; here each letter with its marks is a word. The signature names the
    tokenizer.
    """
    from sacrebleu.metrics import TER

    writing = find_writing(target_language)
    # Words are what stands between spaces.
    if writing in ("spaced", "korean"):
        return TER()

    # Chinese and Japanese: sacrebleu splits characters. For other scripts, letters are split before it normalizes.
    scorer = TER(normalized=True, asian_support=True)
    if writing == "unspaced":
        normalize = scorer.tokenizer
        scorer.tokenizer, scorer.tokenizer_signature = lambda text: normalize(split_letters(text)), LETTERS
    return scorer


def build_chrf(target_language: str) -> Any:
    """Return chrF++, which splits every language in the same way."""
    from sacrebleu.metrics import CHRF

    return CHRF(word_order=2)


def warn_of_words(metric: str, signature: str, target_language: str) -> str:
    """Return a warning if a score counts words that the language does not separate; else an empty string.

    Args:
        metric: Display name of the metric.
        signature: Signature of the score.
        target_language: Language of the translations.

    Example:
        >>> warn_of_words("BLEU", "nrefs:1|tok:13a", "de"), warn_of_words("BLEU", "nrefs:1|tok:zh", "zh")
        ('', '')
        >>> warn_of_words("BLEU", "nrefs:1|tok:13a", "th")
        'BLEU splits th at spaces, which it does not put between words: trust chrF++, TER or spBLEU'
    """
    # Both of these tokenizers split at spaces and punctuation only.
    splits_at_spaces = "tok:13a" in signature or "tok:moses" in signature
    if not splits_at_spaces or find_writing(target_language) in ("spaced", "korean"):
        return ""
    return (
        f"{metric} splits {target_language} at spaces, which it does not put between words: trust chrF++, TER or spBLEU"
    )


def build_bleu_of(split: Split, signature: str) -> Any:
    """Return BLEU over the tokens of a function that puts spaces between them.

    Args:
        split: Function from a text to its tokens, with spaces between them.
        signature: Name of the tokenizer in the metric's signature.
    """
    from sacrebleu.metrics import BLEU

    # Sacrebleu accepts only names of tokenizers, so its own is replaced afterwards.
    scorer = BLEU(tokenize="none")
    scorer.tokenizer, scorer.tokenizer_signature = split, signature
    return scorer


def build_tokenized_bleu(target_language: str) -> Any:
    """Return BLEU on Moses tokens.

    Raises:
        NeuronspecError: If sacremoses is not installed.
    """
    return build_bleu_of(*_load_moses(read_code(target_language).language))  # pt of pt-BR


@functools.cache
def _load_moses(language: str) -> tuple[Split, str]:
    """Return Moses' tokenizer for a language, as tokenizer.perl splits without options, and its signature."""
    sacremoses = import_library("sacremoses", "tokenised BLEU", "moses")
    tokenizer = sacremoses.MosesTokenizer(lang=language)

    @functools.lru_cache(maxsize=2**16)
    def split(text: str) -> str:
        return str(tokenizer.tokenize(text, return_str=True))

    return split, f"moses-{language}-sacremoses-{importlib.metadata.version('sacremoses')}"


def load_sentencepiece(path: Path) -> tuple[Split, str]:
    """Return the function that splits a text into the pieces of a model, and its part of a signature.

    Raises:
        NeuronspecError: If the file cannot be read or is no SentencePiece model.
    """
    from sentencepiece import SentencePieceProcessor

    try:
        # Read once: the hash in the signature belongs to the bytes that were loaded.
        model = read_bytes(path)
        if not model:  # SentencePiece treats no bytes as no argument
            raise ValueError("it is empty")
        pieces = SentencePieceProcessor(model_proto=model)
    except (OSError, RuntimeError, ValueError) as error:
        raise NeuronspecError(
            f"cannot read {str(path)!r} as a SentencePiece model: {first_line(error)}; give the .model file"
        ) from error

    @functools.lru_cache(maxsize=2**16)  # the references are the same for every system
    def split(text: str) -> str:
        return " ".join(pieces.encode_as_pieces(text))

    name = re.sub(r"[|:\s]", "_", path.name)  # these separate the fields of a signature
    signature = f"spm-{name}-{hashlib.sha256(model).hexdigest()[:8]}"
    return split, signature
