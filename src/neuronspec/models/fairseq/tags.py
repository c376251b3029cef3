"""Language tags of a fairseq model: where they stand, their ids, and the size of the vocabulary with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neuronspec.errors import NeuronspecError
from neuronspec.models.fairseq.dictionary import Dictionary, check_languages

_STYLES = {"multilingual": "__{}__", "mbart": "[{}]"}
_CODE = "{}"  # a tag that is the code itself
_MULTILINGUAL = ("translation_multi_simple_epoch",)
_UNTAGGED = ("translation",)


@dataclass(frozen=True, kw_only=True)
class Tags:
    """The languages of a model and their tags.

    Attributes:
        languages: Language codes in the order of their tags.
        ids: Id of each language's tag.
        source: Tag in front of a source: that of the source's language (`src`), of the target's (`tgt`), or none.
        target: Whether the target's tag stands in front of a target.
    """

    languages: tuple[str, ...]
    ids: Mapping[str, int]
    source: str | None
    target: bool


def read_tags(settings: Mapping[str, Any], dictionary: Dictionary, given: Sequence[str] | None, size: int) -> Tags:
    """Add the tags of a model to its dictionary, and return them.

    Args:
        settings: Settings of the task.
        dictionary: Dictionary of `dict.txt`, to which tags are added.
        given: Languages that the user gives; None for those of the checkpoint.
        size: Number of embeddings of the model.

    Raises:
        NeuronspecError: If languages are missing or contradict the checkpoint, if the task has other tags, or if the
            vocabulary has another size than the model.
    """
    task = str(settings.get("task") or settings.get("_name") or "translation")
    if task in _UNTAGGED and given is None:
        _check_size(dictionary, size, ())
        return Tags(languages=(), ids={}, source=None, target=False)
    if task not in (*_MULTILINGUAL, *_UNTAGGED):
        raise NeuronspecError(
            f"the task is {task!r}: only models of {', '.join((*_MULTILINGUAL, *_UNTAGGED))} are imported"
        )

    languages = _find_languages(settings, given)
    source, target = _read_sides(settings)
    ids = _add_tags(dictionary, languages, settings, size)
    return Tags(languages=tuple(languages), ids=ids, source=source, target=target)


def _find_languages(settings: Mapping[str, Any], given: Sequence[str] | None) -> list[str]:
    """Return the languages in the order of their tags."""
    stored = settings.get("langs")
    if isinstance(stored, str):
        stored = [code.strip() for code in stored.split(",")]
    _check_setting(settings, "langs", stored, list, tuple, Mapping)

    # Without either, fairseq takes the languages of the directions, sorted.
    if not stored and not settings.get("lang_dict"):
        stored = _list_trained_languages(settings.get("lang_pairs"))

    if given is None and not stored:
        raise NeuronspecError(
            "the checkpoint does not hold its languages: give --langs with the list that it was trained with, in the "
            "same order"
        )
    if given is not None and stored and list(given) != list(stored):
        raise NeuronspecError(
            f"--langs is {','.join(given)}, but the checkpoint was trained with {','.join(map(str, stored))}: leave "
            "out --langs"
        )

    languages = [str(code) for code in given or stored or ()]
    check_languages(languages)
    return languages


def _check_setting(settings: Mapping[str, Any], name: str, value: object, *kinds: type) -> None:
    """Refuse a setting that is set to something other than fairseq writes."""
    if value and not isinstance(value, kinds):
        raise NeuronspecError(f"the checkpoint's setting {name} is {settings[name]!r:.60}, which fairseq never writes")


def _list_trained_languages(directions: Any) -> list[str]:
    """Return the languages of the directions that a model was trained on, sorted."""
    if isinstance(directions, str):
        directions = directions.split(",")
    if not isinstance(directions, list | tuple):
        return []
    return sorted({code for direction in directions for code in str(direction).split("-")})


def _read_sides(settings: Mapping[str, Any]) -> tuple[str | None, bool]:
    """Return the tag in front of a source, and whether one stands in front of a target."""
    if settings.get("lang_tok_replacing_bos_eos"):
        raise NeuronspecError("lang_tok_replacing_bos_eos is set: models whose tags replace </s> cannot be imported")

    # A table of tags for kinds of text goes before the two options.
    table = settings.get("langtoks")
    sides = table.get("main") if isinstance(table, Mapping) else None
    if not isinstance(sides, list | tuple) or len(sides) != 2:
        sides = (settings.get("encoder_langtok"), "tgt" if settings.get("decoder_langtok") else None)

    source, target = sides
    if (source or None) not in ("src", "tgt", None) or (target or None) not in ("tgt", None):
        raise NeuronspecError(f"langtoks are {source!r} and {target!r}: expected src or tgt, and tgt")
    return source or None, bool(target)


def _add_tags(
    dictionary: Dictionary, languages: Sequence[str], settings: Mapping[str, Any], size: int
) -> dict[str, int]:
    """Add tags to a dictionary as fairseq does, and return their ids."""
    style = _STYLES.get(str(settings.get("lang_tok_style") or "multilingual"), _CODE)

    # Tags may be in `dict.txt` already, as the codes themselves.
    if len(dictionary.tokens) == size and all(code in dictionary.ids for code in languages):
        style = _CODE

    ids = {}
    kinds, extra = settings.get("langtoks_specs"), settings.get("extra_data")
    _check_setting(settings, "langtoks_specs", kinds, list, tuple, str)
    _check_setting(settings, "extra_data", extra, Mapping, str)
    for kind in kinds or ["main"]:
        suffix = next((f"_{name}" for name in ("dae", "mined") if str(kind).endswith(name)), "")
        for code in languages:
            number = dictionary.add(style.format(f"{code}{suffix}"))
            if not suffix:
                ids[code] = number

    # As fairseq does for models that fill gaps
    if settings.get("lang_tok_style") == "mbart" or "mono_dae" in (extra or {}):
        dictionary.add("<mask>")
    _check_size(dictionary, size, languages)
    return ids


def _check_size(dictionary: Dictionary, size: int, languages: Sequence[str]) -> None:
    """Refuse a vocabulary of another size than the model's embeddings."""
    found = len(dictionary.tokens)
    if found == size:
        return

    with_tags = f" with the tags of {len(languages)} languages" if languages else " without language tags"
    raise NeuronspecError(
        f"the dictionary has {found} tokens{with_tags}, but the model has {size} embeddings: take the dict.txt of its "
        "training, and in --langs exactly the languages that it was trained with"
    )
