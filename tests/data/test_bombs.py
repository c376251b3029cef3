"""Small files that unpack to much: each is refused with a sentence, before it fills the memory."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from neuronspec.data.corpora import read_pairs
from neuronspec.data.locations import find_side
from neuronspec.data.readers.catalogs import read_catalogs
from neuronspec.data.streams import open_bytes, read_lines
from neuronspec.data.templates import find_tasks
from neuronspec.errors import NeuronspecError
from neuronspec.reading_limits import FILE, LINE, WINDOW

SIZE = 32 << 20  # bytes of a bomb, unpacked
ALLOWED = 16 << 20  # bytes of memory
PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, 1),
    ".bz2": lambda data: bz2.compress(data, 1),
    ".xz": lambda data: lzma.compress(data, preset=0),
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (LINE, FILE):
        monkeypatch.setenv(limit.variable, str(1 << 20))


@pytest.fixture
def peak() -> Iterator[None]:
    """Check that a test needs little memory."""
    tracemalloc.start()
    yield
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < ALLOWED


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize(
    ("name", "suffix"),
    [*(("text", suffix) for suffix in PACK), *((f"text.{end}", ".gz") for end in ("tsv", "jsonl", "tmx", "de"))],
)
def test_a_line_that_never_ends_is_refused(name: str, suffix: str, tmp_path: Path) -> None:
    start = b"<tmx><body>" if ".tmx" in name else b"a\n"
    path = tmp_path / (name + suffix)
    path.write_bytes(PACK[suffix](start + b" " * SIZE))
    (tmp_path / f"text.en{suffix}").write_bytes(PACK[suffix](b"a\n" * 3))
    template = str(tmp_path / "text.{lang}") + suffix if name == "text.de" else str(path)
    tracemalloc.start()
    try:
        if name == "text":
            list(read_lines(path))
        else:
            list(read_pairs(template, "de", "en"))
        raise AssertionError("it was read")
    except NeuronspecError as error:
        assert "longer than 1 MiB" in str(error) or "no TAB" in str(error) or "not valid JSON" in str(error)  # noqa: PT017
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < ALLOWED


@pytest.mark.usefixtures("small_limits", "peak")
@pytest.mark.parametrize("suffix", [".json", ".po", ".mo"])
def test_a_catalog_in_an_archive_that_unpacks_to_much_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "catalogs.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for language in ("de", "fr"):
            with archive.open(f"{language}{suffix}", "w") as member:
                for _ in range(SIZE >> 20):
                    member.write(b" " * (1 << 20))
    with pytest.raises(NeuronspecError, match=r"de\.\w+ is larger than 1 MiB: .* set NEURONSPEC_MAX_FILE"):
        list(read_catalogs(f"{path}!{{lang}}{suffix}", "de", "fr"))


def test_messages_that_lie_on_top_of_each_other_are_refused(tmp_path: Path) -> None:
    count, size = 10_000, 1 << 16
    table = b"".join(struct.pack("<2I", size - 1, 28 + 16 * count) for _ in range(count))
    head = struct.pack("<7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 0)
    (tmp_path / "de.mo").write_bytes(head + table * 2 + b"a" * size)
    start = time.process_time()
    with pytest.raises(NeuronspecError, match="messages lie on top of each other"):
        list(read_catalogs(str(tmp_path / "{lang}.mo"), "de", "en"))
    assert time.process_time() - start < 5


@pytest.mark.parametrize("window", [27, 30, 31])
def test_a_zstandard_file_gets_as_much_memory_as_the_limit_allows(
    window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=window, enable_ldm=False, hash_log=6, chain_log=6)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    path = tmp_path / "text.zst"
    path.write_bytes(packer.compress(b"one\n" * 10) + packer.flush())
    if window > 27:
        with pytest.raises(NeuronspecError, match=r"text\.zst needs more memory .* than 128 MiB: compress it anew"):
            list(read_lines(path))
        monkeypatch.setenv(WINDOW.variable, str(1 << window))
    assert list(read_lines(path)) == ["one"] * 10


@pytest.mark.parametrize("dictionary", [26, 30])
def test_an_xz_file_gets_as_much_memory_as_the_limit_allows(
    dictionary: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The size of the dictionary stands in the file: no packer has to use that much memory.
    packed = lzma.compress(
        b"one\n" * 10, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << dictionary, "mf": lzma.MF_HC3}]
    )
    path = tmp_path / "text.xz"
    path.write_bytes(packed)
    if dictionary > 26:
        with pytest.raises(NeuronspecError, match=r"text\.xz needs more memory .* than 128 MiB"):
            list(read_lines(path))
        monkeypatch.setenv(WINDOW.variable, str(1 << 31))
    assert list(read_lines(path)) == ["one"] * 10


def test_xz_streams_follow_each_other_with_zeros_between(tmp_path: Path) -> None:
    path = tmp_path / "text.xz"
    one, two = lzma.compress(b"one\n" * 100_000), lzma.compress(b"two\n")
    path.write_bytes(one + bytes(4) + two + lzma.compress(b"") + bytes(8))
    with open_bytes(path) as stream:
        assert stream.read() == b"one\n" * 100_000 + b"two\n"
    for damaged in (one + b"junk", one[:-5], one + two[:-1]):
        path.write_bytes(damaged)
        with pytest.raises(NeuronspecError, match="damaged or truncated"):
            list(read_lines(path))


def test_a_table_of_long_lines_is_judged_by_few_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LINE.variable, str(1 << 16))
    path = tmp_path / "text.tsv.gz"
    line = "ein Satz " * 5_000 + "\t" + "a sentence\n"
    path.write_bytes(gzip.compress(line.encode() * 1_000, 1))
    tracemalloc.start()
    assert sum(1 for _ in read_pairs(str(path), "de", "en")) == 1_000
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < ALLOWED


@pytest.mark.parametrize(
    "middle", [' <tu tuid="1">' + "<tuv/>" * 200_000, "<tu><tuv><seg>" + "a " * 700_000, "<x>" + "<y/>" * 300_000]
)
@pytest.mark.usefixtures("small_limits")
def test_a_unit_without_end_is_refused(middle: str, tmp_path: Path) -> None:
    path = tmp_path / "text.tmx"
    path.write_text(f"<tmx><body>{middle}")
    with pytest.raises(NeuronspecError, match=r"text\.tmx has a unit, .* longer than 1 MiB"):
        list(read_pairs(str(path), "de", "en"))


ENTITIES = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))


@pytest.mark.parametrize(
    "place", ['<tmx version="&e9;"/>', "<tmx><body><tu><tuv><seg>&e9;</seg></tuv></tu></body></tmx>"]
)
def test_entities_that_repeat_each_other_are_refused(place: str, tmp_path: Path) -> None:
    path = tmp_path / "text.tmx"
    path.write_text(f'<!DOCTYPE tmx [<!ENTITY e0 "ha">{ENTITIES}]>{place}')
    start = time.process_time()
    with pytest.raises(NeuronspecError, match=r"declares the entity|not well-formed"):
        list(read_pairs(str(path), "de", "en"))
    assert time.process_time() - start < 5


def test_names_with_many_stars_take_no_time(tmp_path: Path) -> None:
    for name in ("a" * 100 + ".de", "a" * 100 + "-en.de", "a" * 100 + ".json"):
        (tmp_path / name).write_text("{}")
    stars = f"{tmp_path}/{'*a' * 25}"
    start = time.process_time()
    for read in (
        lambda: list(read_pairs(stars + "b.{lang}", "de", "en")),
        lambda: list(read_pairs(stars + "b{lang}.json", "de", "en")),
        lambda: list(read_pairs(f"{tmp_path}/{'**/' * 25}" + "{lang}.json", "de", "en")),
        lambda: find_side(stars + "b{lang}", {"lang": "de"}, spelled=True),
        lambda: find_tasks(stars + "b.{src}-{tgt}"),
        lambda: find_tasks(stars + ".{task}"),
    ):
        try:
            read()
        except NeuronspecError:
            continue
    assert time.process_time() - start < 5


def test_json_of_one_line_is_bounded_by_the_line(tmp_path: Path) -> None:
    path = tmp_path / "text.jsonl"
    path.write_text(json.dumps({"de": "x", "en": "y", "more": [[]] * 100_000}) + "\n" + "[" * 100_000)
    pairs = read_pairs(str(path), "de", "en")
    assert next(pairs).source == "x"
    with pytest.raises(NeuronspecError, match=r"text\.jsonl:2 is not valid JSON"):
        next(pairs)
