"""Trimming a vocabulary: the tokens that the texts of some tasks need, and a model and a tokenizer with these alone."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError
from neuronspec.exports.vocabulary.characters import find_characters, find_scripts
from neuronspec.exports.vocabulary.comparison import SegmentationChange, compare_segmentation
from neuronspec.exports.vocabulary.saved_tokenizer import open_saved
from neuronspec.languages import split_direction
from neuronspec.models.codec import TextCodec
from neuronspec.models.plain_use import find_plain_use
from neuronspec.models.tags import read_tags
from neuronspec.models.token_matrices import list_configured_ids, list_token_tensors, take_tokens

Texts = Mapping[str, Sequence[str]]
_COMPARED = 200  # sentences of each task that are encoded with both vocabularies


@dataclass(frozen=True, kw_only=True)
class TrimmingReport:
    """Savings of trimming, and changes by it.

    Attributes:
        tokens_before: Rows of the embeddings before.
        tokens_after: Rows of the embeddings after.
        bytes_before: Bytes of all matrices with a row for each token before.
        bytes_after: Bytes of the same matrices after.
        change: Differences in splitting held-out sentences, compared with before; None without any.
    """

    tokens_before: int
    tokens_after: int
    bytes_before: int
    bytes_after: int
    change: SegmentationChange | None = None


@dataclass(frozen=True, kw_only=True)
class TrimmedVocabulary:
    """A model and a tokenizer with a smaller vocabulary.

    Attributes:
        model: Copy of the model with fewer rows; a specialized one is still specialized.
        tokenizer: Tokenizer of the smaller vocabulary.
        ids: (n,) id of each of the new tokens in the vocabulary before.
        report: Sizes before and after, and changes.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    ids: tuple[int, ...]
    report: TrimmingReport


def trim_vocabulary(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Texts,
    tasks: Sequence[str],
    *,
    min_count: int = 1,
    held_out: Texts | None = None,
) -> TrimmedVocabulary:
    """Return a model and a tokenizer without the tokens that the languages of some tasks do not need.

    These tokens stay: all that occur in the texts, and what the tokenizer merges them from; special tokens and the tags
    of the tasks' languages; and single characters, namely digits, signs, and all letters of the scripts of the texts. A
    text of tokens that stayed is split as before. Any other text is split into smaller pieces where a piece is gone,
    and the outputs of the model for all tokens that stayed are as before.

    Args:
        model: Encoder-decoder, specialized or not; it is not changed.
        tokenizer: Tokenizer of the model, with `tokenizer.json`, or that of M2M-100 or Marian.
        texts: Sentences of each language of the tasks.
        tasks: Directions that the result is for.
        min_count: Number of times that a token must occur in the texts to stay.
        held_out: Other sentences of the languages, on which the change is measured.

    Raises:
        NeuronspecError: If a language has no text, the tokenizer has another kind, or it does not load with a smaller
            vocabulary.

    Example:
        >>> trimmed = trim_vocabulary(model, tokenizer, {"de": german, "en": english}, ["de-en"])  # doctest: +SKIP
        >>> trimmed.model.save_pretrained("small"), trimmed.tokenizer.save_pretrained("small")  # doctest: +SKIP
    """
    codec = TextCodec(tokenizer, model.config)
    counts = _count_tokens(codec, texts, tasks)
    needed = _find_needed(codec, model, tasks)
    frequent = {number for number, count in counts.items() if count >= min_count}

    # The smaller tokenizer is loaded from files, as anybody will load it.
    numbers = list_tokens(tokenizer)
    names = {number: token for token, number in numbers.items()}
    pieces = {names[number]: count for number, count in counts.items() if number in names}
    characters = find_characters(numbers.keys() - _list_tags(tokenizer), find_scripts(pieces))
    kept = {names[number] for number in needed | frequent if number in names} | characters
    with _languages_set(codec, tasks[0]):
        trimmed_tokenizer, tokens = _trim_tokenizer(tokenizer, kept)

    # The rows of its tokens make the smaller model.
    ids = tuple(numbers[token] for token in tokens)
    trimmed = take_tokens(model, ids)
    trimmed_codec = TextCodec(trimmed_tokenizer, trimmed.config)
    _check_ids(codec, trimmed_codec, ids, tasks=tasks, texts=texts)

    change = compare_segmentation(codec, trimmed_codec, held_out, tasks) if held_out else None
    report = TrimmingReport(
        tokens_before=model.config.vocab_size,
        tokens_after=len(ids),
        bytes_before=_count_bytes(model),
        bytes_after=_count_bytes(trimmed),
        change=change,
    )
    return TrimmedVocabulary(model=trimmed, tokenizer=trimmed_tokenizer, ids=ids, report=report)


