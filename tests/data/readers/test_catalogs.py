import contextlib
import json
import struct
import zipfile
from pathlib import Path

import polib
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuronspec.data.corpora import read_pairs
from neuronspec.errors import NeuronspecError

GERMAN = """\
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\n"

#: main.c:1
msgid "Open"
msgstr "Öffnen"

msgctxt "adjective"
msgid "Open"
msgstr "Offen"

#, fuzzy
msgid "Close"
msgstr "Beinahe"

msgid "Empty"
msgstr ""

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d Datei"
msgstr[1] "%d Dateien"

msgid ""
"Save\\n"
"all"
msgstr "Alles\\nsichern"

#~ msgid "Old"
#~ msgstr "Alt"
"""
FRENCH = """\
msgctxt "adjective"
msgid "Open"
msgstr "Ouvert"

msgid "Save\\nall"
msgstr "Tout enregistrer"

msgid "Quit"
msgstr "Quitter"
"""


def texts(template: str | Path, source: str, target: str) -> list[tuple[str, str]]:
    return [(pair.source, pair.target) for pair in read_pairs(str(template), source, target)]


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def write_zip(path: Path, members: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)


def build_mo(messages: dict[str, str], charset: str = "UTF-8", order: str = "<") -> bytes:
    """Write the format by the book (the GNU gettext manual, 10.3), so that no library tests itself."""
    header = {"": f"Content-Type: text/plain; charset={charset}\n"}
    items = sorted((key.encode(charset), text.encode(charset)) for key, text in {**header, **messages}.items())
    offset, table, strings = 28 + 16 * len(items), [b"", b""], b""
    for side in (0, 1):
        for item in items:
            table[side] += struct.pack(order + "2I", len(item[side]), offset + len(strings))
            strings += item[side] + b"\0"
    sizes = (0x950412DE, 0, len(items), 28, 28 + 8 * len(items), 0, 28)
    return struct.pack(order + "7I", *sizes) + table[0] + table[1] + strings


def test_only_finished_messages_are_read_in_order_and_either_way(tmp_path: Path) -> None:
    write(tmp_path / "de.po", GERMAN)
    expected = [("Open", "Öffnen"), ("Save\nall", "Alles\nsichern"), ("Open", "Offen")]
    assert texts(tmp_path / "{lang}.po", "en", "de") == expected
    assert texts(tmp_path / "{lang}.po", "de", "en") == [(target, source) for source, target in expected]


def test_a_place_names_file_and_message(tmp_path: Path) -> None:
    write(tmp_path / "de.po", GERMAN)
    places = [pair.place for pair in read_pairs(f"{tmp_path}/{{lang}}.po", "en", "de")]
    assert places == [f"{tmp_path}/de.po:{key}" for key in ("Open", "Save all", "adjective.Open")]


def test_two_catalogs_are_aligned_by_their_english_text_and_context(tmp_path: Path) -> None:
    write(tmp_path / "de.po", GERMAN)
    write(tmp_path / "fr.po", FRENCH)
    assert texts(tmp_path / "{lang}.po", "de", "fr") == [
        ("Alles\nsichern", "Tout enregistrer"),
        ("Offen", "Ouvert"),
    ]


@pytest.mark.parametrize("spelling", ["pt_BR", "pt-BR"])
@pytest.mark.parametrize("code", ["pt_BR", "pt-BR"])
def test_a_region_may_be_spelled_either_way(tmp_path: Path, code: str, spelling: str) -> None:
    write(tmp_path / f"{spelling}.po", 'msgid "Open"\nmsgstr "Abrir"\n')
    assert texts(tmp_path / "{lang}.po", "en", code) == [("Open", "Abrir")]


def test_british_english_is_a_catalog_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "en_GB.po", 'msgid "Color"\nmsgstr "Colour"\n')
    assert texts(tmp_path / "{lang}.po", "en", "en_GB") == [("Color", "Colour")]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("charset", ["UTF-8", "ISO-8859-1"])
def test_compiled_catalogs_are_read_in_the_charset_they_declare(tmp_path: Path, order: str, charset: str) -> None:
    messages = {"Open": "Öffnen", "adjective\x04Open": "Offen", "file\0files": "Datei\0Dateien", "Void": ""}
    write(tmp_path / "de/LC_MESSAGES/app.mo", build_mo(messages, charset, order))
    template = tmp_path / "{lang}" / "LC_MESSAGES" / "*.mo"
    assert texts(template, "en", "de") == [("Open", "Öffnen"), ("Open", "Offen")]


def test_compiled_by_polib_reads_the_same_as_its_source(tmp_path: Path) -> None:
    write(tmp_path / "de.po", GERMAN)
    polib.pofile(str(tmp_path / "de.po")).save_as_mofile(str(tmp_path / "de.mo"))
    assert texts(tmp_path / "{lang}.mo", "en", "de") == texts(tmp_path / "{lang}.po", "en", "de")


