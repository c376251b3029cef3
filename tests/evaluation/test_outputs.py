from __future__ import annotations

import dataclasses
import gzip
import random
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.outputs import OUTPUT_FORMATS, Outputs, read_outputs
from neuronspec.evaluation.scoring import score

PIECES = """\
2024-05-01 10:00:00 | INFO | fairseq_cli.generate | {'_name': None, 'common': {'seed': 222}}
2024-05-01 10:00:05 | INFO | fairseq.data.data_utils | loaded 3 examples from: data-bin/test.en-de.en
S-2\t__en__ ▁It ▁rain s .
T-2\t__de__ ▁Es ▁reg net .
H-2\t-0.25\t▁Es ▁reg net .
P-2\t-0.1000 -0.2000 -0.3000
S-0\t__en__ ▁Good ▁morn ing , ▁world !
T-0\t__de__ ▁Guten ▁Morgen , ▁Welt !
H-0\t-0.5123\t__de__ ▁Guten ▁Tag , ▁<unk> !
P-0\t-0.4 -0.6
S-1\t__en__ ▁猫 が <unk> ▁two
T-1\t__de__ ▁zwei
H-1\t-1e-05\t
P-1\t-0.0
2024-05-01 10:00:09 | INFO | fairseq_cli.generate | NOTE: hypothesis and token scores are output in base 2
2024-05-01 10:00:09 | INFO | fairseq_cli.generate | Translated 3 sentences (17 tokens) in 0.2s (15.0 sentences/s)
Generate test with beam=5: BLEU4 = 34.26, 65.1/41.2/28.1/19.6 (BP=1.000, ratio=1.012, syslen=17, reflen=16)
"""
READ = Outputs(
    sources=("Good morning, world!", "猫が<unk> two", "It rains."),
    references=("Guten Morgen, Welt!", "zwei", "Es regnet."),
    hypotheses=("Guten Tag, <unk>!", "", "Es regnet."),
    name="generate-test.txt",
)
BPE = """\
S-1\tno@@ th@@ ing .
T-1\tnichts .
H-1\t-0.3\tni@@ chts .
D-1\t-0.3\tnichts .
S-0\tlow@@ er @@ a@b user@@
T-0\tniedri@@ ger state @-@ of
H-0\t-0.2\tnied@@ ri@@ ger state @-@ of
D-0\t-0.2\tniedriger state @-@ of
| Translated 2 sentences (9 tokens) in 0.1s (20.00 sentences/s, 90.00 tokens/s)
| Generate test with beam=5: BLEU4 = 99.00
"""
NBEST = """\
S-0\ta
H-0\t-0.9\tworse
D-0\t-0.9\tworse
H-0\t-0.1\tbest
D-0\t-0.1\tbest
H-0\tnan\tbroken
D-0\tnan\tbroken
H-0\t-0.1\tas good, but later
D-0\t-0.1\tas good, but later
"""
MOSES = "S-0\tHello , world !\nT-0\tHallo , Welt & Co !\nH-0\t-0.5\tHallo , Welt &amp; Co !\n"
DECODED = MOSES + "D-0\t-0.5\tHallo, Welt & Co!\n"


