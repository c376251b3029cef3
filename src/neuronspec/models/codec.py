"""How a model wants its text: which tokens stand around it, and how each side is encoded and decoded."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakSet

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from neuronspec.data.task_format import TaskFormat
from neuronspec.errors import NeuronspecError
from neuronspec.languages import UNKNOWN, find_language, same_language, split_direction
from neuronspec.models.embeddings import check_ids
from neuronspec.models.encoding import decode, encode, find_target_id, has_two_vocabularies, is_fsmt, vocabulary_size
from neuronspec.models.escaping import escape_special_tokens
from neuronspec.models.length_limits import read_limits
from neuronspec.models.source_prefixes import (
    HOW_TO_PREFIX,
    SourcePrefix,
    check_source_prefix,
    fill_prefix,
    find_declared_prefix,
)
from neuronspec.models.special_tokens import SpecialTokens, read_special_tokens
from neuronspec.models.tags import Notation, has_tag, read_tags, tag_id

logger = logging.getLogger(__name__)

# Models whose decoder starts with the last token of the labels, wherever else they say that it starts.
STARTS_WITH_LAST_LABEL = frozenset({"mbart", "plbart", "fsmt"})

_WARNED: WeakSet[PreTrainedTokenizerBase] = WeakSet()  # tokenizers of models that nothing tells the language


class TextCodec:
    """Encodes text as a model's own tokenizer does, tells the model the direction, and decodes its output.

    The layout is the tokenizer's own (`x </s> en_XX` for mBART-cc25, `en_XX x </s>` for mBART-50, and so on) with the
    tags of the task's languages. Where the tokenizer places no tags but its vocabulary has some, they stand where
    models with such tags expect them: `__de__` in front of both sides, `<2de>` and `>>deu<<` in front of the source.
    Models without tags read a prefix in words, if there is one. With tags in the vocabulary it stands after the tag,
    unless it holds a tag itself, or the vocabulary has none for the task's languages.

    Args:
        tokenizer: The model's tokenizer.
        config: The model's configuration.
        source_prefix: Words in front of each source, or of those of each task, with the placeholders `{src}`,
            `{tgt}` (codes as the task spells them), `{src_name}` and `{tgt_name}` (English names). By default those
            that the model was saved with.
        fixed_tables: Whether the engine keeps positions in a table of a fixed size: see `read_limits`.

    Raises:
        NeuronspecError: The prefix has another placeholder.

    Example:
        >>> from neuronspec.data.vocabulary import learn_vocabulary
        >>> from transformers import M2M100Config
        >>> tokenizer = learn_vocabulary(iter(["a b c"] * 9), 12, ["de", "en"])
        >>> codec = TextCodec(tokenizer, M2M100Config(decoder_start_token_id=2))
        >>> (ids,) = codec.encode_sources(["a b"])
        >>> tokenizer.convert_ids_to_tokens(codec.format("de-en").source(ids))
        ['__de__', '▁', 'a', '▁', 'b', '</s>']
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        config: PretrainedConfig,
        source_prefix: SourcePrefix | None = None,
        *,
        fixed_tables: bool = False,
    ) -> None:
        self.tokenizer = tokenizer
        self.fixed_tables = fixed_tables
        self.config = config
        self.source_prefix = getattr(config, "source_prefix", None) if source_prefix is None else source_prefix
        if self.source_prefix is not None:
            check_source_prefix(self.source_prefix)

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens of the vocabulary, of the larger one where there are two."""
        return vocabulary_size(self.tokenizer)

    @property
    def target_pad(self) -> int | None:
        """Id of the padding token in the target's vocabulary; None where it has none."""
        return find_target_id(self.tokenizer, self.tokenizer.pad_token)

    @property
    def encodes_sides_alike(self) -> bool:
        """Whether the ids of a text are the same as a source and as a target: not with a vocabulary for each side."""
        return not has_two_vocabularies(self.tokenizer) and not self._spaces_sources

    def encode_sources(self, sentences: Sequence[str]) -> list[list[int]]:
        """Return the ids of source sentences without special tokens; text that looks like one stays text.

        Args:
            sentences: (n,) plain text.
        """
        plain = escape_special_tokens(self.tokenizer, sentences)
        if self._spaces_sources:
            plain = [f" {sentence}" for sentence in plain]
        ids = encode(self.tokenizer, "source", plain)
        check_ids(self.tokenizer, self.config, "source", ids)
        return ids

    def encode_targets(self, sentences: Sequence[str]) -> list[list[int]]:
        """Return the ids of target sentences in the target's vocabulary, without special tokens.

        Args:
            sentences: (n,) plain text.
        """
        ids = encode(self.tokenizer, "target", escape_special_tokens(self.tokenizer, sentences))
        check_ids(self.tokenizer, self.config, "target", ids)
        return ids

    def decode(self, sequences: Iterable[Sequence[int]]) -> list[str]:
        """Return the text of what a model has written, without tags and other special tokens.

        Args:
            sequences: Ids of each sentence, in the target's vocabulary.
        """
        dropped = self._silent_ids
        text = [[number for number in sequence if number not in dropped] for sequence in sequences]
        return [line.strip() for line in decode(self.tokenizer, text)]

    def format(self, task: str) -> TaskFormat:
        """Return the tokens that stand around the text of a task.

        Args:
            task: Direction `src-tgt`.

        Raises:
            NeuronspecError: The model has no tag for a language, was made for another direction, or does not say what
                its decoder starts with.
        """
        source_tag, target_tag = self._find_tags(task)
        layout = self._place_tags(source_tag, target_tag)
        start = self._find_start(layout.target_suffix)
        hides_tag = self._own_notation is not None and target_tag not in (start, *layout.target_prefix)
        longest_source, longest_target = read_limits(self.config, fixed_tables=self.fixed_tables)
        form = TaskFormat(
            source_prefix=layout.source_prefix,
            instruction=self._encode_instruction(task),
            source_suffix=layout.source_suffix,
            target_prefix=layout.target_prefix,
            target_suffix=layout.target_suffix,
            start=start,
            decoding_tag=(target_tag,) if hides_tag and target_tag is not None else (),
            pad=self.tokenizer.pad_token_id,
            target_pad=self.target_pad,
            tags=tuple(sorted({tag for tag in (source_tag, target_tag) if tag is not None})),
            longest_source=longest_source,
            longest_target=longest_target,
        )
        self._check_embeddings(form)
        if 0 in form.room:
            raise self._no_room(task, form)
        return form

    def formats(self, tasks: Iterable[str], *, training: bool = False) -> dict[str, TaskFormat]:
        """Return the format of each of some tasks that the model is to tell apart.

        Args:
            tasks: Directions.
            training: Whether the model will also be trained on them: what the decoder reads in training must then show
                the target's language as well.

        Raises:
            NeuronspecError: As for `format`; or two tasks with different target languages look the same to the model,
                which could only translate both into the same language.
        """
        formats = {task: self.format(task) for task in dict.fromkeys(tasks)}
        seen: dict[object, str] = {}
        for task, form in formats.items():
            visible = dataclasses.replace(
                form, target_suffix=(), tags=(), decoding_tag=() if training else form.decoding_tag
            )
            other = seen.setdefault(visible, task)
            if not same_language(split_direction(task)[1], split_direction(other)[1]):
                raise self._indistinguishable(other, task, form)
            if training and not form.target_suffix:
                raise NeuronspecError(
                    f"{type(self.tokenizer).__name__} does not mark the end of a sentence, so a model trained with it "
                    "would never stop: use the tokenizer of a model that translates"
                )
        if len(formats) == 1:
            self._warn_if_untagged(next(iter(formats.values())))
        return formats

    @functools.cached_property
    def _special_tokens(self) -> SpecialTokens:
        return read_special_tokens(self.tokenizer)

    @functools.cached_property
    def _own_notation(self) -> Notation | None:
        """The notation of the tags that the tokenizer puts around text by itself; None where it does not."""
        layout = self._special_tokens
        added = {*layout.source_prefix, *layout.source_suffix, *layout.target_prefix, *layout.target_suffix}
        tags = read_tags(self.tokenizer).values()
        return next((tag.notation for tag in tags if tag.number in added), None)

    @functools.cached_property
    def _notation(self) -> Notation | None:
        """The notation of the tags that this model reads; None for a model without tags."""
        if self._own_notation is not None:
            return self._own_notation
        tags = read_tags(self.tokenizer).values()
        return next((tag.notation for tag in tags if tag.notation.place != "tokenizer"), None)

    def _find_tags(self, task: str) -> tuple[int | None, int | None]:
        """Return the ids of the tags of source and target; None on a side where the model reads no tag."""
        source, target = split_direction(task)
        notation = self._notation
        if notation is None or self._has_prefix_instead(task, notation):
            self._check_declared(task)
            return None, None
        target_tag = tag_id(target, self.tokenizer, notation)
        source_tag = None if notation.place == "source" else tag_id(source, self.tokenizer, notation)
        return source_tag, target_tag

    def _has_prefix_instead(self, task: str, notation: Notation) -> bool:
        """Return whether the words of a task's prefix stand in place of its tags: they hold one, or there is none."""
        if self.source_prefix is None or self._own_notation is not None:
            return False
        tags = {tag.number for tag in read_tags(self.tokenizer).values()}
        if not tags.isdisjoint(self._encode_instruction(task)):
            return True
        source, target = split_direction(task)
        needed = [target] if notation.place == "source" else [source, target]
        return not all(has_tag(language, self.tokenizer, notation) for language in needed)

    def _place_tags(self, source_tag: int | None, target_tag: int | None) -> SpecialTokens:
        """Return the tokenizer's layout with these tags where the model expects them."""
        layout = self._special_tokens
        if self._own_notation is not None:
            tags = {tag.number for tag in read_tags(self.tokenizer).values()}
            return SpecialTokens(
                source_prefix=_replace(layout.source_prefix, tags, source_tag),
                source_suffix=_replace(layout.source_suffix, tags, source_tag),
                target_prefix=_replace(layout.target_prefix, tags, target_tag),
                target_suffix=_replace(layout.target_suffix, tags, target_tag),
            )
        if source_tag is not None and target_tag is not None:
            return dataclasses.replace(
                layout,
                source_prefix=(source_tag, *layout.source_prefix),
                target_prefix=(target_tag, *layout.target_prefix),
            )
        if target_tag is not None:
            in_front = self._encode_tag(target_tag)
            return dataclasses.replace(layout, source_prefix=(*in_front, *layout.source_prefix))
        return layout

    def _encode_tag(self, number: int) -> tuple[int, ...]:
        """Return what the tokenizer makes of a tag in front of a text, such as `▁ <2de>`."""
        token = self.tokenizer.convert_ids_to_tokens(number)
        alone, tagged = encode(self.tokenizer, "source", [_WORD, f"{token} {_WORD}"], reads_special=True)
        in_front = tagged[: -len(alone)]
        return tuple(in_front) if number in in_front and tagged == [*in_front, *alone] else (number,)

    @functools.cached_property
    def _silent_ids(self) -> frozenset[int]:
        """Ids that are no text in what a model writes."""
        tokenizer, layout = self.tokenizer, self._special_tokens
        silent = {*layout.target_prefix, *layout.target_suffix}
        for token in (tokenizer.pad_token, tokenizer.eos_token, tokenizer.bos_token, tokenizer.unk_token):
            number = find_target_id(tokenizer, token) if token else None
            if number is not None:
                silent.add(number)
        if not has_two_vocabularies(tokenizer):  # tags are tokens of the source's vocabulary there
            silent |= {tag.number for tag in read_tags(tokenizer).values()}
        return frozenset(silent)

    @functools.cached_property
    def _spaces_sources(self) -> bool:
        """Whether sources need a space in front, so that they are encoded as after the words of a prefix."""
        text = self._first_prefix
        if not text:
            return False
        prefix = encode(self.tokenizer, "source", [text.rstrip()], reads_special=True)[0]
        whole = encode(self.tokenizer, "source", [f"{text.rstrip()} {_WORD}"], reads_special=True)[0]
        alone, spaced = encode(self.tokenizer, "source", [_WORD, f" {_WORD}"])
        if whole == [*prefix, *alone]:
            return False
        if whole == [*prefix, *spaced]:
            return True
        raise NeuronspecError(
            f"the tokenizer joins the prefix {text!r} with the first word after it: end the prefix with another "
            "character, such as a colon"
        )

    @property
    def _first_prefix(self) -> str | None:
        if isinstance(self.source_prefix, Mapping):
            return next(iter(self.source_prefix.values()), None)
        return self.source_prefix

    def _encode_instruction(self, task: str) -> tuple[int, ...]:
        """Return the ids of the words in front of the sources of a task."""
        text = self._fill_prefix(task)
        if not text.strip():
            return ()
        ids = encode(self.tokenizer, "source", [text.rstrip()], reads_special=True)[0]
        if self.tokenizer.unk_token_id in ids:
            raise NeuronspecError(
                f"the prefix {text!r} of {task} is not in the model's vocabulary: write it as the model knows it"
            )
        return tuple(ids)

    def _fill_prefix(self, task: str) -> str:
        if self.source_prefix is not None:
            return fill_prefix(self.source_prefix, task)
        return "" if self._notation is not None else find_declared_prefix(self.config, task)

    def _check_declared(self, task: str) -> None:
        """Refuse a task of other languages than those that the tokenizer was made for, where it says so."""
        tokenizer: Any = self.tokenizer
        declared = (getattr(tokenizer, "source_lang", None), getattr(tokenizer, "target_lang", None))
        if is_fsmt(tokenizer):
            declared = (tokenizer.src_lang, tokenizer.tgt_lang)
        for own, asked in zip(declared, split_direction(task), strict=True):
            # A group of languages, such as `roa` or `mul`, is no language of the table.
            names_language = isinstance(own, str) and bool(own) and find_language(own).family != UNKNOWN
            if names_language and not same_language(str(own), asked):
                raise NeuronspecError(f"the model translates {declared[0]}-{declared[1]}, not {task}")

    def _check_embeddings(self, form: TaskFormat) -> None:
        """Refuse tags and other tokens around text that the model has no embeddings for."""
        sources = (form.source_prefix, form.instruction, form.source_suffix)
        targets = (form.target_prefix, form.target_suffix, form.decoding_tag, (form.start,))
        check_ids(self.tokenizer, self.config, "source", sources)
        check_ids(self.tokenizer, self.config, "target", targets)

    def _find_start(self, target_suffix: tuple[int, ...]) -> int:
        if self.config.model_type in STARTS_WITH_LAST_LABEL and target_suffix:
            return target_suffix[-1]
        start: int | None = self.config.decoder_start_token_id
        if start is None:
            raise NeuronspecError(
                f"the model ({self.config.model_type}) has no decoder_start_token_id in its configuration; set "
                "model.config.decoder_start_token_id and save it again"
            )
        return start

    def _indistinguishable(self, first: str, second: str, form: TaskFormat) -> NeuronspecError:
        if form.decoding_tag:
            return NeuronspecError(
                f"{first} and {second} cannot be trained together: this tokenizer puts the tag after the text, where "
                "the decoder does not see it; save it again with legacy_behaviour=False"
            )
        if self.source_prefix is not None:
            return NeuronspecError(
                f"{first} and {second} have the same source_prefix, {self._fill_prefix(second)!r}, so the model would "
                "translate both into one language: write {tgt} or {tgt_name} in it"
            )
        if form.tags:
            return NeuronspecError(
                f"{first} and {second} look the same to this model, which has one tag for both target languages: keep "
                f"one of the directions, or {HOW_TO_PREFIX}"
            )
        return NeuronspecError(
            f"{first} and {second} look the same to this model, which has no language tags, so it would translate both "
            f"into one language: {HOW_TO_PREFIX}"
        )

    def _no_room(self, task: str, form: TaskFormat) -> NeuronspecError:
        side = form.room.index(0)
        limit = (form.longest_source, form.longest_target)[side]
        added = form.overhead[side]
        advice = "shorten its source_prefix" if form.instruction else "the model has too few positions for text"
        return NeuronspecError(
            f"{task}: no token of text fits beside the {added} tokens that stand around it, of {limit} that the model "
            f"reads: {advice}"
        )

    def _warn_if_untagged(self, form: TaskFormat) -> None:
        declares = getattr(self.tokenizer, "target_lang", None) or is_fsmt(self.tokenizer)
        if form.tags or form.instruction or declares or self.source_prefix is not None:
            return
        if self.tokenizer not in _WARNED:
            _WARNED.add(self.tokenizer)
            logger.warning(
                "this model has no language tags, so nothing tells it the language to translate into: right for a "
                f"model of one direction; otherwise {HOW_TO_PREFIX}"
            )


_WORD = "word"


def _replace(ids: tuple[int, ...], tags: set[int], tag: int | None) -> tuple[int, ...]:
    """Return ids with the tag of another language in place of the one that is there."""
    return tuple(tag if number in tags and tag is not None else number for number in ids)