def test_a_glob_reads_every_file_in_sorted_order(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write(tmp_path / f"de/{name}.po", f'msgid "{name}"\nmsgstr "de {name}"\n')
    write(tmp_path / "fr/b.po", 'msgid "b"\nmsgstr "fr b"\n')
    assert [source for source, _ in texts(tmp_path / "{lang}" / "*.po", "en", "de")] == ["a", "b", "c"]
    assert texts(tmp_path / "{lang}" / "*.po", "de", "fr") == [("de b", "fr b")]


def test_unusual_line_breaks_belong_to_the_message(tmp_path: Path) -> None:
    write(tmp_path / "de.po", 'msgid "a\u2028b"\nmsgstr "c\x0cd\x85e"\n')
    assert texts(tmp_path / "{lang}.po", "en", "de") == [("a b", "c d e")]


def catalogs(folder: str = "") -> dict[str, str]:
    return {
        f"{folder}lights/translations/en.json": json.dumps(
            {
                "b": "Off",
                "a": {"x": "On", "deep": {"er": "Dim"}},
                "only": "x",
                "n": 3,
                "list": ["x"],
                "void": "",
            }
        ),
        f"{folder}lights/translations/pt-BR.json": json.dumps(
            {
                "a": {"deep": {"er": "Fraco"}, "x": "Ligado"},
                "b": "Desligado",
                "n": 3,
                "list": ["y"],
                "void": "v",
            }
        ),
        f"{folder}doors/translations/en.json": json.dumps({"open": "Open"}),
        f"{folder}doors/translations/pt-BR.json": json.dumps({"open": "Aberto"}),
        f"{folder}doors/other/pt-BR.json": json.dumps({"open": "Wrong"}),
        f"{folder}lonely/translations/pt-BR.json": json.dumps({"open": "Aberto"}),
    }


EXPECTED = [("Open", "Aberto"), ("Dim", "Fraco"), ("On", "Ligado"), ("Off", "Desligado")]


@pytest.mark.parametrize("code", ["pt_BR", "pt-BR"])
def test_json_catalogs_are_aligned_by_file_and_key(tmp_path: Path, code: str) -> None:
    for name, text in catalogs().items():
        write(tmp_path / name, text)
    template = tmp_path / "*" / "translations" / "{lang}.json"
    assert texts(template, "en", code) == EXPECTED
    assert texts(template, code, "en") == [(target, source) for source, target in EXPECTED]


@pytest.mark.parametrize("glob", ["package/*/translations", "**/translations", "package/[!z]*/translation?"])
def test_an_archive_reads_like_the_directory_in_it(tmp_path: Path, glob: str) -> None:
    write_zip(tmp_path / "some.whl", catalogs("package/"))
    pairs = list(read_pairs(f"{tmp_path}/some.whl!{glob}/{{lang}}.json", "en", "pt_BR"))
    assert [(pair.source, pair.target) for pair in pairs] == EXPECTED
    assert pairs[1].place == f"{tmp_path}/some.whl!package/lights/translations/pt-BR.json:a.deep.er"


def test_an_archive_may_hold_gettext_catalogs(tmp_path: Path) -> None:
    write_zip(tmp_path / "some.whl", {"app/locale/de/app.po": GERMAN, "app/locale/fr/app.po": FRENCH})
    assert len(texts(f"{tmp_path}/some.whl!app/locale/{{lang}}/*.po", "en", "de")) == 3
    assert len(texts(f"{tmp_path}/some.whl!app/locale/{{lang}}/*.po", "fr", "de")) == 2


def test_an_exclamation_mark_may_belong_to_a_name(tmp_path: Path) -> None:
    write(tmp_path / "wow!" / "de.po", GERMAN)
    write_zip(tmp_path / "wow!" / "some.whl", {"app!/de.po": GERMAN})
    assert len(texts(tmp_path / "wow!" / "{lang}.po", "en", "de")) == 3
    assert len(texts(f"{tmp_path}/wow!/some.whl!app!/{{lang}}.po", "en", "de")) == 3


def test_an_archive_for_each_language(tmp_path: Path) -> None:
    write_zip(tmp_path / "en.zip", {"ui.json": '{"a": "On"}'})
    write_zip(tmp_path / "de.zip", {"ui.json": '{"a": "An"}'})
    assert texts(f"{tmp_path}/{{lang}}.zip!*.json", "en", "de") == [("On", "An")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=50)
@given(st.dictionaries(st.text(max_size=4), st.text(min_size=1, max_size=8), max_size=8), st.integers(0, 3))
def test_every_shared_key_gives_one_pair(tmp_path: Path, side: dict[str, str], depth: int) -> None:
    english: object = side
    foreign: object = {key: text[::-1] for key, text in side.items()}
    for _ in range(depth):
        english, foreign = {"x": english}, {"x": foreign, "y": "alone"}
    write(tmp_path / "en.json", json.dumps(english))
    write(tmp_path / "de.json", json.dumps(foreign))
    assert texts(tmp_path / "{lang}.json", "en", "de") == [(side[key], side[key][::-1]) for key in sorted(side)]


MO = build_mo({"Open": "Öffnen", "Close": "Schließen"})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=100)
@given(st.integers(0, len(MO) - 1))
def test_a_truncated_compiled_catalog_is_refused(tmp_path: Path, length: int) -> None:
    write(tmp_path / "de.mo", MO[:length])
    with pytest.raises(NeuronspecError, match=r"de\.mo is not a sound catalog"):
        texts(tmp_path / "{lang}.mo", "en", "de")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=100)
