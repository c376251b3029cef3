from __future__ import annotations

import csv
import errno
import hashlib
import io
import os
import re
import resource
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from neuronspec import durability, files
from neuronspec.errors import NeuronspecError
from neuronspec.files import format_csv, hash_json, hash_path, publish, read_json, refuse_links, write_json, write_text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def fill(place: Path, directory: bool, text: str) -> None:
    """Write what `publish` is to publish: a file, or a directory with a file and a folder in it."""
    if directory:
        (place / "inner").mkdir(parents=True)
        (place / "inner" / "b.txt").write_text(text, encoding="utf-8")
        place = place / "a.txt"
    place.write_text(text, encoding="utf-8")


def read(place: Path) -> dict[str, str]:
    files = [place] if place.is_file() else sorted(file for file in place.rglob("*") if file.is_file())
    return {file.relative_to(place.parent).as_posix(): file.read_text(encoding="utf-8") for file in files}


@pytest.mark.parametrize("directory", [False, True])
def test_r3_what_is_published_appears_whole_and_replaces_what_was_there(tmp_path: Path, directory: bool) -> None:
    place = tmp_path / "missing" / "parent" / "thing"
    written: dict[str, str] = {}
    for text in ("old", "new"):
        with publish(place) as temporary:
            fill(temporary, directory, text)
            assert temporary.parent == place.parent  # one file system: the rename is atomic
            assert (read(place) if place.exists() else {}) == written
        written = read(place)
        assert set(written.values()) == {text}
        assert list(place.parent.iterdir()) == [place]


def test_r3_a_directory_is_replaced_and_not_merged(tmp_path: Path) -> None:
    for name in ("first", "second"):
        with publish(tmp_path / "thing") as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert [file.name for file in (tmp_path / "thing").iterdir()] == ["second"]


@pytest.mark.parametrize("directory", [False, True])
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_r3_a_failure_leaves_nothing_behind(tmp_path: Path, directory: bool, failure: type[BaseException]) -> None:
    place = tmp_path / "thing"
    for before in (None, "old"):
        if before:
            fill(place, directory, before)
        with pytest.raises(failure), publish(place) as temporary:  # noqa: PT012
            fill(temporary, directory, "half")
            raise failure
        assert set(read(place).values() if place.exists() else ()) == ({before} if before else set())
        assert list(tmp_path.iterdir()) == ([place] if before else [])


def test_r3_leftovers_of_a_killed_process_with_the_same_number_do_not_disturb(tmp_path: Path) -> None:
    leftover = tmp_path / f".thing.{os.getpid()}.tmp"
    leftover.mkdir()
    (leftover / "stale").touch()
    with publish(tmp_path / "thing") as temporary:
        temporary.mkdir()
    assert list((tmp_path / "thing").iterdir()) == []


@pytest.mark.parametrize("directory", [False, True])
def test_r3_everything_is_on_the_disk_before_the_rename_and_the_rename_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directory: bool
) -> None:
    place = tmp_path / "thing"
    fill(place, directory, "old")
    events: list[str] = []
    sync, replace, exchange = os.fsync, Path.replace, durability.exchange

    def watched_sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        events.append("sync " + path.relative_to(tmp_path).as_posix().replace(".thing.tmp", "TEMP"))
        sync(descriptor)

    def watched_replace(self: Path, target: Path) -> Path:
        events.append(f"publish {target.name}")
        return replace(self, target)

    def watched_exchange(one: Path, other: Path) -> bool:
        events.append(f"publish {other.name}")
        return exchange(one, other)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    monkeypatch.setattr(durability, "exchange", watched_exchange)
    with publish(place) as temporary:
        fill(temporary, directory, "new")
        assert events == []
    published = events.index("publish thing")
    inside = {"sync TEMP/a.txt", "sync TEMP/inner", "sync TEMP/inner/b.txt"} if directory else set()
    assert set(events[:published]) == {"sync TEMP", *inside}
    assert events[published + 1 :] == ["sync ."]


