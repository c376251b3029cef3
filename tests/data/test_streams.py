import bz2
import contextlib
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuronspec.data.streams import exists, open_bytes, read_lines
from neuronspec.errors import NeuronspecError
from neuronspec.reading_limits import LINE

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
}
PACKED = [suffix for suffix in COMPRESS if suffix]

# any text but for what may be taken for the end of a line or the mark of a file
lines_of_text = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\ufeff"), max_size=30),
    max_size=20,
)


@pytest.mark.parametrize("suffix", COMPRESS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)
@given(lines=lines_of_text, end=st.sampled_from(["\n", "\r\n"]), last=st.booleans(), mark=st.booleans())
def test_lines_survive_every_compression(
    tmp_path: Path, suffix: str, lines: list[str], end: str, last: bool, mark: bool
) -> None:
    text = "".join(line + end for line in lines)
    if lines and lines[-1] and not last:
        text = text.removesuffix(end)
    path = tmp_path / f"text{suffix}"
    path.write_bytes(COMPRESS[suffix]((b"\xef\xbb\xbf" if mark and text else b"") + text.encode()))
    assert list(read_lines(path)) == lines


@pytest.mark.parametrize("suffix", PACKED)
def test_concatenated_parts_are_read_to_the_end(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_bytes(COMPRESS[suffix](b"one\nt") + COMPRESS[suffix](b"wo\nthree\n"))
    assert list(read_lines(path)) == ["one", "two", "three"]


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("keep", [0, 1, 20, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, keep: int) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_bytes(COMPRESS[suffix]("".join(f"line {i}\n" for i in range(500)).encode())[:keep])
    with pytest.raises(NeuronspecError, match=f"text{suffix} is damaged or truncated"):
        list(read_lines(path))


def test_text_that_is_not_utf8_is_named_by_line_byte_and_column(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"fine\n\xc3\xa4 x\xdcber\n")
    with pytest.raises(NeuronspecError, match=r"text:2 is not UTF-8 \(byte 0xdc at column 4\).*iconv"):
        list(read_lines(path))


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("kind", COMPRESS)
def test_compression_is_told_by_the_content_whatever_the_name(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"text{suffix}"
    lines = [f"line {number}, one of some that nobody cares for" for number in range(50)]
    path.write_bytes(COMPRESS[kind]("".join(f"{line}\n" for line in lines).encode()))
    assert list(read_lines(path)) == lines


@pytest.mark.parametrize("text", ["BZh", "BZhang", "BZh9 is how bzip2 begins", "(", "P*M", "7zXZ", "PK", "\x1f"])
def test_text_that_begins_like_a_compressed_file_is_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "text"
    path.write_text(f"{text} and more of it\n")
    assert list(read_lines(path)) == [f"{text} and more of it"]


def test_a_zstandard_file_may_begin_with_a_frame_to_skip(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"\x50\x2a\x4d\x18\x02\x00\x00\x00ab" + COMPRESS[".zst"](b"one\ntwo\n"))
    assert list(read_lines(path)) == ["one", "two"]


@pytest.mark.parametrize("outer", PACKED)
def test_a_file_that_is_compressed_twice_is_refused(tmp_path: Path, outer: str) -> None:
    path = tmp_path / f"text{outer}"
    path.write_bytes(COMPRESS[outer](gzip.compress(b"one\n")))
    with pytest.raises(NeuronspecError, match=r"text\S+ is compressed twice \(gzip within .*unpack it once"):
        list(read_lines(path))


def test_an_archive_is_refused_with_what_to_write_instead(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("a.txt", "one\n")
    with tarfile.open(tmp_path / "t.tgz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
    with pytest.raises(NeuronspecError, match=r"t\.zip is a zip archive; name a file in it: \S*t\.zip!MEMBER"):
        list(read_lines(tmp_path / "t.zip"))
    with pytest.raises(NeuronspecError, match=r"t\.tgz is a tar archive; unpack it"):
        list(read_lines(tmp_path / "t.tgz"))


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_member_of_a_zip_archive_is_read_like_a_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("de/a!b.txt", COMPRESS[kind](b"eins\nzwei\n"))
    assert list(read_lines(f"{path}!de/a!b.txt")) == ["eins", "zwei"]
    assert exists(f"{path}!de/a!b.txt")
    assert not exists(f"{path}!de/b.txt")
    assert not exists(f"{tmp_path}/none.zip!a")
    with pytest.raises(NeuronspecError, match=r"t\.zip holds no file de/a!c\.txt \(did you mean"):
        list(read_lines(f"{path}!de/a!c.txt"))
    with pytest.raises(NeuronspecError, match=r"none\.zip does not exist"):
        list(read_lines(f"{tmp_path}/none.zip!a"))


def test_a_damaged_or_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "eins\n" * 100)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"eins", b"zwei", 1))
    with pytest.raises(NeuronspecError, match=r"t\.zip!a\.txt is damaged or truncated \(Bad CRC"):
        list(read_lines(f"{path}!a.txt"))
    local, central = raw.index(b"PK\x03\x04") + 6, raw.index(b"PK\x01\x02") + 8
    path.write_bytes(raw[:local] + b"\x01" + raw[local + 1 : central] + b"\x01" + raw[central + 1 :])
    with pytest.raises(NeuronspecError, match=r"cannot read \S*t\.zip!a\.txt: .*password.*unpack"):
        list(read_lines(f"{path}!a.txt"))


def test_a_file_whose_name_looks_like_a_member_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.zip!b").write_text("one\n")
    assert list(read_lines(tmp_path / "a.zip!b")) == ["one"]


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        ("\ufeffGuten Tag".encode("utf-16-le"), "UTF-16"),
        ("\ufeffGuten Tag".encode("utf-16-be"), "UTF-16"),
        ("\ufeffGuten Tag".encode("utf-32-le"), "UTF-32"),
        ("\ufeffGuten Tag".encode("utf-32-be"), "UTF-32"),
        ("Guten Tag\n".encode("utf-16-le"), "UTF-16LE"),
        ("Guten Tag\n".encode("utf-16-be"), "UTF-16BE"),
    ],
)
def test_wide_text_is_refused_with_its_encoding(tmp_path: Path, raw: bytes, encoding: str) -> None:
    path = tmp_path / "text"
    path.write_bytes(raw)
    with pytest.raises(NeuronspecError, match=rf"text:1 is not UTF-8 but {encoding}; .*iconv -f {encoding} -t UTF-8"):
        list(read_lines(path))


@pytest.mark.parametrize("name", ["", "folder", "a\0b", "x" * 300])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(NeuronspecError, match=r"cannot read .*: (Is a directory|File name too long)|holds a NUL"):
        list(read_lines(f"{tmp_path}/{name}"))


def test_zero_bytes_within_text_are_text(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a\0b\n\0\n")
    assert list(read_lines(path)) == ["a\0b", "\0"]


def test_a_line_without_end_is_refused_before_memory_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LINE.largest > 10_000_000  # a line of 10 MB is odd, and no reason to stop
    monkeypatch.setenv(LINE.variable, str(1 << 20))
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(b"one\n" + b"a" * (3 << 20)))
    lines = read_lines(path)
    assert next(lines) == "one"
    with pytest.raises(NeuronspecError, match=r"text\.gz:2 is longer than 1 MiB"):
        next(lines)


@pytest.mark.parametrize("suffix", COMPRESS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(data=st.binary(max_size=40), cut=st.integers(0, 40))
def test_any_bytes_are_read_or_refused(tmp_path: Path, suffix: str, data: bytes, cut: int) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_bytes(COMPRESS[suffix](data)[:cut])
    with contextlib.suppress(NeuronspecError), open_bytes(path) as stream:
        stream.read()