@given(st.integers(0, len(MO) - 1), st.integers(0, 255))
def test_a_mangled_compiled_catalog_is_read_or_refused(tmp_path: Path, index: int, byte: int) -> None:
    write(tmp_path / "de.mo", MO[:index] + bytes([byte]) + MO[index + 1 :])
    with contextlib.suppress(NeuronspecError):
        assert len(texts(tmp_path / "{lang}.mo", "en", "de")) <= 3  # the header may become a message


def test_a_broken_catalog_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "de.po", 'msgid "Open"\nmsgstr "Offen"\nand then garbage\n')
    with pytest.raises(NeuronspecError, match=r"de\.po is not a sound catalog"):
        texts(tmp_path / "{lang}.po", "en", "de")


@pytest.mark.parametrize("name", ["de.po", "de.json"])
def test_a_catalog_that_is_not_utf8_is_named_by_line(tmp_path: Path, name: str) -> None:
    write(tmp_path / "en.json", "{}")
    write(tmp_path / name, "{\n \u00f6}".encode("latin-1"))
    with pytest.raises(NeuronspecError, match=rf"{name}:2 is not UTF-8 \(byte 0xf6 at column 2\)"):
        texts(tmp_path / name.replace("de", "{lang}"), "en", "de")


def test_broken_json_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "en.json", '{"a": "On"}')
    write(tmp_path / "de.json", '{"a": ')
    with pytest.raises(NeuronspecError, match=r"de\.json is not valid JSON"):
        texts(tmp_path / "{lang}.json", "en", "de")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    members = {"en.json": '{"a": "On"}', "de.json": json.dumps({str(i): "An" * i for i in range(99)})}
    write_zip(tmp_path / "some.whl", members)
    whole = (tmp_path / "some.whl").read_bytes()
    (tmp_path / "cut.whl").write_bytes(whole[:-30])
    with pytest.raises(NeuronspecError, match=r"cut\.whl is not a sound zip archive"):
        texts(f"{tmp_path}/cut.whl!{{lang}}.json", "en", "de")
    middle = whole.index(b"de.json") + 40
    (tmp_path / "bad.whl").write_bytes(whole[:middle] + b"\xff" * 8 + whole[middle + 8 :])
    with pytest.raises(NeuronspecError, match=r"bad\.whl!de\.json is damaged"):
        texts(f"{tmp_path}/bad.whl!{{lang}}.json", "en", "de")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("some.whl!ui/{lang}.json", r"some\.whl holds no file ui/en\.json \(did you mean 'ui2/en\.json'\?\)"),
        ("none.whl!ui/{lang}.json", r"none\.whl does not exist \(did you mean 'some\.whl'\?\)"),
        ("{lang}.json", r"en\.json does not exist"),
        ("trees/*/{lang}.json", r"trees does not exist \(did you mean 'tree'\?\)"),
        ("tree/*/{lang}.json", r"no file fits .*tree/\*/en\.json"),
        ("half/*/{lang}.json", r"no file stands on both sides of en-de"),
        ("tree/ui.json", r"must hold \{lang\} and end in \.po, \.mo, \.json"),
    ],
)
def test_catalogs_that_are_not_there_are_named(tmp_path: Path, template: str, message: str) -> None:
    write_zip(tmp_path / "some.whl", {"ui2/en.json": "{}"})
    (tmp_path / "tree").mkdir()
    write(tmp_path / "half/a/en.json", "{}")
    write(tmp_path / "half/b/de.json", "{}")
    with pytest.raises(NeuronspecError, match=message):
        texts(tmp_path / template, "en", "de")


KEYS = {"menu.file.open": "Open a file", "menu.file.save": "Save", "dialog.title": "Really?"}
STYLES = {
    "dotted": {key: key for key in KEYS},
    "snake": {key: key.replace(".", "_") for key in KEYS},
    "screaming": {key: key.replace(".", "_").upper() for key in KEYS},
    "kebab": {key: key.replace(".", "-") for key in KEYS},
    "camel": {key: "".join(part.title() for part in key.split(".")) for key in KEYS},
    "path": {key: key.replace(".", "/") for key in KEYS},
    "numbers": {key: str(number) for number, key in enumerate(KEYS)},
}


