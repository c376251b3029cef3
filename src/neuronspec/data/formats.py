"""Reading parallel text, as a stream, from the files that users have."""

from __future__ import annotations

import glob
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuronspec.config.columns import check_columns
from neuronspec.data.spellings import choose_spelling, find_other_spelling
from neuronspec.data.streams import exists, missing, open_bytes, read_lines
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.languages import find_sides, is_english, match_language, names_language, same_language
from neuronspec.libraries import import_library
from neuronspec.registry import Registry


@dataclass(frozen=True)
class Pair:
    """A sentence in two languages.

    Args:
        source: the text in the source language.
        target: its translation.
        place: where it stands, for messages: `file:line` or `file:key`.
    """

    source: str
    target: str
    place: str


Reader = Callable[[str, str, str], Iterator[Pair]]

FORMATS: Registry[Reader] = Registry("corpus format")
"""Every corpus format by name: `reader(template, source, target)` yields pairs."""

COMPRESSED = {".gz", ".bz2", ".xz", ".zst"}
_SUFFIXES = {
    ".tsv": "tsv",
    ".tmx": "tmx",
    ".zip": "opus",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".po": "catalog",
    ".mo": "catalog",
    ".json": "catalog",
    ".parquet": "datasets",
}
_PLACEHOLDERS = ("lang", "src", "tgt")


def read_pairs(
    path: str, source: str, target: str, format: str = "auto", columns: Sequence[int | str] | None = None
) -> Iterator[Pair]:
    """Yield the sentence pairs of one direction of a corpus, in the corpus's order.

    Nothing is normalised or dropped here: that is the work of `clean_pairs`. A file is opened when its first
    pair is asked for, and a fault in it is reported when the reading reaches it.

    Args:
        path: a template with the placeholders `{lang}`, `{src}` and `{tgt}`: `train/{lang}.tsv.xz`,
            `train.{src}-{tgt}.{lang}`, `/usr/share/locale/{lang}/LC_MESSAGES/*.mo`,
            `some.whl!package/*/{lang}.json`, `hub:NAME[:CONFIG[:SPLIT]]`. Where a file stands for a language
            and not for a direction, `{lang}` is the language that is not English.
        source: code of the source language, as the files spell it.
        target: code of the target language.
        format: a name in `FORMATS`; `"auto"` tells it from the path.
        columns: the two columns of a table (format `tsv`) that hold the texts, by number from 1 on or by name; see
            `neuronspec.data.tsv.read_table`.

    Returns:
        An iterator over the pairs.

    Raises:
        NeuronspecError: a file is missing, damaged or not UTF-8, a line does not fit the format, or the
            format is unknown.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "de.tsv").write_text("Good morning\\tGuten Morgen\\n")
        ...     [(pair.source, pair.target) for pair in read_pairs(folder + "/{lang}.tsv", "de", "en")]
        [('Guten Morgen', 'Good morning')]
    """
    for name in re.findall(r"\{(\w*)\}", path):
        if name not in _PLACEHOLDERS:
            known = ", ".join(f"{{{placeholder}}}" for placeholder in _PLACEHOLDERS)
            hint = did_you_mean(name, _PLACEHOLDERS)
            raise NeuronspecError(f"unknown placeholder {{{name}}} in {path}{hint}; known: {known}")
    if same_language(source, target):
        raise NeuronspecError(f"{source}-{target} is no direction: source and target are the same language")
    kind = "tsv" if columns is not None else _detect(path, source, target) if format == "auto" else format
    _refuse_other_spelling(path, source, target, kind)
    if kind == "tsv":
        _refuse_other_direction(path, source, target, columns or ())
    if columns is not None:
        return _read_columns(path, source, target, format, columns)
    return FORMATS[kind](path, source, target)


