"""A stock tokenizer whose ids are those of a fairseq dictionary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import sentencepiece
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast, Speech2TextTokenizer

from neuronspec.data.vocabulary import SPECIAL_TOKENS, tag_token
from neuronspec.errors import NeuronspecError
from neuronspec.models.encoding import encode
from neuronspec.models.fairseq.dictionary import SPECIAL, Dictionary
from neuronspec.models.fairseq.tags import Tags
from neuronspec.models.tag_placement import DECLARATION

_UNKNOWN, _END = SPECIAL.index("<unk>"), SPECIAL.index("</s>")
_SHADOWED = " "  # after a token whose id no text has any more; no piece or word has a space
# Sentences of many scripts and with white space of many kinds, by which ids are compared
_PROBES = (
    *("Guten Tag!", 'The quick brown fox, 3.14 km away: "really?"', "Привет, как дела?", "你好，世界。", "नमस्ते दुनिया"),
    *("مرحبا بالعالم", "ﬁne ① ½ Ⅷ e\u0301 \u00e9", "  two  spaces ", "a\tb", "<s> x </s> __en__ <unk>", "🙂 ☃ ẞ", "x"),
)
_MAX_TOKENS = 40  # of a sentence that is made of a dictionary's own tokens
_MAX_SENTENCES = 400


def write_tokenizer(
    directory: Path, dictionary: Dictionary, tags: Tags, pieces: sentencepiece.SentencePieceProcessor | None
) -> PreTrainedTokenizerBase:
    """Write a tokenizer that gives every text the ids that fairseq gives it, and return it as it is loaded again.

    Language tags have the notation of this package (`__de__`), whatever their style in fairseq: a tokenizer's names are
    free, the ids are not.

    Args:
        directory: Directory that exists.
        dictionary: Dictionary with the tags.
        tags: Tags, by their ids.
        pieces: SentencePiece model that splits the text; None for words between spaces.

    Raises:
        NeuronspecError: If the ids of some sentence differ.
    """
    ids = _name_tokens(dictionary, tags)
    options = {
        **SPECIAL_TOKENS,
        "extra_special_tokens": [tag_token(code) for code in tags.languages],
        "clean_up_tokenization_spaces": False,
        **_declare_sides(tags),
    }

    # Files of its own make the tokenizer of SentencePiece.
    if pieces is None:
        PreTrainedTokenizerFast(tokenizer_object=_split_words(ids), **options).save_pretrained(directory)
    else:
        vocabulary, model = directory / "vocab.json", directory / "sentencepiece.bpe.model"
        vocabulary.write_text(json.dumps(ids, ensure_ascii=False, indent=2), encoding="utf-8")
        model.write_bytes(pieces.serialized_model_proto())
        Speech2TextTokenizer(str(vocabulary), str(model), **options).save_pretrained(directory)

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    _check_tokenizer(tokenizer, dictionary, tags, pieces)
    return tokenizer


def encode_as_fairseq(
    sentence: str, dictionary: Dictionary, pieces: sentencepiece.SentencePieceProcessor | None
) -> list[int]:
    """Return the ids that fairseq gives a text, without special tokens around it.

    Args:
        sentence: Plain text.
        dictionary: Dictionary of the model.
        pieces: SentencePiece model; None for words between spaces.
    """
    tokens = sentence.split() if pieces is None else pieces.encode(sentence, out_type=str)
    return [dictionary.ids.get(token, _UNKNOWN) for token in tokens]


def _declare_sides(tags: Tags) -> dict[str, object]:
    """Return the declaration of where tags stand; none where they stand as such tags usually do."""
    target = "tgt" if tags.target else None
    if not tags.languages or (tags.source, target) == ("src", "tgt"):
        return {}
    return {DECLARATION: {"source": tags.source, "target": target}}


def _name_tokens(dictionary: Dictionary, tags: Tags) -> dict[str, int]:
    """Return the ids of all tokens by their names in the tokenizer, in the order of the ids."""
    names = {number: tag_token(code) for code, number in tags.ids.items()}

    ids: dict[str, int] = {}
    for number, token in enumerate(dictionary.tokens):
        name = names.get(number, token)
        # Of tokens with one name, texts have the id of the last.
        while (
            name in ids
            or (number not in names and name in names.values())
            or dictionary.ids.get(name, number) != number
        ):
            name += _SHADOWED
        ids[name] = number
    return ids


def _split_words(ids: dict[str, int]) -> Tokenizer:
    """Return a tokenizer of words between white space, which ends each sentence with `</s>`."""
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=SPECIAL[_UNKNOWN]))
    tokenizer.normalizer = normalizers.Replace(Regex(r"[\s\x1c-\x1f\x85]+"), " ")  # as Python's split
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A $B </s>", special_tokens=[("</s>", _END)]
    )
    return tokenizer


def _check_tokenizer(
    tokenizer: PreTrainedTokenizerBase,
    dictionary: Dictionary,
    tags: Tags,
    pieces: sentencepiece.SentencePieceProcessor | None,
) -> None:
    """Refuse a tokenizer whose ids are not those of fairseq."""
    sentences = [*_PROBES, *_make_sentences(dictionary, tags, pieces)]
    for sentence, found in zip(sentences, encode(tokenizer, "source", sentences), strict=True):
        expected = encode_as_fairseq(sentence, dictionary, pieces)
        if found != expected:
            raise NeuronspecError(
                f"the text {sentence[:60]!r} has the ids {expected[:12]} in fairseq, but {found[:12]} here: this "
                "vocabulary cannot be imported"
            )

    # Special tokens and tags
    expected_ids = {**dict(zip(SPECIAL, range(len(SPECIAL)), strict=True))}
    expected_ids |= {tag_token(code): number for code, number in tags.ids.items()}
    wrong = [token for token, number in expected_ids.items() if tokenizer.convert_tokens_to_ids(token) != number]
    if wrong or len(tokenizer) != len(dictionary.tokens):
        raise NeuronspecError(
            f"the tokenizer has {len(tokenizer)} tokens and another id for {', '.join(wrong[:3]) or 'none'}; expected "
            f"{len(dictionary.tokens)}: this vocabulary cannot be imported"
        )


def _make_sentences(
    dictionary: Dictionary, tags: Tags, pieces: sentencepiece.SentencePieceProcessor | None
) -> Sequence[str]:
    """Return sentences of a dictionary's own tokens, so that all of its scripts occur."""
    used = {*tags.ids.values(), *range(len(SPECIAL))}
    tokens = [token for number, token in enumerate(dictionary.tokens) if number not in used]

    # An even sample of a large dictionary
    step = max(1, len(tokens) // (_MAX_SENTENCES * _MAX_TOKENS))
    sample = tokens[::step]
    groups = [sample[start : start + _MAX_TOKENS] for start in range(0, len(sample), _MAX_TOKENS)]
    return [" ".join(group) if pieces is None else pieces.decode(group) for group in groups]
