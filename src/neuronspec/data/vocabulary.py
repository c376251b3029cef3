"""Learning a SentencePiece unigram vocabulary and saving it as an ordinary Hugging Face tokenizer."""

from __future__ import annotations

import bisect
import io
import itertools
import json
import operator
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from neuronspec.data.sampling import temperature_weights
from neuronspec.data.word_encoding import SPACE_MARK
from neuronspec.errors import NeuronspecError

# The special tokens in the order of their ids: the ones that M2M-100 models expect.
SPECIAL_TOKENS = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


MOST_BYTES = 128 << 20
"""Bytes of text that a vocabulary is learned from: SentencePiece then needs about 3 GB of memory."""

_MEASURED = 10_000  # sentences of a file whose lengths are measured
_DRAWN = 1 << 12  # numbers drawn at a time


def tag_token(language: str) -> str:
    """Return the token that names a language.

    Example:
        >>> tag_token("de")
        '__de__'
    """
    return f"__{language}__"


def learn_vocabulary(
    sentences: Iterator[str],
    size: int,
    languages: Sequence[str],
    character_coverage: float = 1.0,
    threads: int = 1,
) -> PreTrainedTokenizerFast:
    """Learn a SentencePiece unigram vocabulary.

    SentencePiece's sums depend on the number of threads, which therefore follows from the configuration of a run and
    never from the machine.

    Args:
        sentences: Sample to learn from.
        size: Number of pieces, including special tokens but not language tags.
        languages: Language codes; each becomes one special token `__xx__` after the pieces, in this order.
        character_coverage: Share of the characters to cover.
        threads: Number of threads.

    Returns:
        A tokenizer that `AutoTokenizer` loads without custom code. It adds `</s>` only: a tag is written in front
        of the text (`"__de__ Guten Tag"`).

    Raises:
        NeuronspecError: If there is too little text, or it has more characters than `size` pieces.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=sentences,
            model_writer=model,
            model_type="unigram",
            vocab_size=size,
            hard_vocab_limit=False,  # little text may give fewer pieces
            character_coverage=character_coverage,
            normalization_rule_name="identity",  # the text is NFC already
            # The order of `SPECIAL_TOKENS`.
            bos_id=0,
            pad_id=1,
            eos_id=2,
            unk_id=3,
            num_threads=threads,
            max_sentence_length=1 << 16,  # bytes; longer sentences are skipped
            minloglevel=2,  # errors only
        )
    except (RuntimeError, OSError) as error:
        raise NeuronspecError(
            f"cannot learn a vocabulary of {size} pieces from this text: {error}; "
            "give more text or another prepare.vocabulary.size"
        ) from error
    return _as_tokenizer(model.getvalue(), [tag_token(language) for language in languages])


def sample_sentences(
    texts: Mapping[str, Sequence[tuple[Path, int]]],
    sizes: Mapping[str, int],
    temperature: float,
    count: int,
    seed: int,
) -> Iterator[str]:
    """Yield a sample of sentences, balanced over languages by temperature.

    Args:
        texts: Prepared files that hold each language, with the column that it is in.
        sizes: Number of sentences of each language in all of its files.
        temperature: Temperature T of the balance.
        count: Approximate number of sentences in total; fewer where a language has less than its share.
        seed: Seed of the random draw.
    """
    weights = temperature_weights(list(sizes.values()), temperature)
    for number, (language, weight) in enumerate(zip(sizes, weights, strict=True)):
        wanted = int(count * weight)
        if sizes[language] > wanted:
            # Keep each sentence with equal probability: one pass, nothing held in memory.
            generator = np.random.default_rng([seed, 2, number])
            share = wanted / sizes[language]
            keep: Iterator[bool] = _draw_endlessly(generator, share)
        else:
            keep = itertools.repeat(True)

        # One sequence of draws serves all files of the language.
        for path, column in texts[language]:
            with path.open("rb") as file:
                for line in itertools.compress(file, keep):
                    yield line.decode().removesuffix("\n").split("\t")[column]


def limit_sample(
    texts: Mapping[str, Sequence[tuple[Path, int]]], sizes: Mapping[str, int], temperature: float, count: int
) -> int:
    """Return how many sentences a sample may have, so that it is not much larger than `MOST_BYTES`.

    The mean length of the sentences of each language is that of the first ones of its files.

    Args:
        texts: Prepared files that hold each language, with the column that it is in.
        sizes: Number of sentences of each language in all of its files.
        temperature: Temperature T of the balance.
        count: Number of sentences that is asked for.
    """
    lengths = {language: _measure_sentences(texts[language]) for language in sizes}
    weights = temperature_weights(list(sizes.values()), temperature)

    def measure(number: int) -> int:
        drawn = [min(size, int(number * weight)) for size, weight in zip(sizes.values(), weights, strict=True)]
        return int(sum(map(operator.mul, drawn, lengths.values())))

    # The largest number whose sample is small enough; languages with little text come whole.
    if measure(count) <= MOST_BYTES:
        return count
    return bisect.bisect_right(range(count), MOST_BYTES, key=measure) - 1


def _measure_sentences(files: Sequence[tuple[Path, int]]) -> float:
    """Return the mean number of bytes of the first sentences in a column of some files."""
    lengths: list[int] = []
    for path, column in files:
        with path.open("rb") as file:
            lengths += [len(line.rstrip(b"\n").split(b"\t")[column]) for line in itertools.islice(file, _MEASURED)]
    return sum(lengths) / max(1, len(lengths))


def _draw_endlessly(generator: np.random.Generator, share: float) -> Iterator[bool]:
    """Yield True with probability `share`, again and again."""
    while True:
        yield from (generator.random(_DRAWN) < share).tolist()


def reads_words_alone(tokenizer: Any) -> bool:
    """Return whether a tokenizer gives the words of a text the same ids as each of them alone, one after the other.

    That is known of the tokenizers that `learn_vocabulary` makes; any other one may do it, but is not believed to.
    `neuronspec.data.word_encoding` says for which texts it holds.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        return False

    found, expected = tokenizer.backend_tokenizer, Tokenizer(models.Unigram())
    _split_at_spaces(expected)
    if not isinstance(found.model, models.Unigram) or _describe_splitting(found) != _describe_splitting(expected):
        return False

    # An added token is found in the middle of a word, and one with a space across words, unless text stays text.
    added = found.get_added_tokens_decoder().values()
    return found.token_to_id(SPACE_MARK) is not None and all(
        token.special and not any(map(str.isspace, token.content)) for token in added
    )


