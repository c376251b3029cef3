"""Tokenizers as files: each kind knows which pieces belong together, and how to write fewer of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from transformers import M2M100Tokenizer, MarianTokenizer, PreTrainedTokenizerBase, Speech2TextTokenizer

from neuronspec.errors import NeuronspecError
from neuronspec.exports.vocabulary.segmentation import MergeSegmentation, ScoreSegmentation, Segmentation
from neuronspec.exports.vocabulary.sentencepiece_file import Piece, keep_pieces, read_pieces, read_type
from neuronspec.files import read_json, write_json

_JSON = "tokenizer.json"
_CONFIG = "tokenizer_config.json"


class SavedTokenizer(Protocol):
    """A tokenizer in a folder, whose vocabulary can be made smaller."""

    def close(self, pieces: set[str]) -> set[str]:
        """Return pieces with all others that are needed to split text into them, as before.

        Args:
            pieces: Tokens of the vocabulary that are kept.
        """

    def rewrite(self, numbers: Mapping[str, int]) -> None:
        """Write the files anew, with some of the tokens.

        Args:
            numbers: New id of each token that is kept.
        """


def open_saved(tokenizer: PreTrainedTokenizerBase, folder: Path) -> SavedTokenizer:
    """Save a tokenizer in a folder.

    Raises:
        NeuronspecError: If it is of a kind whose vocabulary cannot be trimmed.
    """
    tokenizer.save_pretrained(folder)
    if (folder / _JSON).is_file():
        return JsonTokenizer(folder)

    # Tokenizers of Python that are known: SentencePiece models and one file with the ids of their pieces. That of
    # Speech2Text belongs to models that were imported from fairseq.
    if isinstance(tokenizer, M2M100Tokenizer | Speech2TextTokenizer):
        return PieceTokenizer(folder, [tokenizer.vocab_files_names["spm_file"]])
    if isinstance(tokenizer, MarianTokenizer) and not tokenizer.separate_vocabs:
        return PieceTokenizer(folder, ["source.spm", "target.spm"])

    kind = type(tokenizer).__name__
    if isinstance(tokenizer, MarianTokenizer):
        kind += " with a vocabulary for each side"
    raise _refusal(kind)


class JsonTokenizer:
    """A tokenizer of the library `tokenizers`, in `tokenizer.json`: byte-pair encoding or Unigram.

    Args:
        folder: Folder that holds the tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._content: dict[str, Any] = read_json(folder / _JSON)
        self._model = self._content["model"]
        self._segmentation = self._find_segmentation()

        # Bytes are written as letters of many scripts: all of them stay.
        self._letters_are_bytes = "ByteLevel" in str(self._content["pre_tokenizer"])

        # Only `tokenizer.json` is read where there is one.
        for leftover in folder.glob("*.model"):
            leftover.unlink()

    def _find_segmentation(self) -> Segmentation:
        model = self._model
        if model["type"] == "Unigram":
            return ScoreSegmentation(dict(model["vocab"]))

        marks_places = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
        if model["type"] != "BPE" or marks_places:
            raise _refusal(f"tokenizer of the type {model['type']}{' with marks of places' if marks_places else ''}")
        return MergeSegmentation.from_merges([_read_merge(merge) for merge in model["merges"]])

    def close(self, pieces: set[str]) -> set[str]:
        """Return pieces with those that they are merged from, or that scores depend on."""
        vocabulary = {token for token, *_ in _list_entries(self._model["vocab"])}
        needed = {*pieces, *self._list_around_text()}
        if self._letters_are_bytes:
            needed |= {token for token in vocabulary if len(token) == 1}

        # What is no piece of the model was added to the vocabulary as a whole.
        return needed | (self._segmentation.close(needed & vocabulary) & vocabulary)

    def _list_around_text(self) -> set[str]:
        """Return the tokens that the tokenizer puts around text."""
        processor = self._content["post_processor"] or {}
        around = {*processor.get("special_tokens", {})}
        return around | {processor[key][0] for key in ("sep", "cls") if key in processor}

    def rewrite(self, numbers: Mapping[str, int]) -> None:
        """Write `tokenizer.json` and the settings with some of the tokens."""
        self._rewrite_model(numbers)

        # Tokens that were added to the model's
        added = [token for token in self._content["added_tokens"] if token["content"] in numbers]
        self._content["added_tokens"] = [{**token, "id": numbers[token["content"]]} for token in added]
        self._content["added_tokens"].sort(key=lambda token: token["id"])

        # Tokens around text
        processor = self._content["post_processor"] or {}
        for entry in processor.get("special_tokens", {}).values():
            entry["ids"] = [numbers[token] for token in entry["tokens"]]
        for key in processor.keys() & {"sep", "cls"}:
            processor[key] = [processor[key][0], numbers[processor[key][0]]]

        write_json(self._folder / _JSON, self._content)
        _rewrite_config(self._folder, numbers)

    def _rewrite_model(self, numbers: Mapping[str, int]) -> None:
        """Leave pieces out of the model."""
        if self._model["type"] == "BPE":
            _rewrite_merges(self._model, numbers)
        else:
            _rewrite_pieces(self._model, numbers)


