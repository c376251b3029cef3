"""Limits on what is read: each is enforced, says how to raise it, and can be raised."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from neuronspec.errors import NeuronspecError
from neuronspec.files import read_json, read_text
from neuronspec.reading_limits import FILE, LIMITS, Limit, read_file

DOCS = Path(__file__).parents[1] / "docs"


def test_every_limit_is_documented_with_its_default() -> None:
    text = (DOCS / "limits.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    assert rows == [(limit.variable, str(limit), limit.description) for limit in LIMITS]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.variable)
def test_a_variable_sets_a_limit_or_is_refused(monkeypatch: pytest.MonkeyPatch, limit: Limit) -> None:
    assert limit.largest == limit.default
    monkeypatch.setenv(limit.variable, " 5 ")
    assert limit.largest == 5
    assert str(limit) == f"5 {limit.unit}"
    assert limit.variable in str(limit.refuse("it has more than", "expected less"))
    for wrong in ("0", "-1", "1e9", "1.5", "many", "٣", "9" * 30, "1_000"):
        monkeypatch.setenv(limit.variable, wrong)
        with pytest.raises(NeuronspecError, match=rf"{limit.variable} is .*; expected a whole number of {limit.unit}"):
            _ = limit.largest


@pytest.mark.parametrize(("size", "shown"), [(5 << 20, "5 MiB"), (3 << 30, "3 GiB"), (1500, "1,500 bytes")])
def test_sizes_are_shown_in_a_unit_that_fits(monkeypatch: pytest.MonkeyPatch, size: int, shown: str) -> None:
    monkeypatch.setenv(FILE.variable, str(size))
    assert str(FILE) == shown


def test_a_file_at_the_limit_is_read_and_a_larger_one_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILE.variable, "10")
    path = tmp_path / "file"
    path.write_bytes(b'"12345678"')
    assert read_json(path) == "12345678"
    path.write_bytes(b'"123456789"')
    for read in (read_file, read_text, read_json):
        with pytest.raises(NeuronspecError, match=r"file is larger than 10 bytes: .* set NEURONSPEC_MAX_FILE"):
            read(path)


def test_a_sparse_file_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(NeuronspecError, match="file is larger than 64 MiB"):
        read_file(path)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    cases = {
        tmp_path: "is a directory",
        tmp_path / "pipe": "it is a pipe or a device, not a file",
        Path("/dev/zero"): "it is a pipe or a device, not a file",
        tmp_path / "loop": "too many levels of symbolic links",
        tmp_path / "a\0b": "it is no name of a file",
        tmp_path / ("a" * 300): "file name too long",
        tmp_path / "none": "does not exist",
    }
    for path, reason in cases.items():
        with pytest.raises(NeuronspecError, match=reason):
            read_json(path)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "", "\ud800", "1" * 5000, "[1,]"])
def test_what_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(NeuronspecError, match=r"file\.json is not valid JSON"):
        read_json(path)
