import gzip
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuronspec.data.corpora import read_pairs
from neuronspec.errors import NeuronspecError

UNITS = """\
<tu tuid="1"><prop type="x">no text</prop>
  <tuv xml:lang="en"><seg>Good morning &amp; welcome</seg></tuv>
  <tuv xml:lang="de"><note>no text</note><seg>Guten Morgen &amp; willkommen &#252;berall</seg></tuv>
</tu>
<tu><tuv xml:lang="en"><seg>Alone</seg></tuv></tu>
<tu><tuv xml:lang="de"><seg>Zwei</seg></tuv><tuv xml:lang="fr"><seg>Deux</seg></tuv>
  <tuv xml:lang="en"><seg>Two</seg></tuv></tu>
"""
EXPECTED = [("Good morning & welcome", "Guten Morgen & willkommen überall"), ("Two", "Zwei")]


def build(units: str = UNITS, doctype: str = "", encoding: str = "UTF-8", root: str = 'tmx version="1.4"') -> str:
    return (
        f'<?xml version="1.0" encoding="{encoding}"?>\n{doctype}<!-- a comment --><{root}>'
        f'<header srclang="en" datatype="plaintext"/><body>{units}</body></{root.split()[0]}>\n'
    )


def unit(**texts: str) -> str:
    variants = "".join(
        f'<tuv xml:lang="{code.replace("_", "-")}"><seg>{text}</seg></tuv>' for code, text in texts.items()
    )
    return f"<tu>{variants}</tu>"


def read(path: Path | str, source: str = "en", target: str = "de") -> list[tuple[str, str]]:
    return [(pair.source, pair.target) for pair in read_pairs(str(path), source, target)]


def test_a_translation_memory_is_read_in_order_and_either_way(tmp_path: Path) -> None:
    (tmp_path / "all.tmx").write_text(build(), encoding="utf-8")
    assert read(tmp_path / "all.tmx") == EXPECTED
    assert read(tmp_path / "all.tmx", "de", "en") == [(target, source) for source, target in EXPECTED]
    assert read(tmp_path / "all.tmx", "fr", "de") == [("Deux", "Zwei")]
    places = [pair.place for pair in read_pairs(f"{tmp_path}/all.tmx", "en", "de")]
    assert places == [f"{tmp_path}/all.tmx:unit 1", f"{tmp_path}/all.tmx:unit 3"]


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16", "ISO-8859-1", "windows-1252"])
def test_the_encoding_is_what_the_file_declares(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "all.tmx").write_bytes(build(unit(en="Size", de="Größe"), encoding=encoding).encode(encoding))
    assert read(tmp_path / "all.tmx") == [("Size", "Größe")]


def test_a_memory_may_be_compressed_in_an_archive_or_called_anything(tmp_path: Path) -> None:
    raw = build().encode()
    (tmp_path / "de-en.tmx.gz").write_bytes(gzip.compress(raw))
    (tmp_path / "export.xml").write_bytes(build(encoding="UTF-16").encode("utf-16"))
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("all.tmx", raw)
    for path in ("{src}-{tgt}.tmx.gz", "export.xml", "t.zip!all.tmx"):
        assert read(tmp_path / path) == EXPECTED, path


@pytest.mark.parametrize(
    ("spelled", "asked"),
    [("DE", "de"), ("de-DE", "de"), ("DE-AT", "de"), ("deu", "de"), ("de", "deu_Latn"), ("ger", "de"), ("de_CH", "de")],
)
def test_languages_are_found_in_any_spelling(tmp_path: Path, spelled: str, asked: str) -> None:
    units = f'<tu><tuv lang="EN-GB"><seg>One</seg></tuv><tuv xml:lang="{spelled}"><seg>Eins</seg></tuv></tu>'
    (tmp_path / "all.tmx").write_text(build(units, root='tmx xmlns="http://www.lisa.org/tmx14"'))
    assert read(tmp_path / "all.tmx", "en", asked) == [("One", "Eins")]


def test_of_several_texts_in_a_language_the_nearest_variant_counts_then_the_first(tmp_path: Path) -> None:
    units = unit(en_GB="Colour", en_US="Color", de="Farbe") + (
        '<tu><tuv xml:lang="en"><seg>Yes</seg></tuv><tuv xml:lang="en"><seg>Yeah</seg></tuv>'
        '<tuv xml:lang="de"><seg>Ja</seg></tuv></tu>'
    )
    (tmp_path / "all.tmx").write_text(build(units))
    assert read(tmp_path / "all.tmx", "en-US", "de") == [("Color", "Farbe"), ("Yes", "Ja")]
    assert read(tmp_path / "all.tmx", "en-GB", "de") == [("Colour", "Farbe"), ("Yes", "Ja")]


def test_a_script_is_never_taken_for_another(tmp_path: Path) -> None:
    (tmp_path / "all.tmx").write_text(build(unit(en="One", zh_TW="一個", sr_Latn="Jedan")))
    for code in ("zh-Hans", "sr"):
        with pytest.raises(
            NeuronspecError, match=rf"all\.tmx has no unit with texts in en and {code}; its languages: en, sr"
        ):
            read(tmp_path / "all.tmx", "en", code)