@pytest.mark.parametrize(
    ("number", "found"),
    [
        (errno.ENOSPC, "no space is left on the disk"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only; choose another place with --out"),
        (errno.EACCES, "permission denied"),
    ],
)
def test_r3_a_full_or_closed_disk_is_explained(tmp_path: Path, number: int, found: str) -> None:
    with pytest.raises(NeuronspecError, match=found), publish(tmp_path / "thing") as temporary:  # noqa: PT012
        temporary.touch()
        raise OSError(number, os.strerror(number))
    assert list(tmp_path.iterdir()) == []


def test_r3_a_full_disk_is_explained_where_a_library_says_so_in_words_only(tmp_path: Path) -> None:
    """Those of Rust: tokenizers raises the plainest exception that there is."""
    with pytest.raises(NeuronspecError, match="larger than allowed"), publish(tmp_path / "thing") as temporary:  # noqa: PT012
        temporary.mkdir()
        too_small = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, too_small[1]))
        try:
            Tokenizer(WordLevel({"<unk>": 0}, unk_token="<unk>")).save(str(temporary / "tokenizer.json"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, too_small)
    assert list(tmp_path.iterdir()) == []

    with pytest.raises(Exception, match="other"), publish(tmp_path / "thing"):
        raise Exception("other")


def test_a_file_in_the_way_is_explained_and_other_faults_are_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NeuronspecError, match="a part of this path is a file"):
        write_text(tmp_path / "file" / "thing", "x")
    with pytest.raises(OSError, match="Too many"), publish(tmp_path / "thing"):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@settings(max_examples=30)
@given(JSON)
def test_json_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    write_json(path, value)
    assert read_json(path) == value


@pytest.mark.parametrize(("text", "found"), [(None, "does not exist"), ("{", "is not valid JSON")])
def test_what_is_no_json_is_refused(tmp_path: Path, text: str | None, found: str) -> None:
    path = tmp_path / "value.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(NeuronspecError, match=rf"value\.json {found}"):
        read_json(path)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.randoms())
def test_the_hash_of_json_does_not_depend_on_the_order_of_keys(value: dict[str, object], random: object) -> None:
    assert hash_json(dict(reversed(list(value.items())))) == hash_json(value)
    assert hash_json({**value, "one more": 1}) != hash_json({**value, "one more": 2})


