"""Preparing in blocks: the same bytes whatever the blocks and the workers, and no block is cleaned twice."""

import gzip
import json
import logging
import lzma
import random
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from neuronspec.config.schema import Config
from neuronspec.data import blocks, duplicates, shards, tasks
from neuronspec.data.preparation import prepare_text
from neuronspec.data.readers import tsv
from neuronspec.data.shards import CleaningJob, Shard
from neuronspec.errors import NeuronspecError
from neuronspec.executors.surroundings import Surroundings
from neuronspec.executors.tasks import WorkerExecutor

WORDS = ["boat", "tree", "house", "song", "fish", "road", "lamp", "bread", "mühle", "straße"]
Pairs = list[tuple[str, str]]


def make_pairs(seed: int, count: int = 60) -> Pairs:
    """Pairs with duplicates, empty sides and long sides in between."""
    draw = random.Random(seed)

    def sentence(longest: int) -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(0, longest)))

    return [(sentence(3), sentence(3)) if draw.random() < 0.8 else (sentence(9), sentence(2)) for _ in range(count)]


def write_table(folder: Path, pairs: Pairs) -> dict[str, Any]:
    lines = "".join(f"{number}\t{left}\t{right}\n" for number, (left, right) in enumerate(pairs))
    (folder / "text.tsv").write_text(f"\n\nid\ten\tde\n{lines}", encoding="utf-8")
    return {"path": str(folder / "text.tsv"), "columns": ["en", "de"]}


def write_compressed(folder: Path, pairs: Pairs) -> dict[str, Any]:
    lines = "\r\n".join(f"{left}\t{right}" for left, right in pairs)
    (folder / "text.tsv.xz").write_bytes(lzma.compress(lines.encode()))
    return {"path": str(folder / "text.tsv.xz")}


def write_aligned(folder: Path, pairs: Pairs) -> dict[str, Any]:
    left, right = ("".join(f"{side}\n" for side in sides) for sides in zip(*pairs, strict=True))
    (folder / "text.en").write_text(left, encoding="utf-8")
    (folder / "text.de").write_bytes(gzip.compress(right.encode()))
    return {"path": str(folder / "text.{lang}")}


def write_archive(folder: Path, pairs: Pairs) -> dict[str, Any]:
    with zipfile.ZipFile(folder / "text.zip", "w") as archive:
        for code, sides in zip(("en", "de"), zip(*pairs, strict=True), strict=True):
            archive.writestr(f"text.de-en.{code}", "".join(f"{side}\n" for side in sides))
    return {"path": str(folder / "text.zip")}