def write(folder: Path, text: str | bytes, name: str = "generate-test.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(folder: Path, text: str | bytes, **options: Any) -> Outputs:
    return read_outputs(write(folder, text), **options)


def refuse(folder: Path, text: str | bytes, message: str, **options: Any) -> None:
    with pytest.raises(NeuronspecError, match=message):
        read(folder, text, **options)


class FakeMoses:
    """Stands in for sacremoses: it glues punctuation to the word before and says in which language."""

    class MosesDetokenizer:
        def __init__(self, lang: str) -> None:
            self.lang = lang

        def detokenize(self, tokens: list[str]) -> str:
            text = re.sub(r" ([,!.])", r"\1", " ".join(tokens)).replace("&amp;", "&")
            return text if self.lang == "de" else f"{self.lang}:{text}"


@pytest.fixture
def moses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacremoses", FakeMoses)


# logs


@pytest.mark.parametrize("order", ["as written", "sorted", "shuffled"])
def test_a_log_is_read_in_the_order_of_its_sentences(tmp_path: Path, order: str) -> None:
    lines = PIECES.splitlines()
    if order == "sorted":
        lines.sort()
    elif order == "shuffled":
        random.Random(3).shuffle(lines)
    assert read(tmp_path, "\n".join(lines) + "\n") == READ


@pytest.mark.parametrize("change", ["windows", "no last line end", "byte order mark", "gzip"])
def test_a_log_from_another_machine_reads_the_same(tmp_path: Path, change: str) -> None:
    log = PIECES.encode()
    if change == "windows":
        log = log.replace(b"\n", b"\r\n")
    elif change == "no last line end":
        log = log.removesuffix(b"\n")
    elif change == "byte order mark":
        log = b"\xef\xbb\xbf" + log.split(b"\n", 2)[2]
    else:
        path = write(tmp_path, gzip.compress(log), "log.gz")
        assert read_outputs(path) == dataclasses.replace(READ, name="log.gz")
        return
    assert read(tmp_path, log) == READ


def test_the_marks_of_bpe_go_and_other_signs_stay(tmp_path: Path) -> None:
    outputs = read(tmp_path, BPE)
    assert outputs.hypotheses == ("niedriger state @-@ of", "nichts .")
    assert outputs.references == ("niedriger state @-@ of", "nichts .")
    assert outputs.sources == ("lower @@ a@b user", "nothing .")


def test_of_a_list_of_hypotheses_the_first_with_the_best_score_is_taken(tmp_path: Path) -> None:
    assert read(tmp_path, NBEST).hypotheses == ("best",)
    without = "".join(line for line in NBEST.splitlines(keepends=True) if line[0] != "D")
    assert read(tmp_path, without).hypotheses == ("best",)


def test_a_log_may_lack_sources_and_references(tmp_path: Path) -> None:
    outputs = read(tmp_path, "H-1\t-0.5\tb\nH-0\t-0.5\ta\n")
    assert outputs.hypotheses == ("a", "b")
    assert outputs.sources is outputs.references is None


def test_empty_sentences_stay_even_where_an_editor_cut_the_last_tab(tmp_path: Path) -> None:
    outputs = read(tmp_path, "S-0\nT-0\t\nH-0\t-1.5\nS-1\ta\nT-1\tb\nH-1\t-inf\t\n")
    assert (outputs.sources, outputs.references, outputs.hypotheses) == (("", "a"), ("", "b"), ("", ""))


def test_tags_go_from_the_front_only_and_tabs_become_spaces(tmp_path: Path) -> None:
    log = "S-0\t__eng_Latn__ a\tb\nH-0\t-1\t__de____de__ __init__ of __fr__\nS-1\t__init__ x\nH-1\t-1\t__zh__\n"
    outputs = read(tmp_path, log)
    assert outputs.sources == ("a b", "__init__ x")
    assert outputs.hypotheses == ("__init__ of __fr__", "")


def test_a_block_character_in_a_text_is_no_mark_of_sentencepiece(tmp_path: Path) -> None:
    log = "".join(f"H-{number}\t-1\ta bar {'▁' if number == 1 else '|'} here\n" for number in range(4))
    assert read(tmp_path, log).hypotheses[1] == "a bar ▁ here"


def test_messages_of_the_program_are_no_sentences(tmp_path: Path) -> None:
    noise = "E-0_1\tx\nA-0\t0-0\nI-0\t4\nW-0\t0.1\tseconds\nC-0\ty\nS-\tz\n H-7\t-1\tz\nH-x\t-1\tz\nT-3 no tab\n\n"
    assert read(tmp_path, noise + PIECES + noise) == READ


def test_a_short_log_is_known_among_many_messages(tmp_path: Path) -> None:
    assert read(tmp_path, "some library warns\n" * 50 + "S-0\ta\nH-0\t-1\tb\n").hypotheses == ("b",)


def test_the_same_log_twice_is_one_log(tmp_path: Path) -> None:
    assert read(tmp_path, PIECES + PIECES) == READ


def test_logs_of_two_shards_are_one_log(tmp_path: Path) -> None:
    shards = "H-0\t-1\ta\n| Translated 1 sentences (2 tokens)\nH-1\t-1\tb\n| Translated 1 sentences (2 tokens)\n"
    assert read(tmp_path, shards).hypotheses == ("a", "b")


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\t▁@_"), max_size=20)
SENTENCES = st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    sentences=SENTENCES,
    draw=st.randoms(use_true_random=False),
    pieces=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_a_log_of_any_text_reads_back(
    tmp_path: Path, sentences: list[tuple[str, str, str]], draw: random.Random, pieces: bool, end: str
) -> None:
    stripped = [tuple(text.strip(" ") for text in sentence) for sentence in sentences]

    def dress(text: str, tag: str) -> str:
        if pieces and text:
            marked = "▁" + text.replace(" ", "▁")
            text = "".join(letter + (" " if draw.random() < 0.3 else "") for letter in marked)
        return f"{tag} {text}" if draw.random() < 0.5 else text

    lines = ["2024-05-01 | INFO | fairseq_cli.generate | loading model(s)"]
    for number, (source, reference, hypothesis) in enumerate(stripped):
        lines.append(f"S-{number}\t{dress(source, '__en__')}")
        lines.append(f"T-{number}\t{dress(reference, '__de__')}")
        best, worst = sorted((-draw.random(), -1 - draw.random()), reverse=True)
        lines.append(f"H-{number}\t{best}\t{dress(hypothesis, '__de__')}")
        lines.append(f"H-{number}\t{worst}\tanother")
    draw.shuffle(lines)
    outputs = read(tmp_path, "".join(line + end for line in lines), format="fairseq")
    assert outputs.sources is not None
    assert outputs.references is not None
    assert list(zip(outputs.sources, outputs.references, outputs.hypotheses, strict=True)) == stripped
    assert read(tmp_path, "".join(line + end for line in lines)) == outputs


# texts


def test_a_text_is_read_as_it_is(tmp_path: Path) -> None:
    hypotheses = write(tmp_path, "__de__ ▁a ▁b\n\n c@@ d\te \r\n", "system.de")
    references = write(tmp_path, gzip.compress(b"x\ny\nz\n"), "test.de.gz")
    sources = write(tmp_path, "1\n2\n3", "test.en")
    outputs = read_outputs(hypotheses, references=references, sources=str(sources))
    assert outputs.hypotheses == ("__de__ ▁a ▁b", "", " c@@ d\te ")
    assert outputs.references == ("x", "y", "z")
    assert outputs.sources == ("1", "2", "3")
    assert outputs.name == "system.de"
    assert read_outputs(str(hypotheses), name="ours").name == "ours"


@pytest.mark.parametrize(
    "lines",
    [
        ["H-1 is a visa.", "It costs money."],
        ["H-1 is a visa."],
        ["H-1\tis a visa."],
        ["a", "H-1\t-0.5\tquoted from a log", "b"],
        ["T-34", "S-300", "H-0"],
        ["D-0\tx", "P-1\tone"],
        ["Generate test with beam=5: BLEU4 = 34.26", "S-7 a"],
    ],
)
def test_a_text_that_speaks_of_a_log_is_still_a_text(tmp_path: Path, lines: list[str]) -> None:
    assert read(tmp_path, "\n".join(lines)).hypotheses == tuple(lines)


def test_a_log_may_be_read_as_a_text_and_never_the_other_way_round(tmp_path: Path) -> None:
    assert len(read(tmp_path, PIECES, format="lines").hypotheses) == PIECES.count("\n")
    refuse(tmp_path, "a\nb\n", r"generate-test\.txt has no H- line among its 2 lines", format="fairseq")


def test_the_formats_are_those_the_documentation_names() -> None:
    assert set(OUTPUT_FORMATS) == {"lines", "fairseq"}


# references and tokens


def test_files_stand_in_place_of_what_the_log_holds(tmp_path: Path) -> None:
    references = write(tmp_path, "r\ns\nt\n", "ref")
    sources = write(tmp_path, "u\nv\nw\n", "src")
    outputs = read(tmp_path, PIECES, references=references, sources=sources)
    assert outputs == dataclasses.replace(READ, references=("r", "s", "t"), sources=("u", "v", "w"))


def test_what_was_read_can_be_scored(tmp_path: Path) -> None:
    outputs = read(tmp_path, PIECES)
    assert outputs.references is not None
    [found] = score(outputs.hypotheses, outputs.references, "de", ["chrf"])
    assert 0 < found.value < 100


@pytest.mark.usefixtures("moses")
def test_detokenizing_is_for_the_target_language_of_a_log(tmp_path: Path) -> None:
    outputs = read(tmp_path, MOSES, detokenize="de")
    assert outputs.hypotheses == ("Hallo, Welt & Co!",)
    assert outputs.references == ("Hallo, Welt & Co!",)
    assert outputs.sources == ("Hello , world !",)
    assert read(tmp_path, MOSES, detokenize="fra_Latn").hypotheses == ("fr:Hallo, Welt & Co!",)


@pytest.mark.usefixtures("moses")
def test_a_file_of_references_is_never_detokenized(tmp_path: Path) -> None:
    references = write(tmp_path, "a , b\n", "ref")
    outputs = read(tmp_path, "x , y\n", references=references, sources=references, detokenize="de")
    assert (outputs.hypotheses, outputs.references, outputs.sources) == (("x, y",), ("a , b",), ("a , b",))


def test_hypotheses_that_fairseq_detokenized_need_references_of_their_kind(tmp_path: Path) -> None:
    refuse(tmp_path, DECODED, r"detokenized hypotheses \(D-\), but tokenized references \(T-\)")
    references = write(tmp_path, "Hallo, Welt\n", "ref")
    outputs = read(tmp_path, DECODED, references=references)
    assert (outputs.hypotheses, outputs.references) == (("Hallo, Welt & Co!",), ("Hallo, Welt",))


@pytest.mark.usefixtures("moses")
def test_hypotheses_that_fairseq_detokenized_are_not_detokenized_again(tmp_path: Path) -> None:
    outputs = read(tmp_path, DECODED, detokenize="fr")
    assert outputs.hypotheses == ("Hallo, Welt & Co!",)
    assert outputs.references == ("fr:Hallo, Welt & Co!",)


def test_without_sacremoses_the_message_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    refuse(tmp_path, MOSES, "pip install sacremoses", detokenize="de")
    refuse(tmp_path, MOSES, "'gremlin'", detokenize="gremlin")


def test_the_real_sacremoses_detokenizes(tmp_path: Path) -> None:
    pytest.importorskip("sacremoses")
    log = "T-0\tEin A @-@ B &apos; s Fall , ja !\nH-0\t-1\tHallo , Welt &amp; Co !\nT-1\t\nH-1\t-1\t\n"
    outputs = read(tmp_path, log, detokenize="de")
    assert outputs.hypotheses == ("Hallo, Welt & Co!", "")
    assert outputs.references is not None
    assert outputs.references[0].startswith("Ein A-B ")
    assert outputs.references[0].endswith("Fall, ja!")


# what is wrong


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("S-0\ta\nT-0\tb\nH-0\t-1\tc\nS-1\td\nT-1\te\n", r"test\.txt:4 speaks of sentence 1, which has no H- line"),
        ("S-0\ta\nT-0\tb\nH-0\t-1\tc\nS-1\td\nH-1\t-1\tf\n", r":4 .*no T- line \(.*2 S-, 1 T-, 2 H-\)"),
        ("T-0\tb\nH-0\t-1\tc\nS-1\td\nT-1\te\nH-1\t-1\tf\n", r":1 speaks of sentence 0, which has no S- line"),
        ("H-0\t-1\tc\nD-0\t-1\tc\nH-1\t-1\tf\n", r":3 speaks of sentence 1, which has no D- line"),
        ("H-0\t-1\ta\nH-2\t-1\tb\n", r"lacks sentence 1, though \S+test\.txt:2 has sentence 2"),
        ("\nH-1\t-1\ta\n", r"lacks sentence 0, though \S+:2 has sentence 1"),
        ("H-0\t-1\ta\nH-999999999999999999\t-1\tb\n", r"lacks sentence 1,"),
        ("S-0\ta\nH-0\t-1\tb\nH-0\t-2\tc\nD-0\t-1\tb\n", r":3 has sentence 0 with 2 H- lines, but 1 D- line;"),
        ("H-0\t-1\tb\nP-0\t-1\nH-0\t-2\tcut", r":3 has sentence 0 with 2 H- lines, but 1 P- line;"),
        ("S-0\ta\nH-0\t-1\tb\nS-0\tother\n", r":3 has another text for S-0 than line 1"),
        ("T-0\ta\nH-0\t-1\tb\nT-0\tother\n", r":3 has another text for T-0 than line 1"),
        ("S-0\ta\nH-0\t-1\tb\nS-0\ta\nH-0\t-2\tc\n", r":3 repeats S-0 of line 1, with another hypothesis"),
        ("S-0\ta\nT-0\tb\n", r"has no H- line among its 2 lines"),
        ("S-0\ta\nS-1\tb\nS-2\tc\n", r"has no H- line among its 3 lines"),
        ("S-0\ta\nT-0\tb\nH-0\tc\n", r":3 has the score 'c' for H-0, which is no number"),
        ("S-0\ta\nT-0\tb\nH-0\n", r":3 has the score '' for H-0"),
        ("S-0\ta\nT-0\tb\nH-0\t1.2.3\tc\n", r":3 has the score '1\.2\.3'"),
        ("S-0\ta\nH-0\t-1\tb\n| Translated 2,009 sentences (7 tokens)\n", r":3 says that 2009 sentences .* has 1;"),
    ],
)
def test_a_damaged_log_is_refused_by_file_and_line(tmp_path: Path, log: str, message: str) -> None:
    refuse(tmp_path, log, message)