def test_the_hash_of_a_file_is_sha_256(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    # the example of FIPS 180-4
    assert hash_path(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_path(path) == hashlib.sha256(b"abc").hexdigest()


def test_the_hash_of_a_directory_sees_names_and_contents_and_not_where_it_lies(tmp_path: Path) -> None:
    for name in ("one", "two"):
        fill(tmp_path / name, True, "text")
    same = hash_path(tmp_path / "one")
    assert hash_path(tmp_path / "two") == same
    (tmp_path / "two" / "a.txt").rename(tmp_path / "two" / "c.txt")
    assert hash_path(tmp_path / "two") != same
    (tmp_path / "two" / "c.txt").rename(tmp_path / "two" / "a.txt")
    (tmp_path / "two" / "inner" / "b.txt").write_text("tex", encoding="utf-8")
    assert hash_path(tmp_path / "two") != same


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".thing.tmp").mkdir()
    (tmp_path / ".thing.tmp" / "half").write_text("written")
    write_text(tmp_path / "thing", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]


def test_what_is_neither_file_nor_directory_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), Path(), Path("/")):
        with pytest.raises(NeuronspecError, match="it is no place for a file; choose another"):
            write_text(path, "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    (tmp_path / "directory").mkdir()
    with pytest.raises(NeuronspecError, match="a directory is in its place"):
        write_text(tmp_path / "directory", "x")


def test_a_link_stays_and_what_it_points_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    (tmp_path / "link").symlink_to("file")
    write_text(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "after"


def test_files_in_a_published_directory_have_the_permissions_of_others(tmp_path: Path) -> None:
    with publish(tmp_path / "made") as temporary:
        (temporary / "deep").mkdir(parents=True)
        (temporary / "deep" / "file").touch(mode=0o600)
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "made" / "deep" / "file").stat().st_mode == plain.stat().st_mode


# CSV


@pytest.mark.parametrize(
    "text",
    [
        *("=1+1", "=cmd|' /C calc'!A1", "+1+1", "-1+1", "@SUM(A1)", " =1", "+ masks", "--5", "= 1", "-=1"),
        *("＝1", "＋1", "－1", "＠x", "-0.3=1", "+1,5", "-inf", "\u00a0=1"),
    ],
)
def test_a_csv_cell_is_no_formula(text: str) -> None:
    ((name, cell),) = csv.reader(io.StringIO(format_csv([["a", text]]), newline=""))
    assert name == "a"
    assert cell == f"'{text}"


@pytest.mark.parametrize(
    "value", ["-0.3", "+1.2", "-1e-5", "-.5", "-7", "de-en", "a=b", "", "x@y", "日本", "1-2", "'a", "-", "="]
)
def test_numbers_and_ordinary_text_stay_as_they_are_in_csv(value: str) -> None:
    assert format_csv([[value, -0.3, 5, None, "x"]]).startswith(f"{value},-0.3,5,,x")


@pytest.mark.parametrize("text", ["\t=1", "\r=1", "\n=1", "a\r\n=1", "a\x85=1", "\x00=1", "a\u2028b"])
def test_a_csv_cell_ends_no_row(text: str) -> None:
    written = format_csv([[text, "b"], ["c", "d"]])
    assert len(written.splitlines()) == 2
    assert not written.startswith(("=", "\t", "\r"))


def test_every_csv_file_is_made_in_one_place() -> None:
    source = Path(files.__file__).parent
    makers = [
        file.name for file in source.rglob("*.py") if re.search(r"csv\.(Dict)?[wW]riter", file.read_text("utf-8"))
    ]
    assert makers == ["files.py"]


# Links


@pytest.mark.parametrize(
    "target", ["../outside", "/etc", "../outside/file", "../missing", "deep/../../outside", "link"]
)
@pytest.mark.parametrize("place", ["link", "deep/link"])
def test_a_link_that_leads_out_of_results_is_refused(target: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("mine")
    (tmp_path / "run" / "deep").mkdir(parents=True)
    depth = "../" * place.count("/") if not target.startswith("/") else ""
    (tmp_path / "run" / place).symlink_to("link" if target == "link" else depth + target)
    with pytest.raises(NeuronspecError, match="link that leads out of"):
        refuse_links(tmp_path / "run")


def test_links_within_results_and_results_behind_a_link_are_fine(tmp_path: Path) -> None:
    (tmp_path / "run" / "deep").mkdir(parents=True)
    (tmp_path / "run" / "file").write_text("x")
    (tmp_path / "run" / "deep" / "link").symlink_to("../file")
    (tmp_path / "run" / "absolute").symlink_to(tmp_path / "run" / "deep")
    (tmp_path / "elsewhere").symlink_to("run")
    for directory in ("run", "elsewhere", "missing"):
        refuse_links(tmp_path / directory)


@pytest.mark.parametrize("ending", ["tmp", "old"])
def test_a_link_in_the_place_of_a_temporary_directory_is_removed_and_not_followed(ending: str, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("mine")
    (tmp_path / "made").mkdir()
    (tmp_path / f".made.{ending}").symlink_to("outside")
    with publish(tmp_path / "made") as temporary:
        temporary.mkdir()
    assert (tmp_path / "outside" / "file").read_text() == "mine"
    assert {entry.name for entry in tmp_path.iterdir()} == {"outside", "made"}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="without /proc, nothing is such a place")
def test_a_place_where_the_system_makes_no_folders_is_refused() -> None:
    with pytest.raises(NeuronspecError, match="cannot write /proc/none/run: no folder can be made there"):
        write_text(Path("/proc/none/run"), "x")
