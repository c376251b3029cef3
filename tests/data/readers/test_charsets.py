import codecs
import contextlib
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.data.corpora import read_pairs
from neuronspec.data.readers.charsets import find_charset
from neuronspec.errors import NeuronspecError

TEXTS = {
    "KOI8-R": "Открыть файл",
    "koi8-u": "Відкрити ґратку",
    "CP1251": "Открыть файл",
    "windows-1251": "Открыть файл",
    "ISO-8859-15": "Ça coûte 5 €",
    "iso-8859-1": "Größe ändern",
    "ISO-8859-2": "Otevřít soubor",
    "EUC-JP": "ファイルを開く",
    "Shift_JIS": "表示を開く",  # the second byte of 表 is a backslash
    "Big5": "開啟功能檔案",  # so is that of 功
    "GB2312": "打开文件",
    "GBK": "開啟文件",
    "GB18030": "打开文件",
    "EUC-KR": "파일 열기",
    "TIS-620": "เปิดแฟ้ม",
    "utf8": "Открыть 📁",
    "UTF-8": "Открыть 📁",
}


def write_po(
    charset: str, text: str, header: str = 'msgid ""\nmsgstr "Content-Type: text/plain; charset={}\\n"'
) -> bytes:
    return f'{header.format(charset)}\n\nmsgid "Open"\nmsgstr "{text}"\n'.encode(charset)


def read(folder: Path, raw: bytes) -> list[str]:
    (folder / "xx.po").write_bytes(raw)
    return [pair.target for pair in read_pairs(f"{folder}/{{lang}}.po", "en", "xx")]


@pytest.mark.parametrize("charset", TEXTS)
def test_a_catalog_is_read_in_the_charset_that_it_declares(tmp_path: Path, charset: str) -> None:
    assert read(tmp_path, write_po(charset, TEXTS[charset])) == [TEXTS[charset]]


@pytest.mark.parametrize(
    "header",
    [
        '# Перевод\n#\n#, fuzzy\nmsgid ""\nmsgstr ""\n"Project-Id-Version: x\\n"\n'
        '"Content-Type: text/plain; charset={}\\n"',
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; "\n"charset={}\\n"\n"X: y\\n"',
        'msgid ""\n""\nmsgstr "Content-Type: text/plain; charset={}"',
        'msgid ""\r\nmsgstr ""\r\n"X-Said: \\"so\\"\\n"\r\n"Content-Type: text/plain; Charset={}\\n"\r',
        'msgid "Earlier"\nmsgstr ""\n\nmsgid ""\n"in two "\n"lines"\nmsgstr ""\n\n'
        'msgid ""\nmsgstr "Content-Type: text/plain; charset={}\\n"',
        '# charset=UTF-8\n#~ msgid ""\n#~ msgstr "charset=UTF-8\\n"\n\nmsgctxt "c"\nmsgid ""\n'
        'msgstr "charset=UTF-8"\n\n'
        'msgid "" \n msgstr "Content-Type: text/plain; charset={}\\n"',
    ],
    ids=["comments", "two strings", "end of header", "CRLF", "not first", "false headers"],
)
def test_the_header_is_found_wherever_gettext_finds_it(tmp_path: Path, header: str) -> None:
    assert read(tmp_path, write_po("KOI8-R", "Открыть", header)) == ["Открыть"]


@pytest.mark.parametrize(
    "header",
    [
        "# no header",
        'msgid ""\nmsgstr ""',
        'msgid ""\nmsgstr "Language: ru\\n"',
        'msgid ""\nmsgstr "Content-Type: text/plain; charset=CHARSET\\n"',
        'msgid ""\nmsgstr "Content-Type: text/plain; charset=\\n"',
        'msgid ""\nmsgstr "Content-Type: text/plain; charset=ASCII\\n"',
    ],
)
def test_without_a_declared_charset_a_catalog_is_utf8(tmp_path: Path, header: str) -> None:
    assert read(tmp_path, write_po("UTF-8", "Открыть", header)) == ["Открыть"]
    with pytest.raises(NeuronspecError, match=r"xx\.po:\d is not UTF-8 \(byte 0x.*iconv"):
        read(tmp_path, write_po("KOI8-R", "Открыть", header))


def test_a_byte_order_mark_means_utf8_whatever_the_header_says(tmp_path: Path) -> None:
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=KOI8-R\\n"'
    assert read(tmp_path, codecs.BOM_UTF8 + write_po("UTF-8", "Открыть", header)) == ["Открыть"]


@pytest.mark.parametrize(
    "charset", ["KOI9", "rot13", "hex", "utf-7", "utf-16", "unicode_escape", "idna", "cp037", "../x", "a\\tb"]
)
def test_an_unknown_charset_is_refused_by_name(tmp_path: Path, charset: str) -> None:
    header = f'msgid ""\nmsgstr "Content-Type: text/plain; charset={charset}\\n"'
    with pytest.raises(NeuronspecError, match=r"xx\.po declares the charset '.*', which is unknown here; .*msgconv"):
        read(tmp_path, write_po("UTF-8", "Открыть", header))


def test_text_that_is_not_in_the_declared_charset_is_named_by_line(tmp_path: Path) -> None:
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=EUC-JP\\n"'
    with pytest.raises(NeuronspecError, match=r"xx\.po:5 is not euc_jp \(byte 0x.. at column 9\), though .* declares"):
        read(tmp_path, write_po("KOI8-R", "Ы", header))


def test_a_catalog_in_an_archive_follows_its_header_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("locale/ru.po", write_po("KOI8-R", "Открыть"))
        archive.writestr("locale/de.po", write_po("ISO-8859-15", "Öffnen"))
    pairs = list(read_pairs(f"{tmp_path}/t.zip!locale/{{lang}}.po", "de", "ru"))
    assert [(pair.source, pair.target) for pair in pairs] == [("Öffnen", "Открыть")]


@given(st.binary(max_size=200) | st.text('msgidstrctx"\\\n\r #~charset=K-8', max_size=200).map(str.encode))
def test_any_bytes_have_a_charset_or_are_refused(raw: bytes) -> None:
    with contextlib.suppress(NeuronspecError):
        assert raw.decode(find_charset(raw, "x.po"), errors="replace") or not raw