def list_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Return the id of every token of a tokenizer, in the order of the ids."""
    numbers = dict(tokenizer.get_vocab()) | tokenizer.get_added_vocab()
    numbers |= getattr(tokenizer, "lang_token_to_id", {})  # M2M-100's tags are not in its vocabulary
    return dict(sorted(numbers.items(), key=lambda item: item[1]))


def _count_tokens(codec: TextCodec, texts: Texts, tasks: Sequence[str]) -> Counter[int]:
    """Return how often each token occurs in the texts of the tasks' languages, each on the side where it stands."""
    counts: Counter[int] = Counter()
    sources, targets = zip(*map(split_direction, tasks), strict=True)
    for languages, encode in ((sources, codec.encode_sources), (targets, codec.encode_targets)):
        for language in dict.fromkeys(languages):
            if not texts.get(language):
                given = ", ".join(texts) or "none"
                raise NeuronspecError(
                    f"cannot trim the vocabulary: there is no text in {language}; give some for each language of the "
                    f"tasks (given: {given})"
                )
            for ids in encode(texts[language]):
                counts.update(ids)
    return counts


def _find_needed(codec: TextCodec, model: PreTrainedModel, tasks: Sequence[str]) -> set[int]:
    """Return the ids that stay without occurring in a text: special tokens, and those around the texts of the tasks."""
    tokenizer = codec.tokenizer
    needed = list_configured_ids(model)

    # Tags are special tokens as well, but only those of the tasks are needed.
    numbers = list_tokens(tokenizer)
    special = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    needed |= {numbers[token] for token in special - _list_tags(tokenizer) if token in numbers}

    for form in codec.formats(tasks).values():
        needed |= {*form.source([]), *form.labels([]), *form.decoding_start, form.pad}
        if form.target_pad is not None:
            needed.add(form.target_pad)
    return needed


def _check_ids(before: TextCodec, after: TextCodec, ids: Sequence[int], *, tasks: Sequence[str], texts: Texts) -> None:
    """Refuse a smaller tokenizer that gives a text of kept tokens other tokens than before, or other ones around it.

    Args:
        before: Codec with all tokens.
        after: Codec with fewer tokens.
        ids: (n,) id before of each new token.
        tasks: Directions.
        texts: Sentences of each language, of which the first ones are compared.
    """
    # An unknown piece may become several known ones.
    stayed = {*ids} - {before.tokenizer.unk_token_id}
    for task in tasks:
        old_form, new_form = before.format(task), after.format(task)
        sentences = texts[split_direction(task)[0]][:_COMPARED]
        pairs = zip(before.encode_sources(sentences), after.encode_sources(sentences), strict=True)

        inputs = [(old_form.decoding_start, new_form.decoding_start)]
        inputs += [(old_form.source(old), new_form.source(new)) for old, new in pairs if stayed.issuperset(old)]
        for old, new in inputs:
            if old != [ids[number] for number in new]:
                raise NeuronspecError(
                    f"cannot trim the vocabulary: {type(before.tokenizer).__name__} splits a text of {task} otherwise "
                    "when it is loaded with fewer tokens; export without trimming"
                )


def _list_tags(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    return {*read_tags(tokenizer)}


def _trim_tokenizer(tokenizer: PreTrainedTokenizerBase, kept: set[str]) -> tuple[PreTrainedTokenizerBase, list[str]]:
    """Return a tokenizer with some of its tokens, loaded from files, and its tokens in the order of their ids.

    Raises:
        NeuronspecError: If the class of the tokenizer does not load with fewer tokens.
    """
    # Some classes always have the tags of all their languages.
    for attempt in (kept, kept | _list_tags(tokenizer)):
        with tempfile.TemporaryDirectory(prefix="neuronspec-") as folder:
            saved = open_saved(tokenizer, Path(folder))
            closed = saved.close(attempt)
            tokens = [token for token in list_tokens(tokenizer) if token in closed]
            wanted = {token: number for number, token in enumerate(tokens)}
            saved.rewrite(wanted)
            trimmed = _reload(folder, tokenizer)

        # It must stay so when it is saved again.
        with tempfile.TemporaryDirectory(prefix="neuronspec-") as folder:
            trimmed.save_pretrained(folder)
            if list_tokens(_reload(folder, tokenizer)) == list_tokens(trimmed) == wanted:
                return trimmed, tokens

    raise NeuronspecError(
        f"cannot trim the vocabulary: {type(tokenizer).__name__} gives its tokens other ids when it is loaded with "
        "fewer of them; export without trimming"
    )


def _reload(folder: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Return the tokenizer in a folder, named like the one that it was made from."""
    reloaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    reloaded.name_or_path = tokenizer.name_or_path  # the folder disappears
    return reloaded


@contextlib.contextmanager
def _languages_set(codec: TextCodec, task: str) -> Iterator[None]:
    """Set the tokenizer to the source language of a task within a block, so that it is saved so."""
    tokenizer = codec.tokenizer
    use = find_plain_use(codec, task)
    if use is None or use.language is None:
        yield
        return

    before = tokenizer.src_lang
    tokenizer.src_lang = use.language
    try:
        yield
    finally:
        tokenizer.src_lang = before


def _count_bytes(model: PreTrainedModel) -> int:
    return sum(tensor.nbytes for tensor in list_token_tensors(model))
