"""The codec of a model: text to the ids that the model reads, and the ids that it writes back to text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from neuronspec.data.task_format import TaskFormat
from neuronspec.errors import NeuronspecError
from neuronspec.languages import split_direction
from neuronspec.models.additions import find_level, find_task_level, read_additions
from neuronspec.models.distinct_tasks import check_distinct, warn_if_untagged
from neuronspec.models.embeddings import check_ids
from neuronspec.models.encoding import (
    TextSide,
    encode,
    find_target_id,
    has_two_vocabularies,
    vocabulary_size,
)
from neuronspec.models.escaping import escape_special_tokens
from neuronspec.models.instructions import Instructions, check_declared_languages
from neuronspec.models.length_limits import read_limits
from neuronspec.models.restricted_tokenizers import restrict_tokenizer
from neuronspec.models.source_prefixes import SourcePrefix
from neuronspec.models.tag_placement import TagPlacement
from neuronspec.models.tags import read_tags
from neuronspec.models.written_text import decode_text

# Models whose decoder starts with the last token of the labels, whatever their configuration says.
STARTS_WITH_LAST_LABEL = frozenset({"mbart", "plbart", "fsmt"})


class TextCodec:
    """Encodes text with a model's own tokenizer, adds what tells the model the direction, and decodes its output.

    The layout is the tokenizer's own (`x </s> en_XX` for mBART-cc25, `en_XX x </s>` for mBART-50, and so on) with the
    tags of the task's languages. If the tokenizer places no tags but its vocabulary has some, they stand where models
    with such tags expect them: `__de__` in front of both sides, `<2de>` and `>>deu<<` in front of the source. A model
    without tags reads a prefix in words, if there is one. A model with tags reads the prefix after the tag; or in place
    of the tags, if the prefix contains a tag itself or the vocabulary has no tags for the task's languages.

    Args:
        tokenizer: The model's tokenizer.
        config: The model's configuration.
        source_prefix: Words in front of each source, for all tasks or for each task, with the placeholders `{src}`,
            `{tgt}` (codes as the task spells them), `{src_name}` and `{tgt_name}` (English names). Defaults to the
            prefix that the model was saved with.
        fixed_tables: Whether the engine keeps positions in a table of a fixed size; see `read_limits`.

    Raises:
        NeuronspecError: If the prefix has another placeholder.

    Example:
        >>> from neuronspec.data import learn_vocabulary
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
        self.config = config
        self.fixed_tables = fixed_tables
        self._tags = TagPlacement(tokenizer)
        self._instructions = Instructions(tokenizer, config, source_prefix)
        self._additions = read_additions(config)

    @property
    def source_prefix(self) -> SourcePrefix | None:
        """Words in front of each source; None for none."""
        return self._instructions.prefix

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens in the vocabulary; in the larger one if there are two."""
        return vocabulary_size(self.tokenizer)

    @property
    def target_pad(self) -> int | None:
        """Id of the padding token in the target's vocabulary; None if it has none."""
        return find_target_id(self.tokenizer, self.tokenizer.pad_token)

    @property
    def encodes_sides_alike(self) -> bool:
        """Whether a text has the same ids as a source and as a target: not if each side has its own vocabulary."""
        return not has_two_vocabularies(self.tokenizer) and not self._instructions.spaces_sources

    def encode_sources(self, sentences: Sequence[str], task: str | None = None) -> list[list[int]]:
        """Return the ids of source sentences without special tokens; text that looks like one stays text.

        Args:
            sentences: (n,) plain text.
            task: Direction of the sentences. In a model with added languages, a direction from before does not know
                their tokens; without a task, all tokens are used.

        Raises:
            NeuronspecError: If a sentence is not text, or the model has no embedding for a token.
        """
        tokenizer = self._tokenizer_of(task, "source")
        plain = escape_special_tokens(tokenizer, sentences)

        # A source must have the ids here that it has after the words of a prefix.
        if self._instructions.spaces_sources:
            plain = [f" {sentence}" for sentence in plain]

        ids = encode(tokenizer, "source", plain)
        check_ids(self.tokenizer, self.config, side="source", ids=ids)
        return ids

    def encode_targets(self, sentences: Sequence[str], task: str | None = None) -> list[list[int]]:
        """Return the ids of target sentences in the target's vocabulary, without special tokens.

        Args:
            sentences: (n,) plain text.
            task: Direction of the sentences, as for `encode_sources`.

        Raises:
            NeuronspecError: If a sentence is not text, or the model has no embedding for a token.
        """
        tokenizer = self._tokenizer_of(task, "target")
        ids = encode(tokenizer, "target", escape_special_tokens(tokenizer, sentences))
        check_ids(self.tokenizer, self.config, side="target", ids=ids)
        return ids

    def reading_level(self, task: str) -> int:
        """Return after how many additions of languages the source of a task is read; equal for most tasks."""
        return find_level(self._additions, task, "source")

    def find_tokenizer(self, task: str) -> PreTrainedTokenizerBase:
        """Return a tokenizer for one task alone: without the tokens of languages that were added later."""
        return self._restrict(find_task_level(self._additions, task))

    def _tokenizer_of(self, task: str | None, side: TextSide) -> PreTrainedTokenizerBase:
        """Return the tokenizer of one side of a task: with the tokens that there were when the side was learned."""
        return self.tokenizer if task is None else self._restrict(find_level(self._additions, task, side))

    def _restrict(self, level: int) -> PreTrainedTokenizerBase:
        return self.tokenizer if level == len(self._additions) else self._restricted(level)

    @functools.cached_property
    def _restricted(self) -> Callable[[int], PreTrainedTokenizerBase]:
        """Function that returns the tokenizer as it was after some additions."""
        additions, tokenizer = self._additions, self.tokenizer
        return functools.cache(lambda level: restrict_tokenizer(tokenizer, additions[level]))

    def decode(self, sequences: Iterable[Sequence[int]]) -> list[str]:
        """Return the text of what a model wrote, without tags and other special tokens.

        Args:
            sequences: Ids of each sentence, in the target's vocabulary.
        """
        return decode_text(self.tokenizer, sequences)

    def format(self, task: str) -> TaskFormat:
        """Return the tokens that stand around the text of a task.

        Args:
            task: Direction `src-tgt`.

        Raises:
            NeuronspecError: If the model has no tag for a language, was made for another direction, or does not say
                what its decoder starts with.
        """
        # The tags in their places, the start of the decoder, and the limits of length
        source_tag, target_tag = self.find_tags(task)
        layout = self._tags.place(source_tag, target_tag)
        start = self._find_start(layout.target_suffix)
        longest_source, longest_target = read_limits(self.config, fixed_tables=self.fixed_tables)

        # A tag that the tokenizer puts after the target is shown to the decoder before it writes.
        hides_tag = self._tags.own_notation is not None and target_tag not in (start, *layout.target_prefix)
        decoding_tag = (target_tag,) if hides_tag and target_tag is not None else ()

        form = TaskFormat(
            source_prefix=layout.source_prefix,
            instruction=self._encode_instruction(task),
            source_suffix=layout.source_suffix,
            target_prefix=layout.target_prefix,
            target_suffix=layout.target_suffix,
            start=start,
            decoding_tag=decoding_tag,
            pad=self.tokenizer.pad_token_id,
            target_pad=self.target_pad,
            tags=tuple(sorted({tag for tag in (source_tag, target_tag) if tag is not None})),
            longest_source=longest_source,
            longest_target=longest_target,
        )

        # What cannot work is refused here, before any text is read.
        self._check_embeddings(form)
        _check_room(task, form)
        return form

    def formats(self, tasks: Iterable[str], *, training: bool = False) -> dict[str, TaskFormat]:
        """Return the format of each task, for tasks that the model must be able to tell apart.

        Args:
            tasks: Directions.
            training: Whether the model will also be trained on them. If so, what the decoder reads in training must
                show the target language too.

        Raises:
            NeuronspecError: As for `format`; or if two tasks with different target languages look the same to the
                model, which could only translate both into one language.
        """
        formats = {task: self.format(task) for task in dict.fromkeys(tasks)}
        check_distinct(formats, self._instructions, training=training)

        # A model of one direction may know its language by itself.
        if len(formats) == 1:
            (only,) = formats.values()
            warn_if_untagged(only, self._instructions)
        return formats

    def _has_prefix_instead(self, task: str) -> bool:
        """Return whether the words of a task's prefix replace its tags: they contain one, or the task has none."""
        # Tags that the tokenizer places by itself always stay.
        if self.source_prefix is None or self._tags.own_notation is not None:
            return False

        # A prefix may write its tag out, such as `<2de> `.
        tags = {tag.number for tag in read_tags(self.tokenizer).values()}
        contains_tag = not tags.isdisjoint(self._encode_instruction(task))
        return contains_tag or not self._tags.has_tags(task)

    def find_tags(self, task: str) -> tuple[int | None, int | None]:
        """Return the ids of the tags of source and target; None for a side whose tag the model does not read."""
        # Without tags, nothing but a declared language can contradict the task.
        if self._tags.notation is None or self._has_prefix_instead(task):
            check_declared_languages(self.tokenizer, task)
            return None, None
        return self._tags.find(task)

    def label_tags(self, task: str) -> dict[str, int | None]:
        """Return the tag of each language of a task by its code; None for a tag that the model does not read."""
        if self.find_tags(task) == (None, None):
            return dict.fromkeys(split_direction(task))
        return self._tags.label(task)

    def fill_prefix(self, task: str) -> str:
        """Return the words in front of each source of a task; empty for none."""
        return self._instructions.fill(task, has_tags=self._tags.notation is not None)

    def _encode_instruction(self, task: str) -> tuple[int, ...]:
        return self._instructions.encode(task, has_tags=self._tags.notation is not None)

    def _find_start(self, target_suffix: tuple[int, ...]) -> int:
        """Return the id of the token that the decoder starts with."""
        # The last token of the labels: the tag (mBART) or the end of sentence (FSMT)
        if self.config.model_type in STARTS_WITH_LAST_LABEL and target_suffix:
            return target_suffix[-1]

        start: int | None = self.config.decoder_start_token_id
        if start is None:
            raise NeuronspecError(
                f"the model ({self.config.model_type}) has no decoder_start_token_id in its configuration; set "
                "model.config.decoder_start_token_id and save it again"
            )
        return start

    def _check_embeddings(self, form: TaskFormat) -> None:
        """Refuse tags and other tokens around text that the model has no embeddings for."""
        sources = (form.source_prefix, form.instruction, form.source_suffix)
        targets = (form.target_prefix, form.target_suffix, form.decoding_tag, (form.start,))
        check_ids(self.tokenizer, self.config, side="source", ids=sources)
        check_ids(self.tokenizer, self.config, side="target", ids=targets)


def _check_room(task: str, form: TaskFormat) -> None:
    """Refuse a task whose special tokens leave no position for text."""
    if 0 not in form.room:
        return

    # The side without room: 0 for the source, 1 for the target
    side = form.room.index(0)
    limit = (form.longest_source, form.longest_target)[side]
    added = form.overhead[side]
    advice = "shorten its source_prefix" if form.instruction else "the model has too few positions for text"
    raise NeuronspecError(
        f"{task}: no token of text fits next to the {added} tokens that stand around it, of {limit} that the model "
        f"reads: {advice}"
    )