def _rewrite_merges(model: dict[str, Any], numbers: Mapping[str, int]) -> None:
    """Leave tokens out of a BPE model, and the merges that make them or need them."""
    vocabulary = {token: numbers[token] for token in model["vocab"] if token in numbers}
    merges = [_read_merge(merge) for merge in model["merges"]]

    model["vocab"] = vocabulary
    model["merges"] = [list(pair) for pair in merges if {*pair, "".join(pair)} <= vocabulary.keys()]


def _rewrite_pieces(model: dict[str, Any], numbers: Mapping[str, int]) -> None:
    """Leave pieces out of a Unigram model, whose ids are their places in the list."""
    pieces = model["vocab"]
    unknown = None if model["unk_id"] is None else pieces[model["unk_id"]][0]

    # A piece that is there twice has its last place.
    last = {token: place for place, (token, _) in enumerate(pieces)}
    kept = [[token, value] for place, (token, value) in enumerate(pieces) if last[token] == place and token in numbers]

    names = [token for token, _ in kept]
    model["vocab"] = kept
    model["unk_id"] = None if unknown is None else names.index(unknown)


class PieceTokenizer:
    """A tokenizer with SentencePiece models, and `vocab.json` with ids: M2M-100's, Speech2Text's and Marian's.

    Args:
        folder: Folder that holds the tokenizer.
        models: File names of the SentencePiece models.
    """

    def __init__(self, folder: Path, models: list[str]) -> None:
        self._folder = folder
        self._models = {name: (folder / name).read_bytes() for name in models}
        self._segmentations = {name: _find_segmentation(model) for name, model in self._models.items()}

    def close(self, pieces: set[str]) -> set[str]:
        """Return pieces with those that they are merged from, or that scores depend on, if they have an id."""
        vocabulary = read_json(self._folder / "vocab.json").keys()
        closed = {*pieces}
        for name in self._models:
            closed |= self._close_in(name, pieces) & vocabulary
        return closed

    def _close_in(self, name: str, pieces: set[str]) -> set[str]:
        """Return the pieces of one model that must stay in it."""
        normal = {piece.text for piece in read_pieces(self._models[name]) if piece.is_normal}
        return self._segmentations[name].close(pieces & normal) & normal

    def rewrite(self, numbers: Mapping[str, int]) -> None:
        """Write the models, the ids and the settings with some of the tokens."""
        vocabulary = read_json(self._folder / "vocab.json")
        write_json(self._folder / "vocab.json", {token: numbers[token] for token in vocabulary if token in numbers})

        for name, model in self._models.items():
            kept = self._close_in(name, {*numbers})

            def is_kept(piece: Piece, kept: set[str] = kept) -> bool:
                return not piece.is_normal or piece.text in kept

            (self._folder / name).write_bytes(keep_pieces(model, is_kept))
        _rewrite_config(self._folder, numbers)


def _find_segmentation(model: bytes) -> Segmentation:
    """Return how a SentencePiece model splits text."""
    scores = {piece.text: piece.score for piece in read_pieces(model) if piece.is_normal}
    kind = read_type(model)
    if kind == "unigram":
        return ScoreSegmentation(scores)
    if kind == "bpe":
        return MergeSegmentation.from_scores(scores)
    raise _refusal(f"SentencePiece model of the type {kind}")


def _rewrite_config(folder: Path, numbers: Mapping[str, int]) -> None:
    """Leave tokens out of the settings, and give the others their new ids."""
    config = read_json(folder / _CONFIG)
    for key in ("extra_special_tokens", "additional_special_tokens"):
        if isinstance(config.get(key), list):
            config[key] = [token for token in config[key] if _read_text(token) in numbers]

    added = config.get("added_tokens_decoder")
    if added is not None:
        kept = [token for token in added.values() if token["content"] in numbers]
        config["added_tokens_decoder"] = {str(numbers[token["content"]]): token for token in kept}
    write_json(folder / _CONFIG, config)


def _read_text(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)


def _read_merge(merge: Any) -> tuple[str, str]:
    """Return the two sides of a merge, which older files write with a space between them."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _list_entries(vocabulary: Any) -> list[Any]:
    return [*vocabulary.items()] if isinstance(vocabulary, dict) else vocabulary


def _refusal(kind: str) -> NeuronspecError:
    return NeuronspecError(
        f"cannot trim the vocabulary of a {kind}: known are tokenizers in tokenizer.json (byte-pair encoding and "
        "Unigram), M2M100Tokenizer, Speech2TextTokenizer, and MarianTokenizer with one vocabulary; export without "
        "trimming"
    )
