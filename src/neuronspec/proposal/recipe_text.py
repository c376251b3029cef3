"""The proposal as YAML: short, with a comment wherever something was chosen or assumed."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from neuronspec.config.sections import Corpus
from neuronspec.languages import find_language
from neuronspec.proposal.file_names import Part
from neuronspec.proposal.found import Discovery, FoundCorpus
from neuronspec.proposal.settings import METHODS, Settings
from neuronspec.terminal import escape

NEXT_VERBS = ("check", "run")
"""The verbs that come after the proposal."""

_WIDTH = 110
_LISTED = 12  # files that are left out and named
_SECTIONS = ("prepare", "sampling", "model", "train", "record", "select", "continued")
_LAST_SECTIONS = ("translate", "score")
_PURPOSES: dict[Part, str] = {"train": "training", "valid": "validation", "test": "test"}


def write_recipe(found: Discovery, settings: Settings, path: Path, *, minutes: float) -> str:
    """Return the configuration as YAML with comments.

    Args:
        found: Corpora, languages and assumptions.
        settings: Values and reasons.
        path: File that the text is for.
        minutes: Time that the run should take.
    """
    lines = [*_introduce(found, path, minutes), ""]
    lines += [f"name: {_value(path.stem)}", f"out: {_value(f'runs/{path.stem}')}"]
    lines += [f"pivot: {_value(found.pivot)}", f"languages: {_value(list(found.languages))}", ""]
    lines += [*_write_data(found, settings, path.absolute().parent), ""]

    for section in _SECTIONS:
        lines += _write_section(section, settings)
    methods = ", ".join(f"{name}: {{}}" for name in METHODS)
    lines += [f"methods: {{{methods}}}", ""]
    for section in _LAST_SECTIONS:
        lines += _write_section(section, settings)

    lines += _write_left_out(found)
    return "\n".join(lines).rstrip() + "\n"


def _introduce(found: Discovery, path: Path, minutes: float) -> Iterator[str]:
    names = ", ".join(f"{find_language(code).name} ({code})" for code in found.languages[:8])
    more = f" and {len(found.languages) - 8} more" if found.languages[8:] else ""
    total = sum(found.count_pairs("train").values())
    yield from comment(
        f"{find_language(found.pivot).name} ({found.pivot}) with {names}{more}: {total:,} sentence pairs."
    )
    yield from comment(
        f"Made by neuronspec init for a run of about {minutes:g} minutes on this machine; change what you like. Next:"
    )
    yield from (f"#   neuronspec {verb} {_show(str(path))}" for verb in NEXT_VERBS)

    if found.notes:
        yield from comment("Assumed; please check:")
        for note in found.notes:
            yield from comment(note, indent="# - ", later="#   ")


def _write_data(found: Discovery, settings: Settings, folder: Path) -> Iterator[str]:
    yield "data:"
    for part in ("train", "valid", "test"):
        corpora = [one for one in found.corpora if one.part == part]
        if corpora:
            yield f"  {part}:"
        for one, corpus in zip(corpora, found.list_corpora(part), strict=True):
            yield from comment(_describe_corpus(one), indent="    # ")
            yield f"    - {_write_corpus(corpus, folder)}"

    shares = {part: f"data.hold_out.{part}" for part in ("valid", "test")}
    held = {part: key for part, key in shares.items() if key in settings.values}
    for part, key in held.items():
        text = f"no text for {part if part == 'test' else 'validation'} was found: {settings.reasons[key]} are held out"
        yield from comment(text, indent="  # ")
    if held:
        values = ", ".join(f"{part}: {_value(settings.values[key])}" for part, key in held.items())
        yield f"  hold_out: {{{values}}}"


def _describe_corpus(one: FoundCorpus) -> str:
    """Return the languages and sizes of a corpus, and how it spells the languages."""
    sizes = sorted(one.sizes.items(), key=lambda item: -item[1])
    about = "" if one.exact else "about "
    if len({size for _, size in sizes}) == 1:
        text = (
            f"{', '.join(code for code, _ in sizes)}: {about}{sizes[0][1]:,} pairs{' each' if len(sizes) > 1 else ''}"
        )
    else:
        text = ", ".join(f"{code}: {about}{size:,}" for code, size in sizes) + " pairs"
    if one.spellings:
        spelled = ", ".join(f"{own} for {code}" for code, own in one.spellings.items())
        text += f"; its files write {spelled}"
    return text


def _write_corpus(corpus: Corpus, folder: Path) -> str:
    """Return a corpus in one line, with its path relative to the folder of the file where it is below it."""
    path = Path(corpus.path)
    shown = str(path.relative_to(folder)) if path.is_relative_to(folder) else corpus.path
    values = {"path": shown, **corpus.model_dump(exclude={"path"}, exclude_defaults=True)}
    return "{" + ", ".join(f"{key}: {_value(value, quoted=key == 'path')}" for key, value in values.items()) + "}"


def _write_section(section: str, settings: Settings) -> list[str]:
    """Return the lines of a section, with the reasons for its values behind them."""
    own = {key: value for key, value in settings.values.items() if key.startswith(f"{section}.")}
    if not own:
        return []
    lines = list(comment(settings.reasons[section])) if section in settings.reasons else []
    lines.append(f"{section}:")

    written: set[str] = set()
    for key, value in own.items():
        *parents, name = key.split(".")[1:]
        indent = "  " * (1 + len(parents))
        if parents and parents[0] not in written:
            lines.append(f"  {parents[0]}:")
            written.add(parents[0])
        line = f"{indent}{name}: {_value(value)}"
        reason = settings.reasons.get(key)
        if reason and len(line) + len(reason) + 4 > _WIDTH:
            lines += comment(reason, indent=f"{indent}# ")
            reason = None
        lines.append(f"{line}  # {_show(reason)}" if reason else line)
    return [*lines, ""]


def _write_left_out(found: Discovery) -> Iterator[str]:
    if not found.left_out:
        return
    yield from comment("Not used:")
    for one in found.left_out[:_LISTED]:
        yield from comment(f"{one.path}: {one.reason}", indent="# - ", later="#   ")
    if found.left_out[_LISTED:]:
        yield from comment(f"and {len(found.left_out) - _LISTED} more files", indent="# - ")


def comment(text: str, indent: str = "# ", later: str | None = None) -> list[str]:
    """Return text as lines of a comment."""
    later = later if later is not None else indent
    return textwrap.wrap(
        _show(text),
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _show(text: str) -> str:
    """Return text for a comment, with control characters escaped."""
    return _NONCHARACTER.sub(lambda found: _escape_letter(found[0]), escape(text))


def _value(value: Any, quoted: bool = False) -> str:
    """Return a value as YAML on one line."""
    if value is None or isinstance(value, int):
        return json.dumps(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    return str(value) if not quoted and _is_plain(str(value)) else _quote(str(value))


def _is_plain(text: str) -> bool:
    """Return whether nothing in YAML reads a text without quotation marks as something else."""
    is_word = text.replace("_", "").replace("-", "").isalnum() and text[0].isalpha()
    return is_word and text.lower() not in _YAML_WORDS


def _quote(text: str) -> str:
    r"""Return a text in quotation marks, with an escape for every character that YAML or an editor could misread.

    Example:
        >>> print(_quote('Größe "x"\x7f\u2028'))
        "Größe \"x\"\u007f\u2028"
    """
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else _escape_letter(letter) for letter in quoted)


def _escape_letter(letter: str) -> str:
    number = ord(letter)
    return f"\\u{number:04x}" if number <= _LAST_SHORT else f"\\U{number:08x}"


_LAST_SHORT = 0xFFFF  # characters with an escape of four digits
_NONCHARACTER = re.compile("[\ufffe\uffff]")  # YAML allows them nowhere, not even in a comment
_YAML_WORDS = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n"})


def _number(value: float) -> str:
    """Return a number that YAML reads as one: 0.0001 would be a text as 1e-4, but not as 1.0e-4."""
    text = f"{value:.6g}"
    mantissa, letter, exponent = text.partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}" if letter else text