def _read_columns(path: str, source: str, target: str, format: str, columns: Sequence[int | str]) -> Iterator[Pair]:
    from neuronspec.data.tsv import read_table

    found = tell_by_suffix(path) if format == "auto" else format
    if found not in ("tsv", None):
        raise NeuronspecError(f"columns are for tables of TABs (format tsv), but {path} is read as {found}")
    try:
        return read_table(path, source, target, check_columns(columns))
    except ValueError as error:
        raise NeuronspecError(f"cannot read the columns {list(columns)} of {path}: {error}") from None


def decode_json(text: str, place: str) -> Any:
    """Return the JSON value in `text`.

    Raises:
        NeuronspecError: it is not JSON; the message begins with `place`.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NeuronspecError(f"{place} is not valid JSON: {error}") from None


def _detect(template: str, source: str, target: str) -> str:
    """Tell the format of a corpus from its name."""
    if template.startswith("hub:") or locate(template, source, target)[0].is_dir():
        return "datasets"
    found = tell_by_suffix(template)
    if found is not None:
        return found
    if "{lang}" in template:
        return "lines"
    if _is_memory(locate(template, source, target)[0]):
        return "tmx"
    raise NeuronspecError(
        f"cannot tell the format of {template} from its name; give format, one of {', '.join(FORMATS)}, "
        "or the columns of a table of TABs, or write {lang} where the two files of a pair differ"
    )


def _is_memory(path: Path) -> bool:
    """Tell a translation memory by what stands at its beginning."""
    if not exists(path):
        return False
    with open_bytes(path) as stream:
        start = stream.read(2048).replace(b"\0", b"")  # it may be in UTF-16
    return b"<tmx" in start


def choose_code(code: str, candidates: tuple[str, ...]) -> str | None:
    """Return the candidate that means a language, or its nearest variant: `EN-GB` for `en`, where there is no other.

    Args:
        code: any code.
        candidates: codes as files write them; texts that cannot be codes are passed over.
    """
    found = match_language(code, candidates)
    if found is not None:
        return found
    return next((candidate for candidate in candidates if _is_variant(candidate, code)), None)


def _is_variant(candidate: str, code: str) -> bool:
    try:
        return match_language(candidate, (code,)) is not None
    except NeuronspecError:  # no code at all
        return False


def tell_by_suffix(template: str) -> str | None:
    """Return the format that the end of a name tells, but for that of a compression, or None."""
    if template.startswith("hub:"):
        return "datasets"
    path = Path(template)
    return _SUFFIXES.get((path.with_suffix("") if path.suffix in COMPRESSED else path).suffix)


def fill_placeholders(template: str, lang: str, source: str, target: str) -> str:
    """Return a template with codes in place of `{lang}`, `{src}` and `{tgt}`."""
    return template.replace("{lang}", lang).replace("{src}", source).replace("{tgt}", target)


def locate(template: str, source: str, target: str) -> tuple[Path, bool]:
    """Return the one file of a direction, and whether its first column is the target."""
    forward = Path(fill_placeholders(template, target, source, target))
    backward = Path(fill_placeholders(template, source, target, source))
    if "{lang}" not in template:
        return (forward, False) if exists(forward) or not exists(backward) else (backward, True)
    return (backward, True) if _is_pivot(target, source) else (forward, False)


def _is_pivot(code: str, other: str) -> bool:
    """Tell whether a language is the English that corpora are centred on: of two Englishes, the main one."""
    return is_english(code) and (not is_english(other) or same_language(code, "en"))


def _refuse_other_spelling(template: str, source: str, target: str, kind: str) -> None:
    """Refuse a file that is missing under the languages' codes, but there under other ones of the same languages."""
    if kind == "catalog" or template.startswith("hub:"):
        return
    sides = (source, target) if kind == "lines" else (source if _is_pivot(target, source) else target,)
    for code in sides:
        path = fill_placeholders(template, code, source, target)
        found = None if exists(path) else find_other_spelling(template, {"lang": code, "src": source, "tgt": target})
        if found is not None:
            raise NeuronspecError(
                f"{path} does not exist, but {found.name} does: write the languages' codes as it does"
            )