def test_codes_of_the_original_format_go_and_the_text_between_them_stays(tmp_path: Path) -> None:
    segment = (
        'Click <bpt i="1">&lt;b&gt;</bpt><hi type="b">here <hi>and</hi></hi><ept i="1">&lt;/b&gt;</ept> now'
        '<ph>{0}<sub>title</sub></ph>,<it pos="begin">&lt;i></it> please<ut>x</ut><!-- no --><?no?>.'
    )
    (tmp_path / "all.tmx").write_text(build(unit(en=segment, de="Hier")))
    assert read(tmp_path / "all.tmx") == [("Click here and now, please.", "Hier")]


def test_a_unit_without_a_segment_is_left_out(tmp_path: Path) -> None:
    units = f'<tu/><tu><tuv xml:lang="en"/><tuv><seg>x</seg></tuv></tu>{unit(en="One", de="Eins")}{unit(en="", de="")}'
    (tmp_path / "all.tmx").write_text(build(units))
    assert read(tmp_path / "all.tmx") == [("One", "Eins"), ("", "")]


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "ha" * 10}">' for n in range(10))


@pytest.mark.parametrize(
    "declared",
    [
        LAUGHS,
        '<!ENTITY l9 SYSTEM "file:///etc/hostname">',
        '<!ENTITY l9 "harmless">',
        '<!ENTITY % l9 SYSTEM "file:///etc/hostname">%l9;',
    ],
    ids=["billion laughs", "external", "internal", "parameter"],
)
@pytest.mark.parametrize("place", ["<seg>&l9;</seg>", "<seg>x</seg>"])
def test_a_file_that_declares_entities_is_refused(tmp_path: Path, declared: str, place: str) -> None:
    units = f'<tu><tuv xml:lang="en">{place}</tuv><tuv xml:lang="de"><seg>x</seg></tuv></tu>'
    (tmp_path / "all.tmx").write_text(build(units, f"<!DOCTYPE tmx [{declared}]>"))
    with pytest.raises(
        NeuronspecError, match=r"all\.tmx (declares the entity 'l\d', which is not read|is not well-formed)"
    ):
        read(tmp_path / "all.tmx")


def test_neither_disk_nor_network_is_asked_for_a_document_type(tmp_path: Path) -> None:
    (tmp_path / "tmx14.dtd").write_text('<!ENTITY secret "from the disk">')
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        port = server.getsockname()[1]
        for place in ("tmx14.dtd", f"http://127.0.0.1:{port}/tmx14.dtd"):
            (tmp_path / "all.tmx").write_text(build(doctype=f'<!DOCTYPE tmx SYSTEM "{place}">'))
            assert read(tmp_path / "all.tmx") == EXPECTED
            (tmp_path / "all.tmx").write_text(build(unit(en="&secret;", de="x"), f'<!DOCTYPE tmx SYSTEM "{place}">'))
            with pytest.raises(NeuronspecError, match=r"all\.tmx uses the entity &secret;, which it does not declare"):
                read(tmp_path / "all.tmx")
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (build()[:-20], r"is not well-formed XML .*fetch it again"),
        (build("<tu>"), r"is not well-formed XML"),
        (build(unit(en="&nbsp;", de="x")), r"is not well-formed XML"),
        ("no XML", r"is not well-formed XML"),
        ("", r"is no TMX"),
        (build(root="xliff"), r"is no TMX: it has no element <tmx>"),
        (build(""), r"has no unit with texts in en and de; its languages: none"),
    ],
)
def test_what_is_no_sound_memory_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "all.tmx").write_text(content)
    with pytest.raises(NeuronspecError, match=rf"all\.tmx {message}"):
        read(tmp_path / "all.tmx")


def test_a_large_file_of_another_kind_does_not_fill_memory(tmp_path: Path) -> None:
    (tmp_path / "all.tmx").write_text("<dump>" + "<row>text</row>" * 200_000 + "</dump>")
    with pytest.raises(NeuronspecError, match=r"is no TMX"):
        read(tmp_path / "all.tmx")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory in use is read as Linux tells it")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    head, tail = build("|").split("|")
    path = tmp_path / "all.tmx.gz"
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write(head)
        for number in range(30_000):
            file.write(
                f"  <!-- {number} -->\n  {unit(en=f'This is sentence {number}.', de=f'Das ist Satz {number}.')}\n"
            )
        file.write(tail)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from neuronspec.data.corpora import read_pairs\n"
        "def used(): return int(Path('/proc/self/statm').read_text().split()[1])\n"
        "sizes = [used() for number, _ in enumerate(read_pairs(sys.argv[1], 'en', 'de')) if number % 1000 == 0]\n"
        "print(len(sizes), max(sizes) - sizes[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    thousands, pages = map(int, done.stdout.split())
    assert thousands == 30
    assert pages < 1_000, "4 MB; the file has 5 MB, its tree several times as much"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(place=st.integers(0, len(build())), cut=st.integers(0, 40), data=st.binary(max_size=20))
def test_a_mangled_file_is_read_or_refused(tmp_path: Path, place: int, cut: int, data: bytes) -> None:
    raw = build().encode()
    (tmp_path / "all.tmx").write_bytes(raw[:place] + data + raw[place + cut :])
    try:
        pairs = read(tmp_path / "all.tmx")
    except NeuronspecError:
        return
    assert all(isinstance(text, str) for pair in pairs for text in pair)
