"""Placement of language tags: which tags a model reads, and where they stand around a source and a target."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Final

from transformers import PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError
from neuronspec.languages import split_direction
from neuronspec.models.encoding import PROBE_WORD, encode
from neuronspec.models.special_tokens import SpecialTokens, read_special_tokens
from neuronspec.models.tags import Notation, has_tag, read_tags, tag_id

DECLARATION: Final = "language_tags"  # key of `tokenizer_config.json`


@dataclasses.dataclass(frozen=True, kw_only=True)
class TagSides:
    """The tags that a model was trained with, declared by its tokenizer where its tags alone do not show it.

    Attributes:
        source: Tag in front of a source: that of the source's language (`src`), of the target's (`tgt`), or none.
        target: Tag in front of a target: that of its language (`tgt`), or none.
    """

    source: str | None
    target: str | None


def read_declaration(tokenizer: PreTrainedTokenizerBase) -> TagSides | None:
    """Return where the tags of a model stand, if its tokenizer declares it.

    Raises:
        NeuronspecError: If the declaration is not one that this package writes.
    """
    declared = getattr(tokenizer, "init_kwargs", {}).get(DECLARATION)
    if declared is None:
        return None

    is_known = isinstance(declared, Mapping) and declared.keys() == {"source", "target"}
    if not is_known or declared["source"] not in ("src", "tgt", None) or declared["target"] not in ("tgt", None):
        raise NeuronspecError(
            f"the tokenizer's {DECLARATION} is {str(declared)[:80]!r}: expected source (src, tgt or null) and target "
            "(tgt or null)"
        )
    return TagSides(source=declared["source"], target=declared["target"])


class TagPlacement:
    """Finds the tags of a task's languages and places them where the model expects them.

    Args:
        tokenizer: Tokenizer of the model.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    @functools.cached_property
    def layout(self) -> SpecialTokens:
        """The tokens that the tokenizer puts around text by itself."""
        return read_special_tokens(self.tokenizer)

    @functools.cached_property
    def declared(self) -> TagSides | None:
        """Sides of the tags as the tokenizer declares them; None where the notation decides."""
        return read_declaration(self.tokenizer)

    @functools.cached_property
    def own_notation(self) -> Notation | None:
        """Notation of the tags that the tokenizer puts around text by itself; None if it puts none."""
        layout = self.layout
        # A tokenizer that places tags puts one around any text.
        added = {*layout.source_prefix, *layout.source_suffix, *layout.target_prefix, *layout.target_suffix}

        tags = read_tags(self.tokenizer).values()
        return next((tag.notation for tag in tags if tag.number in added), None)

    @functools.cached_property
    def notation(self) -> Notation | None:
        """Notation of the tags that the model reads; None for a model without tags."""
        if self.own_notation is not None:
            return self.own_notation

        # Of the tags in the vocabulary, those that have a place without the tokenizer
        tags = read_tags(self.tokenizer).values()
        return next((tag.notation for tag in tags if tag.notation.place != "tokenizer"), None)

    def has_tags(self, task: str) -> bool:
        """Return whether the vocabulary has all tags that a task needs.

        Args:
            task: Direction `src-tgt`.
        """
        notation = self.notation
        if notation is None:
            return False

        source, target = split_direction(task)
        needed = [target] if notation.place == "source" else [source, target]
        if self.declared is not None:
            needed = [code for code in self._name_sides(task) if code is not None]
        return all(has_tag(language, self.tokenizer, notation) for language in needed)

    def find(self, task: str) -> tuple[int | None, int | None]:
        """Return the ids of the tags of source and target; None for a side whose tag the model does not read.

        Args:
            task: Direction `src-tgt`.

        Raises:
            NeuronspecError: If the vocabulary has no tag for a language.
        """
        notation = self.notation
        if notation is None:
            return None, None

        source, target = split_direction(task)
        if self.declared is not None:
            first, second = (
                None if code is None else tag_id(code, self.tokenizer, notation) for code in self._name_sides(task)
            )
            return first, second

        target_tag = tag_id(target, self.tokenizer, notation)

        # Where a tag stands in front of the source, it is that of the target alone.
        if notation.place == "source":
            return None, target_tag
        return tag_id(source, self.tokenizer, notation), target_tag

    def label(self, task: str) -> dict[str, int | None]:
        """Return the tag of each language of a task by its code; None for a language whose tag the model does not read.

        Args:
            task: Direction `src-tgt`.

        Raises:
            NeuronspecError: If the vocabulary has no tag for a language.
        """
        source, target = split_direction(task)
        first, second = self.find(task)

        # In front of the source may stand the target's tag.
        if self.declared is not None and self.declared.source == "tgt":
            return {source: None, target: first}
        return {source: first, target: second}

    def place(self, source_tag: int | None, target_tag: int | None) -> SpecialTokens:
        """Return the tokens around text, with these tags where the model expects them.

        Args:
            source_tag: Id of the source's tag; None for none.
            target_tag: Id of the target's tag; None for none.
        """
        layout = self.layout

        # The tokenizer places the tags of some languages by itself.
        if self.own_notation is not None:
            return self._exchange_tags(source_tag, target_tag)

        # Each tag where the tokenizer declares it
        if self.declared is not None:
            return dataclasses.replace(
                layout,
                source_prefix=(*_list_tag(source_tag), *layout.source_prefix),
                target_prefix=(*_list_tag(target_tag), *layout.target_prefix),
            )

        # Tags of both sides, such as `__de__`: each in front of its side.
        if source_tag is not None and target_tag is not None:
            return dataclasses.replace(
                layout,
                source_prefix=(source_tag, *layout.source_prefix),
                target_prefix=(target_tag, *layout.target_prefix),
            )

        # The target's tag alone, such as `<2de>`: in front of the source.
        if target_tag is not None:
            in_front = self._encode_tag(target_tag)
            return dataclasses.replace(layout, source_prefix=(*in_front, *layout.source_prefix))
        return layout

    def _name_sides(self, task: str) -> tuple[str | None, str | None]:
        """Return the languages whose tags stand in front of a source and a target, as the tokenizer declares them."""
        source, target = split_direction(task)
        languages = {"src": source, "tgt": target, None: None}
        assert self.declared is not None
        return languages[self.declared.source], languages[self.declared.target]

    def _exchange_tags(self, source_tag: int | None, target_tag: int | None) -> SpecialTokens:
        """Return the tokenizer's layout with the tags of other languages in place of its own."""
        layout = self.layout
        tags = {tag.number for tag in read_tags(self.tokenizer).values()}

        return SpecialTokens(
            # Where the tokenizer puts no tag, nothing is replaced.
            source_prefix=_replace_tags(layout.source_prefix, tags, source_tag),
            source_suffix=_replace_tags(layout.source_suffix, tags, source_tag),
            target_prefix=_replace_tags(layout.target_prefix, tags, target_tag),
            target_suffix=_replace_tags(layout.target_suffix, tags, target_tag),
        )

    def _encode_tag(self, number: int) -> tuple[int, ...]:
        """Return the ids that the tokenizer makes of a tag in front of a text, such as those of `▁ <2de>`."""
        token = self.tokenizer.convert_ids_to_tokens(number)
        alone, tagged = encode(self.tokenizer, "source", [PROBE_WORD, f"{token} {PROBE_WORD}"], reads_special=True)

        # A tag that joins the word is no tag any more; then its own id is used.
        in_front = tagged[: -len(alone)]
        stands_in_front = number in in_front and tagged == [*in_front, *alone]
        return tuple(in_front) if stands_in_front else (number,)


def _list_tag(tag: int | None) -> tuple[int, ...]:
    return () if tag is None else (tag,)


def _replace_tags(ids: tuple[int, ...], tags: set[int], tag: int | None) -> tuple[int, ...]:
    """Return ids with `tag` in place of the tag of another language among them."""
    if tag is None:
        return ids
    return tuple(tag if number in tags else number for number in ids)