def _refuse_other_direction(path: str, source: str, target: str, columns: Sequence[int | str]) -> None:
    """Refuse a table that is named after the other direction, so that its first column is the target."""
    if any(f"{{{name}}}" in " ".join([path, *map(str, columns)]) for name in _PLACEHOLDERS):
        return
    name = Path(path).name.rpartition("!")[2]  # the name of an archive says nothing about the order in a member
    for part in name.split("."):
        sides = find_sides(part)
        if sides is not None and names_language(sides[0], target) and names_language(sides[1], source):
            advice = name.replace(part, "{src}-{tgt}")
            raise NeuronspecError(
                f"{path} is named as text of {part}, not of {source}-{target}, so its first text is the target: write "
                f"{advice}, which reads it the other way round"
            )


@FORMATS.register("tsv")
def _read_tsv(template: str, source: str, target: str) -> Iterator[Pair]:
    from neuronspec.data.tsv import read_table  # it is built on this module

    return read_table(template, source, target)


@FORMATS.register("lines")
def _read_aligned(template: str, source: str, target: str) -> Iterator[Pair]:
    if "{lang}" not in template:
        raise NeuronspecError(f"{template} names one file, not two; write {{lang}} where their names differ")
    paths = [_find_side(fill_placeholders(template, lang, source, target)) for lang in (source, target)]
    swapped = [_find_side(fill_placeholders(template, lang, target, source)) for lang in (source, target)]
    if not all(map(exists, paths)) and all(map(exists, swapped)):
        paths = swapped
    yield from read_aligned(*paths)


def _find_side(pattern: str) -> Path:
    """Return the only file that fits a pattern; the pattern itself where there is none, or it is a file's name.

    Raises:
        NeuronspecError: Several files fit.
    """
    path = Path(pattern)
    if "*" not in pattern or exists(path):
        return path
    found = sorted(glob.glob(pattern))  # noqa: PTH207 - the pattern may be absolute
    if len(found) > 1:
        raise NeuronspecError(
            f"{len(found)} files fit {pattern} ({', '.join(found[:3])}{', ...' if found[3:] else ''}), but one side of "
            "a pair is one file: name it more closely"
        )
    return Path(found[0]) if found else path


def read_aligned(first: Path, second: Path) -> Iterator[Pair]:
    """Yield the pairs of two files that are aligned line by line.

    Raises:
        NeuronspecError: a file cannot be read, or one has more lines than the other.
    """
    paths = (first, second)
    sides = [read_lines(path) for path in paths]
    for number, (left, right) in enumerate(itertools.zip_longest(*sides), 1):
        if left is None or right is None:
            counts = [number - 1 if text is None else number for text in (left, right)]
            counts = [count + sum(1 for _ in side) for count, side in zip(counts, sides, strict=True)]
            raise NeuronspecError(
                f"{paths[0]} has {counts[0]} lines, but {paths[1]} has {counts[1]}; they must be aligned line by line"
            )
        yield Pair(left, right, f"{paths[0]}:{number}")


@FORMATS.register("tmx")
def _read_tmx(template: str, source: str, target: str) -> Iterator[Pair]:
    from neuronspec.data.tmx import read_memory  # it is built on this module

    return read_memory(template, source, target)


@FORMATS.register("opus")
def _read_opus(template: str, source: str, target: str) -> Iterator[Pair]:
    from neuronspec.data.archives import read_archive  # it is built on this module

    return read_archive(template, source, target)


@FORMATS.register("jsonl")
def _read_json_lines(template: str, source: str, target: str) -> Iterator[Pair]:
    path, reverse = locate(template, source, target)
    for number, line in enumerate(read_lines(path), 1):
        place = f"{path}:{number}"
        yield _pair_of(decode_json(line, place), source, target, reverse, place)