def build_po(messages: dict[str, str]) -> str:
    return "".join(f'msgid "{key}"\nmsgstr "{text}"\n\n' for key, text in messages.items())


@pytest.mark.parametrize("style", STYLES)
def test_catalogs_keyed_by_identifiers_take_the_english_of_its_own_file(tmp_path: Path, style: str) -> None:
    names = STYLES[style]
    german = {names[key]: f"{text} auf Deutsch" for key, text in KEYS.items()}
    write(tmp_path / "de.po", build_po(german))
    with pytest.raises(NeuronspecError, match=r"de\.po has identifiers for keys, such as '.*put the English catalog"):
        texts(tmp_path / "{lang}.po", "en", "de")

    english = {names[key]: text for key, text in KEYS.items()}
    write(tmp_path / "en.po", build_po(english))
    expected = {(text, f"{text} auf Deutsch") for text in KEYS.values()}
    assert set(texts(tmp_path / "{lang}.po", "en", "de")) == expected
    assert set(texts(tmp_path / "{lang}.po", "de", "en")) == {(target, source) for source, target in expected}

    # what English lacks, or has not translated, is left out: an identifier is never a text
    first, second, third = names.values()
    write(tmp_path / "en.po", build_po({first: "Open a file", second: "", third: third}))
    assert texts(tmp_path / "{lang}.po", "en", "de") == [("Open a file", "Open a file auf Deutsch")]


def test_an_english_catalog_that_is_there_gives_the_texts_and_keys_fill_its_gaps(tmp_path: Path) -> None:
    write(tmp_path / "de.po", build_po({"Colour": "Farbe", "Open": "Öffnen", "Quit": "Beenden"}))
    write(tmp_path / "en.po", build_po({"Colour": "Color", "Open": "", "Unused": "Unused"}))
    assert texts(tmp_path / "{lang}.po", "en", "de") == [("Color", "Farbe"), ("Open", "Öffnen"), ("Quit", "Beenden")]


def test_an_english_catalog_may_exist_for_some_files_only(tmp_path: Path) -> None:
    for name in ("app", "lib"):
        write(tmp_path / f"de/LC_MESSAGES/{name}.mo", build_mo({f"{name}.open": "Öffnen", f"{name}.quit": "Beenden"}))
    write(tmp_path / "en/LC_MESSAGES/app.mo", build_mo({"app.open": "Open", "app.quit": "Quit"}))
    template = f"{tmp_path}/{{lang}}/LC_MESSAGES/*.mo"
    with pytest.raises(NeuronspecError, match=r"lib\.mo has identifiers for keys, such as 'lib\.open'"):
        texts(template, "en", "de")
    assert texts(template.replace("*", "app"), "en", "de") == [("Open", "Öffnen"), ("Quit", "Beenden")]


def test_english_needs_no_archive_where_each_language_has_its_own(tmp_path: Path) -> None:
    write_zip(tmp_path / "de.zip", {"app.po": build_po({"Open": "Öffnen"}), "key.po": build_po({"a.open": "Öffnen"})})
    assert texts(f"{tmp_path}/{{lang}}.zip!app.po", "en", "de") == [("Open", "Öffnen")]
    with pytest.raises(NeuronspecError, match=r"de\.zip!key\.po has identifiers for keys"):
        texts(f"{tmp_path}/{{lang}}.zip!key.po", "en", "de")
    write_zip(tmp_path / "en.zip", {"key.po": build_po({"a.open": "Open"})})
    assert texts(f"{tmp_path}/{{lang}}.zip!*.po", "en", "de") == [("Open", "Öffnen"), ("Open", "Öffnen")]


@pytest.mark.parametrize("keys", [["Open", "Close"], ["e-mail", "Open", "Save as"], ["README.txt", "Help", "About"]])
def test_short_english_texts_are_no_identifiers(tmp_path: Path, keys: list[str]) -> None:
    write(tmp_path / "de.po", build_po(dict.fromkeys(keys, "x")))
    assert sorted(source for source, _ in texts(tmp_path / "{lang}.po", "en", "de")) == sorted(keys)


def test_two_other_languages_are_aligned_by_identifiers_without_english(tmp_path: Path) -> None:
    write(tmp_path / "de.po", build_po({"app.open": "Öffnen", "app.quit": "Beenden"}))
    write(tmp_path / "fr.po", build_po({"app.open": "Ouvrir", "app.quit": "Quitter"}))
    assert texts(tmp_path / "{lang}.po", "de", "fr") == [("Öffnen", "Ouvrir"), ("Beenden", "Quitter")]