def test_a_log_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    log = PIECES.encode()
    for cut in range(1, log.index(b"P-1")):
        refuse(tmp_path, log[:cut], r"test\.txt", format="fairseq")


@pytest.mark.parametrize("lines", range(1, 14))
def test_a_log_that_is_cut_off_is_not_taken_for_a_text(tmp_path: Path, lines: int) -> None:
    text = "".join(PIECES.splitlines(keepends=True)[:lines])
    refuse(tmp_path, text, r"has no H- line|which has no [STHP]- line|lacks sentence")


@pytest.mark.parametrize("name", ["references", "sources"])
@pytest.mark.parametrize(("ours", "theirs"), [(3, 2), (2, 3), (1, 2)])
@pytest.mark.parametrize("kind", ["text", "log"])
def test_unequal_lengths_are_refused_with_both_counts(
    tmp_path: Path, name: str, ours: int, theirs: int, kind: str
) -> None:
    text = "".join(f"H-{i}\t-1\tx\n" if kind == "log" else "x\n" for i in range(ours))
    other = write(tmp_path, "y\n" * theirs, "other")
    lonely = "sentence 3 of .* has no (reference|source)" if ours > theirs else rf"other:{ours + 1} has no translation"
    message = rf"{lonely}: \S+test\.txt has {ours} sentences?, but \S+other has {theirs} lines;"
    refuse(tmp_path, text, message, **{name: other})