@FORMATS.register("catalog")
def _read_message_catalogs(template: str, source: str, target: str) -> Iterator[Pair]:
    from neuronspec.data.catalogs import read_catalogs  # it is built on this module

    return read_catalogs(template, source, target)


@FORMATS.register("datasets")
def _read_datasets(template: str, source: str, target: str) -> Iterator[Pair]:
    datasets = import_library("datasets", f"reading {template}", "hub")
    try:
        if template.startswith("hub:"):
            rows, reverse = _load_from_hub(datasets, template.removeprefix("hub:"), source, target)
        else:
            path, reverse = locate(template, source, target)
            rows = _load_from_path(datasets, path)
        for number, row in enumerate(rows, 1):
            yield _pair_of(row, source, target, reverse, f"{template}:{number}")
    except (OSError, ValueError) as error:
        raise NeuronspecError(f"cannot load {template} for {source}-{target}: {error}") from error


def _load_from_hub(datasets: Any, name: str, source: str, target: str) -> tuple[Iterable[Any], bool]:
    """Open `NAME[:CONFIG[:SPLIT]]`; where the configuration `en-de` is unknown, `de-en` is tried."""

    def load(first: str, second: str) -> Iterable[Any]:
        repository, config, split, *_ = [*fill_placeholders(name, second, first, second).split(":"), "", ""]
        rows: Iterable[Any] = datasets.load_dataset(repository, config or None, split=split or "train", streaming=True)
        return rows

    try:
        return load(source, target), False
    except ValueError:
        if "{src}" not in name:
            raise
        return load(target, source), True


def _load_from_path(datasets: Any, path: Path) -> Iterable[Any]:
    """Open what `save_to_disk` wrote, a folder of data files, or one Parquet or JSON file."""
    rows: Any
    if not path.exists():
        raise missing(path)
    if any((path / name).exists() for name in ("state.json", "dataset_dict.json")):
        rows = datasets.load_from_disk(str(path))
        if isinstance(rows, datasets.DatasetDict):
            if "train" not in rows:
                raise NeuronspecError(f"{path} has no split 'train', only {', '.join(rows)}; name one: {path}/SPLIT")
            rows = rows["train"]
    elif path.is_dir():
        rows = datasets.load_dataset(str(path), split="train", streaming=True)
    else:
        kind = "parquet" if path.suffix == ".parquet" else "json"
        rows = datasets.load_dataset(kind, data_files=str(path), split="train", streaming=True)
    found: Iterable[Any] = rows
    return found


def _pair_of(row: Any, source: str, target: str, reverse: bool, place: str) -> Pair:
    """Find the two texts in a row: under the languages' codes, else under `source` and `target`."""
    texts = row.get("translation", row) if isinstance(row, dict) else row
    if not isinstance(texts, dict):
        raise NeuronspecError(f"{place} is not a JSON object with two texts but {str(row)[:60]!r}")
    keys = [source, target]
    if not (source in texts and target in texts):
        keys = ["target", "source"] if reverse else ["source", "target"]
    values = [texts.get(key, 0) for key in keys]
    if not all(value is None or isinstance(value, str) for value in values):
        raise NeuronspecError(
            f"{place} has the fields {', '.join(map(str, texts)) or 'none'}; "
            f"expected texts under {source!r} and {target!r}, or under 'source' and 'target'"
            f"{_suggest_keys(texts, source, target)}"
        )
    return Pair(values[0] or "", values[1] or "", place)


def _suggest_keys(texts: Mapping[Any, Any], source: str, target: str) -> str:
    """Return a hint that names the fields of the same languages in other spellings."""
    names = [key for key, text in texts.items() if isinstance(key, str) and isinstance(text, str)]
    found = {code: choose_spelling(code, names) for code in (source, target)}
    others = [f"{name!r} for {code!r}" for code, name in found.items() if name not in (None, code)]
    return f"; write the languages' codes as the fields do: {' and '.join(others)}" if others else ""