def _describe_splitting(tokenizer: Tokenizer) -> list[Any]:
    """Return how a tokenizer splits text into words, as it is stored."""
    stored = json.loads(tokenizer.to_str())
    return [stored["normalizer"], stored["pre_tokenizer"]]


def _split_at_spaces(tokenizer: Tokenizer) -> None:
    """Let a tokenizer split text into words."""
    # A run of white space counts as one space, as in training.
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Replace(Regex(r"<(?=(?:/?s|pad|unk)>)"), "< "),  # "</s>" in a text stays text
            normalizers.Strip(),
        ]
    )

    # A space becomes a part of the word after it; the first word gets one, too.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")


def _as_tokenizer(model: bytes, tags: list[str]) -> PreTrainedTokenizerFast:
    """Return a SentencePiece model as a tokenizer of Hugging Face, with language tags."""
    # The pieces and their scores, by which a text is split in the same way as by SentencePiece.
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    vocabulary = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(pieces.get_piece_size())]

    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=pieces.unk_id()))

    _split_at_spaces(tokenizer)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")

    # Only the end of the sentence is added; tags are written in the text.
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A $B </s>", special_tokens=[("</s>", pieces.eos_id())]
    )

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **SPECIAL_TOKENS,
        extra_special_tokens=tags,
        clean_up_tokenization_spaces=False,
    )