def write_json_lines(folder: Path, pairs: Pairs) -> dict[str, Any]:
    rows = (json.dumps({"en": left, "de": right}) for left, right in pairs)
    (folder / "text.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return {"path": str(folder / "text.jsonl")}


def write_catalog(folder: Path, pairs: Pairs) -> dict[str, Any]:
    """A format without lines, whose pairs are read in one place."""
    for code, sides in zip(("en", "de"), zip(*pairs, strict=True), strict=True):
        texts = {f"{number:04}": side or " " for number, side in enumerate(sides)}
        (folder / f"{code}.json").write_text(json.dumps(texts), encoding="utf-8")
    return {"path": str(folder / "{lang}.json")}


FORMATS: list[Callable[[Path, Pairs], dict[str, Any]]] = [
    *(write_table, write_compressed, write_aligned, write_archive, write_json_lines, write_catalog),
]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A configuration with a corpus of every format."""
    corpora = []
    for number, write in enumerate(FORMATS):
        folder = tmp_path / write.__name__
        folder.mkdir()
        corpora.append(write(folder, make_pairs(number)))
    data = {"train": corpora[:-1], "valid": [corpora[-1]], "hold_out": {"test": 0.1}}
    prepare = {"max_words": 8, "max_length_ratio": 4, "drop_matching": "lamp lamp"}
    values = {"data": data, "model": {"preset": "tiny"}, "tasks": ["en-de"], "prepare": prepare}
    return Config.model_validate(values)


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def whole(config: Config, tmp_path: Path) -> dict[str, bytes]:
    """The text as one block of each corpus gives it."""
    prepare_text(config, tmp_path / "whole")
    found = read_all(tmp_path / "whole")
    counts = json.loads(found["statistics.json"])["dropped"]["en-de"]
    assert counts["read"] == 300
    assert {"kept", "duplicate", "empty", "too long", "length ratio", "pattern"} < counts.keys()
    return found


@pytest.mark.parametrize(("lines", "size"), [(7, 1 << 20), (50, 1 << 20), (100, 300)])
def test_blocks_of_any_size_give_the_same_bytes(
    lines: int, size: int, config: Config, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_LINES", lines)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", size)
    monkeypatch.setattr(duplicates, "ROUND_SIZE", 64)  # several rounds
    prepare_text(config, tmp_path / "text")
    assert read_all(tmp_path / "text") == whole


class Threads(ThreadPoolExecutor, WorkerExecutor):
    """Workers that take no time to start."""

    workers = 3
    surroundings = Surroundings(level=logging.WARNING)


@pytest.fixture
def with_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_LINES", 10)
    monkeypatch.setattr(tasks, "DONE_HERE", 15)
    monkeypatch.setattr(tasks, "open_executor", lambda: Threads(3))


@pytest.mark.usefixtures("with_workers")
def test_workers_give_the_same_bytes(config: Config, whole: dict[str, bytes], tmp_path: Path) -> None:
    prepare_text(config, tmp_path / "text")
    assert read_all(tmp_path / "text") == whole


@pytest.fixture
def cleaned(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The shards that were written, in their order."""
    paths: list[Path] = []
    write = shards._write_shard

    def note(job: CleaningJob) -> Shard:
        paths.append(job.path)
        return write(job)

    monkeypatch.setattr(shards, "_write_shard", note)
    return paths


def damage(path: Path) -> None:
    """Turn a byte of the lines of a shard around, as a bad disk does, or a power cut."""
    raw = bytearray(path.read_bytes())
    raw[-9] ^= 1
    path.write_bytes(raw)


def test_what_was_cleaned_is_not_cleaned_again_unless_it_is_damaged_or_its_source_has_changed(
    config: Config, whole: dict[str, bytes], tmp_path: Path, cleaned: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_LINES", 20)
    workspace = tmp_path / "workspace"
    prepare_text(config, tmp_path / "text", workspace)
    first = [*cleaned]
    assert len(first) == len({*first}) == 18
    assert read_all(tmp_path / "text") == whole

    prepare_text(config, tmp_path / "text", workspace)
    assert cleaned == first

    damage(first[3])
    first[7].write_bytes(first[7].read_bytes()[:-1])
    first[9].unlink()
    prepare_text(config, tmp_path / "text", workspace)
    assert cleaned[18:] == [first[3], first[7], first[9]]
    assert read_all(tmp_path / "text") == whole

    other = config.model_copy(update={"prepare": config.prepare.model_copy(update={"max_words": 7})})
    prepare_text(other, tmp_path / "other", workspace)
    assert cleaned[21:] == first[:-3]  # the validation text has no limits
    table = Path(config.data.train[0].path)
    table.write_text(table.read_text(encoding="utf-8").replace("boat", "ship"), encoding="utf-8")
    prepare_text(other, tmp_path / "other", workspace)
    assert cleaned[36:] == first[:3]


@pytest.mark.usefixtures("with_workers")
def test_the_first_fault_in_the_order_of_the_text_is_reported_whatever_was_read_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tsv, "JUDGED", 5)
    lines = [f"a{number}\tb{number}".encode() for number in range(60)]
    lines[31] = b"no tab"
    lines[44] = b"\xff\t\xfe"
    (tmp_path / "de.tsv").write_bytes(b"\n".join(lines))
    values = {
        "data": {"train": [{"path": str(tmp_path / "{lang}.tsv")}], "hold_out": {"valid": 0.2, "test": 0.2}},
        "model": {"preset": "tiny"},
        "languages": ["de", "fr"],  # whose file is missing
    }
    with pytest.raises(NeuronspecError, match=r"de\.tsv:32 has no TAB"):
        prepare_text(Config.model_validate(values), tmp_path / "text")
    assert [path.name for path in tmp_path.iterdir()] == ["de.tsv"]


def test_aligned_files_of_different_lengths_are_refused_with_both_lengths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_LINES", 3)
    for code, count in {"en": 10, "de": 12}.items():
        (tmp_path / f"text.{code}").write_text("".join(f"{code} {line}\n" for line in range(count)))
    values = {
        "data": {"train": [{"path": str(tmp_path / "text.{lang}")}], "hold_out": {"valid": 0.2, "test": 0.2}},
        "model": {"preset": "tiny"},
        "languages": ["de"],
    }
    with pytest.raises(NeuronspecError, match=r"text\.en has 10 lines, but .*text\.de has 12; they must be aligned"):
        prepare_text(Config.model_validate(values), tmp_path / "out")