@pytest.mark.parametrize("name", ["path", "references", "sources"])
@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "bad is empty"), (b"a\n\xffb\n", r"bad:2 is not UTF-8"), (None, "bad does not exist")],
)
def test_an_unreadable_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    bad = tmp_path / "bad"
    if content is not None:
        bad.write_bytes(content)
    good = write(tmp_path, "a\nb\n", "good")
    paths = {"path": good, name: bad}
    with pytest.raises(NeuronspecError, match=message):
        read_outputs(**paths)  # type: ignore[arg-type]


def test_an_unknown_format_is_refused_with_the_nearest(tmp_path: Path) -> None:
    refuse(tmp_path, "a\n", r"unknown output format 'fairsec' \(did you mean 'fairseq'\?\)", format="fairsec")


def test_outputs_are_of_equal_length() -> None:
    with pytest.raises(NeuronspecError, match="there are 2 hypotheses, but there is 1 source;"):
        Outputs(hypotheses=("a", "b"), sources=("c",))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(content=st.binary(max_size=60) | st.text("STHDP-01\t.\n▁@_ a", max_size=60).map(str.encode))
@pytest.mark.parametrize("format", ["auto", "fairseq", "lines"])
def test_no_file_crashes_the_reader(tmp_path: Path, content: bytes, format: str) -> None:
    message = ""
    try:
        assert isinstance(read(tmp_path, content, format=format), Outputs)
    except NeuronspecError as error:
        message = str(error)
    assert not message or "generate-test.txt" in message
